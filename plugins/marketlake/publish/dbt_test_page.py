"""The page beside the dbt docs that says how the data tests of the last build ended (SRV-14)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from marketlake.instants import format_instant, parse_instant
from marketlake.publish.dbt_session import dbt_folder
from marketlake.settings import Settings

# What needs a look comes first.
_ORDER = ("error", "runtime error", "fail", "warn", "skipped", "pass", "success")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>marketlake: data tests of the last build</title>
<style>
body {{ font-family: sans-serif; margin: 2rem; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: 0.2rem 1rem 0.2rem 0; text-align: left; border-bottom: 1px solid #ddd; }}
tr.bad {{ background: #fdd; }}
</style>
</head>
<body>
<h1>Data tests of the last build</h1>
<p>{counts}; finished at {at}. <a href="index.html">Models, columns and lineage</a>.</p>
<table>
<tr><th>Test</th><th>Status</th><th>Failing rows</th><th>Finished (UTC)</th><th>Message</th></tr>
{rows}
</table>
</body>
</html>
"""


def write_test_page(settings: Settings) -> str | None:
    """Write the page from the results of the last `dbt test` and return its path; None where dbt left no results."""
    results = dbt_folder(settings) / "target" / "run_results.json"
    if not results.is_file():
        return None
    tree = json.loads(results.read_text(encoding="utf-8"))
    tests = [item for item in tree["results"] if str(item["unique_id"]).startswith("test.")]
    tests.sort(key=lambda item: (_place(item["status"]), item["unique_id"]))
    by_status: dict[str, int] = {}
    for item in tests:
        by_status[item["status"]] = by_status.get(item["status"], 0) + 1
    counts = ", ".join(f"{count} {status}" for status, count in by_status.items()) or "no test ran"
    page = settings.home / "docs" / "dbt" / "tests.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    aside = page.with_suffix(".partial")
    text = _PAGE.format(counts=escape(counts), at=_instant(tree["metadata"]["generated_at"]), rows=_rows(tests))
    aside.write_text(text, encoding="utf-8")
    aside.replace(page)
    return str(page)


def _rows(tests: list[Mapping[str, Any]]) -> str:
    return "\n".join(
        f'<tr class="{"bad" if _place(item["status"]) <= _ORDER.index("fail") else "good"}">'
        + "".join(f"<td>{escape(value)}</td>" for value in _cells(item))
        + "</tr>"
        for item in tests
    )


def _cells(item: Mapping[str, Any]) -> tuple[str, ...]:
    finished = [part["completed_at"] for part in item["timing"] if part["name"] == "execute"]
    failures = "" if item["failures"] is None else str(item["failures"])
    message = str(item["message"] or "")[:300]
    name = str(item["unique_id"]).split(".")[2]
    return name, str(item["status"]), failures, _instant(finished[0]) if finished else "", message


def _instant(text: str | None) -> str:
    return format_instant(parse_instant(text)) if text else ""


def _place(status: str) -> int:
    return _ORDER.index(status) if status in _ORDER else 0
