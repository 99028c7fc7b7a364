#!/bin/sh
# Compile each requirements file to a lock of exact versions and hashes, without any address to download from.
set -eu
cd "$(dirname "$0")/.."
for folder in scripts . spark_jobs dbt_project tests tests/dags tests/bench/freqtrade; do
  .venv/tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-emit-index-url --no-emit-find-links \
    "$folder/requirements.txt" --output-file "$folder/requirements.lock" "$@"
  echo "$folder/requirements.lock"
done
