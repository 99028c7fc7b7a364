"""The exchange itself: takes a request, charges its weight, applies the faults, answers it and writes it down."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from marketlake.instants import format_instant, from_epoch_ms
from marketlake.sandbox import archives, refusals
from marketlake.sandbox.answers import (
    Answer,
    file_answer,
    html_answer,
    json_answer,
    no_such_key,
    refusal_answer,
    send,
)
from marketlake.sandbox.clock import SandboxClock
from marketlake.sandbox.disturbed import DisturbedMarket, file_call
from marketlake.sandbox.endpoints import Endpoint, endpoint_of
from marketlake.sandbox.fault_kinds import ARCHIVE, REST
from marketlake.sandbox.faults import Call, Fault, Faults
from marketlake.sandbox.intervals import LENGTHS
from marketlake.sandbox.listings import SPOT, UM
from marketlake.sandbox.market import ArchivePath, Market
from marketlake.sandbox.parameters import Parameters
from marketlake.sandbox.request_log import LoggedRequest, RequestLog
from marketlake.sandbox.weights import Verdict, WeightMeter

MARKET_HEADER = "X-Marketlake-Market"
_STATUS_FAULTS = ("too_many_requests", "banned", "forbidden", "restricted", "unavailable", "html_ok")
_SHARED_CALLS = ("fundingRate", "fundingInfo")


class Exchange:
    """Answers requests from one market at the time of one clock."""

    def __init__(self, market: Market, clock: SandboxClock, meter: WeightMeter) -> None:
        self.faults = Faults()
        self.market = DisturbedMarket(market, self.faults)
        self.clock = clock
        self.meter = meter
        self.log = RequestLog()
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandbox-answer")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        now_ms = self.clock.now_ms()
        query = dict(request.query)
        endpoint = endpoint_of(request.path)
        call = _call_of(request.path, endpoint, query, now_ms)
        weight = endpoint.weigh(query) if endpoint else 0
        verdict = self._charge(request.remote or "", endpoint, weight)
        hits = [fault for fault in self.faults.active() if fault.kind.acts_on == "calls" and fault.take(call)]
        for fault in hits:
            if fault.name == "slow":
                await asyncio.sleep(fault.values["seconds"])
        answer = self._refused(endpoint, verdict, now_ms) or self._failed(hits, now_ms)
        if answer is None:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._workers, self._answer, request, endpoint, query, now_ms)
        if endpoint is not None and verdict is not None:
            used = str(verdict.used)
            answer = answer.with_headers({"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used})
        answer = _broken(answer.with_headers({MARKET_HEADER: self.market.name}), hits)
        self._write_down(request, answer, weight, now_ms, hits)
        return await send(request, answer)

    def close(self) -> None:
        """Stop the workers."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _charge(self, address: str, endpoint: Endpoint | None, weight: int) -> Verdict | None:
        if endpoint is None:
            return None
        verdict = self.meter.charge(address, endpoint.venue, weight)
        if verdict.status is None and endpoint.name in _SHARED_CALLS:
            shared = self.meter.charge_funding(address)
            return replace(verdict, status=shared.status, wait_seconds=shared.wait_seconds)
        return verdict

    def _refused(self, endpoint: Endpoint | None, verdict: Verdict | None, now_ms: int) -> Answer | None:
        if endpoint is None or verdict is None or verdict.status is None:
            return None
        if verdict.status == 418:
            refusal = refusals.banned(now_ms + verdict.wait_seconds * 1000)
        elif verdict.used <= self.meter.limits[endpoint.venue]:
            refusal = refusals.too_many_requests()
        else:
            refusal = refusals.too_much_weight(self.meter.limits[endpoint.venue])
        return refusal_answer(refusal).with_headers({"Retry-After": str(verdict.wait_seconds)})

    def _failed(self, hits: list[Fault], now_ms: int) -> Answer | None:
        for fault in hits:
            if fault.name in _STATUS_FAULTS:
                return _fault_answer(fault, now_ms, self.meter.limits[SPOT])
        return None

    def _answer(self, request: web.Request, endpoint: Endpoint | None, query: dict[str, str], now_ms: int) -> Answer:
        if request.path.startswith("/data/"):
            return self._file(request, now_ms)
        if endpoint is None:
            return html_answer("<html><body><h2>404 Not found</h2></body></html>\n", 404)
        if request.method != "GET":
            return html_answer("<html><body><h2>405 Method not allowed</h2></body></html>\n", 405)
        try:
            parameters = Parameters(endpoint.venue, query, self.market, now_ms)
            answer = json_answer(self._own_figures(endpoint, endpoint.answer(self.market, parameters)))
        except refusals.RefusalError as refusal:
            return refusal_answer(refusal)
        return answer

    def _own_figures(self, endpoint: Endpoint, body: Any) -> Any:
        """Give the time as a skewed clock has it, and the weight limit that is really enforced."""
        if endpoint.name == "exchangeInfo":
            for limit in body["rateLimits"]:
                if limit["rateLimitType"] == "REQUEST_WEIGHT":
                    limit["limit"] = self.meter.limits[endpoint.venue]
        if endpoint.name != "time":
            return body
        call = Call(REST, endpoint.venue, "time", "")
        ahead = sum(one.values["seconds"] for one in self.faults.active("clock_skew") if one.take(call))
        return {"serverTime": body["serverTime"] + int(ahead * 1000)}

    def _file(self, request: web.Request, now_ms: int) -> Answer:
        address = request.path[1:]
        wants_checksum = address.endswith(".CHECKSUM")
        path = archives.parse_path(address.removesuffix(".CHECKSUM"))
        if path is None or archives.published_ms(path) > now_ms or self._is_missing(path):
            return no_such_key(address)
        content = self._content(path, wants_checksum)
        if content is None:
            return no_such_key(address)
        published = datetime.fromtimestamp(archives.published_ms(path) / 1000, UTC)
        headers = {"Last-Modified": format_datetime(published, usegmt=True), "ETag": f'"{archives.etag(content)}"'}
        return file_answer(content, request.headers.get("Range"), headers)

    def _content(self, path: ArchivePath, wants_checksum: bool) -> bytes | None:
        if not wants_checksum:
            return self.market.archive(path)
        archive = self.market.pristine_archive(path)
        return None if archive is None else self.market.checksum(path, archive)

    def _is_missing(self, path: ArchivePath) -> bool:
        return any(fault.take(file_call(path)) for fault in self.faults.active("missing_archive"))

    def _write_down(self, request: web.Request, answer: Answer, weight: int, now_ms: int, hits: list[Fault]) -> None:
        names = tuple(fault.name for fault in hits)
        instant = format_instant(from_epoch_ms(now_ms))
        self.log.add(
            LoggedRequest(
                instant,
                request.method,
                request.path,
                request.query_string,
                answer.status,
                weight,
                len(answer.body),
                names,
            )
        )


def _call_of(path: str, endpoint: Endpoint | None, query: dict[str, str], now_ms: int) -> Call:
    if path.startswith("/data/"):
        archive = archives.parse_path(path[1:].removesuffix(".CHECKSUM"))
        return file_call(archive) if archive else Call(ARCHIVE, UM if "/futures/" in path else SPOT, "", path)
    venue = endpoint.venue if endpoint else (SPOT if path.startswith("/api/") else UM)
    name = endpoint.name if endpoint else path.rsplit("/", 1)[-1]
    start, end = (int(text) if (text := query.get(one, "")).isdigit() else None for one in ("startTime", "endTime"))
    interval = query.get("interval")
    stop = now_ms + 1 if end is None else end + 1
    limit = query.get("limit", "500")
    if start is not None and interval in LENGTHS and limit.isdigit():
        stop = min(stop, start + int(limit) * LENGTHS[interval])
    ranged = name in ("klines", "fundingRate", "aggTrades")
    return Call(
        REST,
        venue,
        name,
        path,
        query.get("symbol"),
        interval,
        (start or 0) if ranged else None,
        stop if ranged else None,
    )


def _fault_answer(fault: Fault, now_ms: int, limit: int) -> Answer:
    values = fault.values
    if fault.name == "too_many_requests":
        answer = refusal_answer(refusals.too_much_weight(limit))
        return answer.with_headers({"Retry-After": str(values["retry_after"])})
    if fault.name == "banned":
        answer = refusal_answer(refusals.banned(now_ms + values["seconds"] * 1000))
        return answer.with_headers({"Retry-After": str(values["seconds"])})
    if fault.name == "forbidden":
        return html_answer(refusals.FORBIDDEN if values["page"] == "plain" else refusals.CLOUDFRONT, 403)
    if fault.name == "restricted":
        return Answer(451, refusals.RESTRICTED.encode())
    if fault.name == "unavailable":
        return refusal_answer(refusals.unavailable(values["status"]))
    return html_answer(refusals.MAINTENANCE)


def _broken(answer: Answer, hits: list[Fault]) -> Answer:
    for fault in hits:
        if fault.name == "truncated_body":
            answer = replace(answer, body=answer.body[: int(len(answer.body) * fault.values["keep_pct"] / 100)])
        if fault.name == "reset":
            answer = replace(answer, cut_after=min(fault.values["after_bytes"], max(0, len(answer.body) - 1)))
    return answer
