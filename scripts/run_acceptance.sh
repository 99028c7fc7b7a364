#!/bin/sh
# Run the long proofs, or with PART=2/8 the second of eight parts. Each result is kept below build/acceptance/<commit>;
# a test that passed there is not run again, so a run that was stopped goes on where it stood. Files that are not
# committed make a commit of their own.
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
.venv/dev/bin/python -m pytest tests/acceptance tests/integration -m 'acceptance and not network' --timeout 3600 "$@"
.venv/dev/bin/python scripts/report_acceptance.py "$ACCEPTANCE_RESULTS" "$PART"
