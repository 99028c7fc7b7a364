"""The data docs as the web server shows them: a list of the audits, and pages that can be read without the internet.

Great Expectations' pages take their style from other servers; where those cannot be reached, ours is what remains.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from marketlake_airflow.links import SITE_PREFIX

_MOST_AUDITS = 200
_STATUS = re.compile(r"Status:</span>.{0,200}?\b(Succeeded|Failed)\b", re.DOTALL)
_COUNT = re.compile(r"(Evaluated|Unsuccessful) Expectations(?:<[^>]*>\s*)+(\d+)")
_LOGO = re.compile(r"https://[^\"'\s]*/logo-long\.png[^\"'\s]*")
_STAMP = re.compile(r"(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2}).*")
# First in the head, so that what the page itself asks for wins where it can be had.
_FALLBACK = """<style>body{font:15px/1.5 system-ui,sans-serif;margin:0;color:#1b2733}a{color:#0a5fb4}
nav,.container-fluid{padding:.5rem 2rem}ol.breadcrumb{display:inline-block;list-style:none;margin:0;padding:0}
.breadcrumb-item{display:inline}.breadcrumb-item+.breadcrumb-item:before{content:" / "}.navbar-brand img{height:40px}
table{border-collapse:collapse;margin:.3rem 0}
th,td{padding:.2rem .8rem;border-bottom:1px solid #dde4ea;text-align:left}
h4,h5,h6{margin:1rem 0 .3rem}
.alert{padding:.6rem 1rem;background:#f3f6f9}.badge,code{background:#f3f6f9;padding:0 .3rem}
.row{display:flex;flex-wrap:wrap;gap:1rem 3rem}.col-md-2{flex:0 0 16rem}.col-md-8,.col-lg-8{flex:1 1 40rem}</style>"""


@dataclass(frozen=True)
class AuditPage:
    """One page of an audit: where it is, which suite judged what, when, and how it ended."""

    href: str
    suite: str
    batch: str
    audited_at: str
    status: str
    counts: dict[str, int]


def audit_pages(root: Path) -> list[AuditPage]:
    """Return the newest audits under the data docs' folder, newest first."""
    paths = sorted(root.glob("validations/*/*/*/*.html"), key=lambda path: path.parent.name, reverse=True)
    return [_audit(root, path, path.stat().st_mtime_ns) for path in paths[:_MOST_AUDITS]]


def audit_list(root: Path) -> str:
    """Return the list of the audits as the body of a page; empty where none was written yet."""
    rows = "".join(
        f"<tr><td>{html.escape(page.audited_at)}</td><td>{html.escape(page.suite)}</td>"
        f'<td><a href="{html.escape(page.href)}">{html.escape(page.batch)}</a></td>'
        f'<td class="{page.status.lower()}">{page.status}</td>'
        f"<td>{page.counts.get('Evaluated', '')}</td><td>{page.counts.get('Unsuccessful', '')}</td></tr>"
        for page in audit_pages(root)
    )
    if not rows:
        return ""
    suites = ", ".join(
        f'<a href="{SITE_PREFIX}/data_docs/expectations/{html.escape(path.name)}">{html.escape(path.stem)}</a>'
        for path in sorted(root.glob("expectations/*.html"))
    )
    head = "<tr><th>audited at (UTC)</th><th>suite</th><th>audit</th><th>result</th><th>rules</th><th>failed</th></tr>"
    return f"<p>What each suite expects: {suites}</p><table>{head}{rows}</table>"


def readable(page: str) -> str:
    """Return a page of Great Expectations with a style and a logo of this server's own."""
    with_logo = _LOGO.sub(f"{SITE_PREFIX}/data_docs/static/images/logo-long.png", page)
    return re.sub(r"<head[^>]*>", lambda found: found[0] + _FALLBACK, with_logo, count=1)


@lru_cache(maxsize=2 * _MOST_AUDITS)
def _audit(root: Path, path: Path, written_at: int) -> AuditPage:
    # `written_at` is part of the key alone: a page is read once, and again when it was written anew.
    text = path.read_text(encoding="utf-8", errors="replace")
    found = _STATUS.search(text)
    return AuditPage(
        href=f"{SITE_PREFIX}/data_docs/{path.relative_to(root).as_posix()}",
        suite=path.parents[2].name,
        batch=path.parents[1].name,
        audited_at=_STAMP.sub(r"\1-\2-\3 \4:\5:\6", path.parent.name),
        status=found[1] if found else "",
        counts={name: int(count) for name, count in _COUNT.findall(text)},
    )
