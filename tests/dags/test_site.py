"""Tests for the pages on Airflow's web server, asked over HTTP."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient

from marketlake_airflow import site as pages
from tests.dags.conftest import Library


@pytest.fixture
def docs(library: Library, tmp_path: Path) -> Path:
    """The folder of documents, with one of each kind."""
    folder = tmp_path / "home" / "docs"
    (folder / "dbt").mkdir(parents=True)
    (folder / "dbt" / "index.html").write_text("<html><head></head><body>models</body></html>")
    (folder.parent / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def visitor(docs: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Somebody who is not logged in."""

    async def nobody(request: Request, *tokens: object) -> None:
        raise HTTPException(401)

    class Logins:
        def get_url_login(self, *, next_url: str) -> str:
            return f"/auth/login?next={next_url}"

    monkeypatch.setattr(pages, "get_user", nobody)
    monkeypatch.setattr(pages, "get_auth_manager", Logins)
    return TestClient(pages.build_site(), follow_redirects=False)


@pytest.fixture
def user(docs: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Somebody who is logged in."""

    async def anybody(request: Request, *tokens: object) -> str:
        return "admin"

    monkeypatch.setattr(pages, "get_user", anybody)
    return TestClient(pages.build_site(), follow_redirects=False)


def test_the_first_page_names_all_others(user: TestClient) -> None:
    text = user.get("/").text

    for name in ("/marketlake/dbt/", "/marketlake/data_docs/", "/marketlake/coverage", "/marketlake/dlq"):
        assert name in text


def test_documents_are_served_from_the_home_folder(user: TestClient) -> None:
    assert "models" in user.get("/dbt/").text
    assert user.get("/dbt").headers["location"] == "/marketlake/dbt/"


def test_a_document_that_is_not_built_yet_says_so(user: TestClient) -> None:
    answer = user.get("/dbt/other.html")

    assert (answer.status_code, "Not built yet" in answer.text) == (404, True)


PAGE = """<html><head><link href="https://a.example/bootstrap.css"></head><body>
<img src="https://assets.example/logo-long.png?d=20250102T030405Z"><span class="h6">Status:</span>
<i class="x"></i> Failed
<td><div>Evaluated Expectations</div></td><td id="c-2"><div class="s">17</div></td>
<td><div>Unsuccessful Expectations</div></td><td id="c-3"><div class="s">2</div></td></body></html>"""


@pytest.fixture
def audits(docs: Path) -> Path:
    """The data docs with two audits of one suite."""
    root = docs / "data_docs"
    for stamp in ("20250102T030405.000001Z", "20250103T030405.000001Z"):
        folder = root / "validations" / "market_data_quality" / "ohlcv-1a" / stamp
        folder.mkdir(parents=True)
        (folder / "page.html").write_text(PAGE)
    (root / "index.html").write_text(PAGE)
    return root


def test_the_data_docs_begin_with_a_list_of_the_audits_newest_first(audits: Path, user: TestClient) -> None:
    text = user.get("/data_docs/").text

    assert text.index("2025-01-03 03:04:05") < text.index("2025-01-02 03:04:05")
    assert '<td class="failed">Failed</td><td>17</td><td>2</td>' in text
    address = "/data_docs/validations/market_data_quality/ohlcv-1a/20250103T030405.000001Z/page.html"
    assert address in text
    assert user.get(address).status_code == 200


def test_an_audits_page_can_be_read_without_another_server(audits: Path, user: TestClient) -> None:
    [address, *_] = [path.relative_to(audits).as_posix() for path in audits.rglob("page.html")]

    text = user.get(f"/data_docs/{address}").text

    assert text.index("<style>") < text.index("bootstrap.css"), "the page's own style wins where it can be had"
    assert "assets.example" not in text
    assert "/marketlake/data_docs/static/images/logo-long.png" in text


def test_data_docs_without_an_audit_show_what_is_there(docs: Path, user: TestClient) -> None:
    assert "Not built yet" in user.get("/data_docs/").text


@pytest.mark.parametrize("path", ["/dbt/..%2f..%2fsecret.txt", "/dbt/%2e%2e/%2e%2e/secret.txt", "/logs/", "/nothing"])
def test_nothing_outside_the_documents_is_served(user: TestClient, path: str) -> None:
    answer = user.get(path)

    assert answer.status_code == 404
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/dlq", "/coverage", "/dbt", "/dbt/", "/dbt/index.html", "/data_docs/", "/data_docs/page.html"]
)
def test_every_page_needs_a_login(visitor: TestClient, audits: Path, library: Library, path: str) -> None:
    answer = visitor.get(path)

    assert answer.status_code == 307
    assert answer.headers["location"].startswith("/auth/login?next=")
    assert "models" not in answer.text
    assert library.calls == []


def test_an_audit_is_read_once_and_again_when_it_was_written_anew(audits: Path, user: TestClient) -> None:
    page = max(audits.rglob("page.html"))
    first = user.get("/data_docs/").text
    times = page.stat()
    page.write_text(PAGE.replace(">17<", ">18<"))
    os.utime(page, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert user.get("/data_docs/").text == first

    os.utime(page, ns=(times.st_atime_ns, times.st_mtime_ns + 1))

    assert "<td>18</td>" in user.get("/data_docs/").text


def test_coverage_is_shown_as_a_table_with_its_command(user: TestClient, library: Library) -> None:
    library.answer(
        "coverage", {"markets": [{"symbol": "<BTC>", "missing": 3, "coverage": 0.995, "holes": [1], "end": None}]}
    )

    text = user.get("/coverage?dataset=ohlcv").text

    assert library.calls == [["coverage", "--dataset", "ohlcv", "--json"]]
    assert "<td>&lt;BTC&gt;</td><td>3</td><td>99.50%</td>" in text
    assert "bin/marketlake coverage --dataset ohlcv" in text


def test_rejected_rows_are_asked_for_by_run(user: TestClient, library: Library) -> None:
    library.answer("dlq", {"rows": []})

    text = user.get("/dlq?run=daily__scheduled__2025-01-02T01:00:00%2B00:00").text

    assert library.calls == [["dlq", "list", "--run", "daily__scheduled__2025-01-02T01:00:00+00:00", "--json"]]
    assert "There are none" in text


@pytest.mark.parametrize("path", ["/dlq?run=--help%20x", "/coverage?dataset=nothing"])
def test_a_made_up_query_is_refused_before_anything_is_started(user: TestClient, library: Library, path: str) -> None:
    assert user.get(path).status_code == 422
    assert library.calls == []


def test_a_failing_library_is_shown_with_its_words(user: TestClient, library: Library) -> None:
    library.fail("coverage", "the database does not answer")

    answer = user.get("/coverage")

    assert (answer.status_code, "the database does not answer" in answer.text) == (503, True)


def test_a_missing_library_is_named(user: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETLAKE_COMMAND", "/nowhere/marketlake")

    assert "/nowhere/marketlake" in user.get("/coverage").text
