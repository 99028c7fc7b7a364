#!/bin/sh
# Run the tests in two environments: the DAGs' over Airflow's, all others over the library's. One figure of coverage.
cd "$(dirname "$0")/.." || exit 1
rm -rf build/coverage build/junit
mkdir -p build/coverage build/junit
what='(not acceptance or sample) and not bench and not network'
failed=0
COVERAGE_FILE=$PWD/build/coverage/data.library .venv/dev/bin/python -m pytest -m "$what" \
  --ignore tests/dags --ignore tests/bench \
  --cov --cov-report= --cov-fail-under=0 --junit-xml build/junit/library.xml "$@" || failed=1
COVERAGE_FILE=$PWD/build/coverage/data.dags .venv/dags/bin/python -m pytest tests/dags -m "$what" \
  --cov --cov-report= --cov-fail-under=0 --junit-xml build/junit/dags.xml "$@" || failed=1
COVERAGE_FILE=$PWD/build/coverage/data
export COVERAGE_FILE
.venv/dev/bin/coverage combine --keep --quiet build/coverage
.venv/dev/bin/coverage report || failed=1
.venv/dev/bin/python scripts/count_tests.py build/junit/*.xml || failed=1
exit $failed
