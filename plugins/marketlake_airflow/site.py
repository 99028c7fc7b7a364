"""Pages that the Airflow web server shows under /marketlake: dbt docs, data docs, dead-letter rows, coverage.

The documents are files of `<MARKETLAKE_HOME>/docs`; two pages ask the library by its command line, as a person would.
All of it is shown to people who are logged in: data docs hold values, dbt docs the whole schema.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from marketlake.datasets import DATASETS
from marketlake.settings import load_settings
from marketlake_airflow.audit_pages import audit_list, readable
from marketlake_airflow.links import SITE_PREFIX
from marketlake_airflow.step_process import library_command, library_environment

SITES = {"dbt": "dbt docs: every table, column, test and formula", "data_docs": "data docs: what the audits found"}
_RUN = re.compile(r"[A-Za-z0-9_.:+-]{1,200}")
_PAGE_SECONDS = 60
_MOST_ROWS = 500
_STYLE = """<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#1b2733;background:#fff}
table{border-collapse:collapse;margin-top:1rem}
th,td{padding:.25rem .8rem;border-bottom:1px solid #dde4ea;text-align:left;font-variant-numeric:tabular-nums}
td{white-space:nowrap}.failed{color:#b3261e}.succeeded{color:#1b7f3b}
th{background:#f3f6f9}code{background:#f3f6f9;padding:.15rem .4rem;border-radius:4px}
a{color:#0a5fb4}</style>"""


def build_site() -> FastAPI:
    """Return the application that Airflow mounts."""
    site = FastAPI(title="marketlake", dependencies=[Depends(require_login)], openapi_url=None)
    site.add_api_route("/", _index, response_class=HTMLResponse)
    site.add_api_route("/dlq", _dead_letters, response_class=HTMLResponse)
    site.add_api_route("/coverage", _coverage, response_class=HTMLResponse)
    site.add_api_route("/{name}", _into_folder, response_class=RedirectResponse)
    site.add_api_route("/{name}/{path:path}", _document)
    return site


async def require_login(request: Request) -> None:
    """Send a browser without Airflow's cookie to the login page, and back afterwards."""
    try:
        await get_user(request, None, None)
    except HTTPException:
        login = get_auth_manager().get_url_login(next_url=str(request.url))
        raise HTTPException(307, headers={"Location": login}) from None


def _index() -> HTMLResponse:
    items = [f'<li><a href="{SITE_PREFIX}/{name}/">{text}</a></li>' for name, text in SITES.items()]
    items.append(f'<li><a href="{SITE_PREFIX}/coverage">coverage: what is there and what is missing</a></li>')
    items.append(f'<li><a href="{SITE_PREFIX}/dlq">DLQ: the newest rejected rows</a></li>')
    return _page("marketlake", f"<ul>{''.join(items)}</ul>")


def _into_folder(name: str) -> RedirectResponse:
    if name not in SITES:
        raise HTTPException(404)
    return RedirectResponse(f"{SITE_PREFIX}/{name}/")


def _document(name: str, path: str) -> Response:
    if name not in SITES:
        raise HTTPException(404)
    root = (load_settings().home / "docs" / name).resolve()
    wanted = (root / (path or "index.html")).resolve()
    if not wanted.is_relative_to(root):
        raise HTTPException(404)
    if name == "data_docs" and wanted == root / "index.html" and (audits := audit_list(root)):
        return _page("Data docs", audits)
    if wanted.is_dir():
        wanted = wanted / "index.html"
    if not wanted.is_file():
        return _page(
            name, "<p>Not built yet: the daily run builds it. Come back after its first success.</p>", status=404
        )
    if name == "data_docs" and wanted.suffix == ".html":
        return HTMLResponse(readable(wanted.read_text(encoding="utf-8", errors="replace")))
    return FileResponse(wanted)


def _dead_letters(run: Annotated[str, Query()] = "") -> HTMLResponse:
    if run and not _RUN.fullmatch(run):
        raise HTTPException(422, "run is not a run id")
    return _command_page("Rejected rows", ["dlq", "list", *(["--run", run] if run else [])])


def _coverage(dataset: Annotated[str, Query()] = "") -> HTMLResponse:
    if dataset and dataset not in DATASETS:
        raise HTTPException(422, f"dataset must be one of {', '.join(DATASETS)}")
    return _command_page("Coverage", ["coverage", *(["--dataset", dataset] if dataset else [])])


def _command_page(title: str, arguments: Sequence[str]) -> HTMLResponse:
    shown = f"<p>From a shell: <code>bin/marketlake {html.escape(shlex.join(arguments))}</code></p>"
    try:
        done = subprocess.run(
            [library_command(), *arguments, "--json"],
            env=library_environment(os.environ),
            capture_output=True,
            text=True,
            timeout=_PAGE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _page(title, f"{shown}<p>{html.escape(str(error))}</p>", status=503)
    if done.returncode:
        return _page(title, f"{shown}<pre>{html.escape(done.stderr[-2000:])}</pre>", status=503)
    return _page(title, shown + _table(_rows(done.stdout)))


def _rows(text: str) -> list[dict[str, Any]]:
    tree = json.loads(text)
    if isinstance(tree, dict):
        tree = next((value for value in tree.values() if isinstance(value, list)), [])
    return [row for row in tree if isinstance(row, dict)]


def _table(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "<p>There are none.</p>"
    columns = list(rows[0])
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_text(name, row.get(name)))}</td>" for name in columns) + "</tr>"
        for row in rows[:_MOST_ROWS]
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(name: str, value: Any) -> str:
    if value is None or value == []:
        return ""
    if name == "coverage":
        return f"{float(value):.2%}"
    return value if isinstance(value, str) else json.dumps(value)


def _page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    head = f"<title>{html.escape(title)}</title><meta charset='utf-8'>{_STYLE}"
    return HTMLResponse(f"<!doctype html>{head}<h1>{html.escape(title)}</h1>{body}", status_code=status)
