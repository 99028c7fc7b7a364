#!/bin/sh
# Run the long proofs: acceptance tests in the library's test environment, those of the DAGs in Airflow's.
cd "$(dirname "$0")/.." || exit 1
rm -rf build/junit-acceptance
mkdir -p build/junit-acceptance
failed=0
.venv/dev/bin/python -m pytest -m 'acceptance and not network' --timeout 3600 --ignore tests/dags \
  --junit-xml build/junit-acceptance/library.xml "$@" || failed=1
.venv/dags/bin/python -m pytest tests/dags -m 'acceptance and not network' --timeout 3600 \
  --junit-xml build/junit-acceptance/dags.xml "$@"
status=$?
[ $status -eq 0 ] || [ $status -eq 5 ] || failed=1 # 5: no such test there
.venv/dev/bin/python scripts/count_tests.py build/junit-acceptance/*.xml || failed=1
exit $failed
