"""The page of the last data tests (SRV-14)."""

from __future__ import annotations

import json
from pathlib import Path

from marketlake.publish.dbt_test_page import write_test_page
from marketlake.settings import load_settings


def result(name: str, status: str, failures: int | None, message: str | None = None) -> dict[str, object]:
    timing = [{"name": "execute", "started_at": None, "completed_at": "2025-01-02T03:04:05.000000Z"}]
    return {
        "unique_id": f"test.marketlake.{name}.0123456789",
        "status": status,
        "failures": failures,
        "message": message,
        "timing": timing if failures is not None else [],
    }


def test_what_failed_stands_first_with_its_rows_and_when(tmp_path: Path) -> None:
    settings = load_settings(environ={"MARKETLAKE_HOME": str(tmp_path)})
    assert write_test_page(settings) is None
    results = [result("good", "pass", 0), result("bad", "fail", 3, "Got <3> results"), result("later", "skipped", None)]
    target = tmp_path / "dbt" / "target"
    target.mkdir(parents=True)
    tree = {"metadata": {"generated_at": "2025-01-02T03:04:06.000000Z"}, "results": results}
    (target / "run_results.json").write_text(json.dumps(tree))
    page = Path(write_test_page(settings) or "")
    text = page.read_text()
    assert page == tmp_path / "docs" / "dbt" / "tests.html"
    assert "1 fail, 1 skipped, 1 pass; finished at 2025-01-02T03:04:06Z" in text
    bad = '<tr class="bad"><td>bad</td><td>fail</td><td>3</td><td>2025-01-02T03:04:05Z</td><td>Got &lt;3&gt; '
    assert text.index(bad) < text.index("<td>later</td><td>skipped</td><td></td>") < text.index("<td>good</td>")
