#!/bin/sh
# Run every static check, also after one has failed, and say at the end which did.
cd "$(dirname "$0")/.." || exit 1
bin=$PWD/.venv/dev/bin
PYTHONPATH=plugins:.:dags
export PYTHONPATH
failed=

check() {
  name=$1
  shift
  if output=$("$@" 2>&1); then
    echo "ok      $name"
  else
    printf '%s\n' "$output"
    echo "FAILED  $name"
    failed="$failed $name"
  fi
}

check ruff "$bin/ruff" check .
check format "$bin/ruff" format --check .
check mypy "$bin/mypy"
check layers "$bin/lint-imports" --no-cache
check sqlfluff "$bin/sqlfluff" lint --processes 2 --disable-progress-bar dbt_project/models dbt_project/tests
check codespell "$bin/codespell"
check secrets "$bin/python" scripts/find_secrets.py
check locks "$bin/python" -m pytest -q --no-header tests/unit/test_locks.py

if [ -n "$failed" ]; then
  echo "failed:$failed"
  exit 1
fi
