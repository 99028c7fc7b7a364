#!/bin/sh
# Run the tests in three parts: those that start a JVM; beside them, all others of the library, then the DAGs' over
# Airflow's environment, whose output is printed when the first part has ended. One figure of coverage.
cd "$(dirname "$0")/.." || exit 1
rm -rf build/coverage build/junit
mkdir -p build/coverage build/junit
what='(not acceptance or sample) and not bench and not network'
failed=0

part() { # name, environment, what to run: one part, with coverage and results of its own
  name=$1 environment=$2
  shift 2
  COVERAGE_FILE=$PWD/build/coverage/data.$name ".venv/$environment/bin/python" -m pytest "$@" \
    -o "cache_dir=build/pytest_cache/$name" --cov --cov-report= --cov-fail-under=0 --junit-xml "build/junit/$name.xml"
}

(
  code=0
  part library dev -m "$what and not (spark or acceptance)" --ignore tests/dags --ignore tests/bench "$@" || code=1
  part dags dags tests/dags -m "$what" "$@" || code=1
  exit $code
) >build/tests-beside.log 2>&1 &
beside=$!
trap 'trap - INT TERM; kill 0' INT TERM
part spark dev -m "$what and (spark or acceptance)" --ignore tests/dags --ignore tests/bench "$@" || failed=1
wait $beside || failed=1
cat build/tests-beside.log

COVERAGE_FILE=$PWD/build/coverage/data
export COVERAGE_FILE
.venv/dev/bin/coverage combine --keep --quiet build/coverage
.venv/dev/bin/coverage report || failed=1
.venv/dev/bin/python scripts/count_tests.py build/junit/*.xml || failed=1
exit $failed
