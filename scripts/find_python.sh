#!/bin/sh
# Print a Python 3.11 or 3.12: the one that the environments were made with, else the newest on the PATH.
root=$(cd "$(dirname "$0")/.." && pwd -P)
known=$(cat "$root/.venv/.python" 2>/dev/null)
for python in "$known" python3.12 python3.11 python3 python; do
  if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null
  then
    echo "$python"
    exit 0
  fi
done
echo "marketlake needs Python 3.11 or 3.12 and found neither on the PATH; name one: make setup PYTHON=/path/to/python" >&2
exit 1
