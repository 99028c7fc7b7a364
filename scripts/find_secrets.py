"""Fail when a file of the repository holds what looks like a secret, or an address that only one machine knows.

A value that is public on purpose carries `# not a secret` with the reason on its line.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MARK = "not a secret"
PATTERNS = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\bgh[pousr]_[0-9A-Za-z]{36}\b|\bgithub_pat_[0-9A-Za-z_]{60,}"),
    "Slack token or webhook": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w+"),
    "JSON web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "password in an address": re.compile(
        r"://[^\s/:@{}$<>\"']+:(?!password@|postgres@|\*+@)[^\s/@{}$<>\"']{3,}@[\w.-]+"
    ),
    "long value of a secret setting": re.compile(
        r"(?i)\b(?:api_?key|secret|token|passwd|password)\b[\"']?\s*[:=]\s*[\"'](?=[^\"']*\d)[A-Za-z0-9+/_=-]{20,}[\"']"
    ),
    "index address in a lock": re.compile(r"^--(?:index-url|extra-index-url|find-links)\b"),
    "path of one machine": re.compile(r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+)/[\w.-]+"),
}
# The recorded layout of other people's machines cannot be in these; they are read by hash.
SKIPPED_SUFFIXES = (".png", ".gz", ".zip", ".ico", ".parquet")


def findings_in(text: str) -> Iterator[tuple[int, str]]:
    """Return line number and kind of each suspicious line."""
    for number, line in enumerate(text.splitlines(), start=1):
        if MARK in line:
            continue
        for kind, pattern in PATTERNS.items():
            if pattern.search(line):
                yield number, kind


def tracked_files() -> list[Path]:
    """Return the files that are in the repository or would be added to it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    paths = {REPOSITORY / name for name in listed.split("\0") if name}
    return sorted(path for path in paths if path.is_file() and path.suffix not in SKIPPED_SUFFIXES)


def main() -> int:
    found = 0
    for path in tracked_files():
        for number, kind in findings_in(path.read_text(encoding="utf-8", errors="replace")):
            print(f"{path.relative_to(REPOSITORY)}:{number}: {kind}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
