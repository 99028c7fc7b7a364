#!/bin/sh
# Run the long proofs, or with PART=2/6 the second of six parts: acceptance tests in the library's test environment,
# those of the DAGs in Airflow's. Each result is kept below build/acceptance/<commit>; a test that passed there is not
# run again, so a run that was stopped goes on where it stood. Files that are not committed make a commit of their own.
cd "$(dirname "$0")/.." || exit 1
PART=${PART:-1/1}
commit=$(git rev-parse --short=12 HEAD) || exit 1
if [ -n "$(git status --porcelain)" ]; then
  changes=$({ git diff HEAD --binary; git ls-files --others --exclude-standard -z | xargs -0 -r sha256sum; } | sha256sum)
  commit=$commit-$(echo "$changes" | cut -c1-12)
fi
ACCEPTANCE_RESULTS=$PWD/build/acceptance/$commit
export PART ACCEPTANCE_RESULTS
mkdir -p "$ACCEPTANCE_RESULTS"
failed=0
for environment in dev dags; do
  tests='tests/dags'
  [ $environment = dags ] || tests='tests --ignore tests/dags'
  # shellcheck disable=SC2086 # two words
  .venv/$environment/bin/python -m pytest $tests -m 'acceptance and not network' --timeout 3600 "$@"
  status=$?
  [ $status -eq 0 ] || [ $status -eq 5 ] || failed=1 # 5: nothing is left to do there
done
.venv/dev/bin/python scripts/report_acceptance.py "$ACCEPTANCE_RESULTS" "$PART" || failed=1
exit $failed
