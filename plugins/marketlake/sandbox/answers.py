"""One answer: status, headers, bytes, and how it is put on the wire, whole or broken."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from marketlake.sandbox.refusals import RefusalError

JSON_TYPE = "application/json;charset=UTF-8"
HTML_TYPE = "text/html"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Answer:
    """What a request gets; `cut_after` breaks the connection after so many bytes."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None

    def with_headers(self, headers: dict[str, str]) -> Answer:
        """Return the answer with more headers."""
        return replace(self, headers=self.headers | headers)


def json_answer(body: Any, status: int = 200) -> Answer:
    """Return a JSON answer, without spaces, as the exchange sends it."""
    return Answer(status, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def refusal_answer(refusal: RefusalError) -> Answer:
    """Return the exchange's error body."""
    return json_answer({"code": refusal.code, "msg": refusal.message}, refusal.status)


def html_answer(page: str, status: int = 200) -> Answer:
    """Return an HTML page where JSON was expected."""
    return Answer(status, page.encode(), HTML_TYPE)


def file_answer(content: bytes, range_header: str | None, headers: dict[str, str]) -> Answer:
    """Return a file or the part of it that a Range header asks for (RFC 9110, one range)."""
    kind = "application/zip" if content[:2] == b"PK" else "binary/octet-stream"
    whole = Answer(200, content, kind, headers | {"Accept-Ranges": "bytes"})
    match = _RANGE.fullmatch(range_header or "")
    if match is None or not any(match.groups()):
        return whole
    size = len(content)
    if match[1]:
        start, end = int(match[1]), min(int(match[2] or size - 1), size - 1)
    else:
        start, end = max(0, size - int(match[2])), size - 1
    if start >= size or start > end:
        return Answer(416, b"", kind, whole.headers | {"Content-Range": f"bytes */{size}"})
    part = whole.headers | {"Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(206, content[start : end + 1], kind, part)


def no_such_key(path: str) -> Answer:
    """Return the storage's answer for a file that is not there."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not '
        f"exist.</Message><Key>{path}</Key></Error>"
    )
    return Answer(404, text.encode(), "application/xml")


async def send(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Put an answer on the wire; a broken one ends in the middle."""
    headers = answer.headers | {"Content-Type": answer.content_type}
    if answer.cut_after is None:
        return web.Response(status=answer.status, body=answer.body, headers=headers)
    if answer.cut_after > 0:
        response = web.StreamResponse(status=answer.status, headers=headers | {"Content-Length": str(len(answer.body))})
        await response.prepare(request)
        await response.write(answer.body[: answer.cut_after])
        await asyncio.sleep(0.02)
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("cut by the fault reset")
