"""Landed files and sealed manifests made by hand, for tests of what reads them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from marketlake.datasets import OHLCV
from marketlake.exchanges.binance import archive_layout
from marketlake.instants import Window, format_instant, parse_instant, to_epoch_ms
from marketlake.landing import LandingArea, seal_manifest
from marketlake.work import Answer, LandedFile, Manifest, Market

BTC = Market("spot", "BTC/USDT", "BTCUSDT")
ETH = Market("spot", "ETH/USDT", "ETHUSDT")
BTC_PERPETUAL = Market("perpetual", "BTC/USDT:USDT", "BTCUSDT")
NOW = parse_instant("2026-06-01T00:00:00Z")


def at(text: str) -> datetime:
    """Return the instant of a text, a bare `2024-01-01T05:00` in UTC."""
    return parse_instant(text if len(text) == 10 or text.endswith("Z") else f"{text}Z")


def window(start: str, end: str) -> Window:
    """Return the window of two such texts."""
    return Window(at(start), at(end))


def kline(open_time: str | datetime, close: str = "105", /, *, timeframe: str = "1h", **change: Any) -> list[Any]:
    """Return a candle as Binance's REST sends it; `change` replaces fields by their registry names."""
    opened = at(open_time) if isinstance(open_time, str) else open_time
    length = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}[timeframe]
    fields = {
        "open_time": to_epoch_ms(opened),
        "open": "100",
        "high": "110",
        "low": "90",
        "close": close,
        "volume": "12.5",
        "reported_close_time": to_epoch_ms(opened) + length - 1,
        "quote_volume": "1250",
        "trade_count": 7,
        "taker_buy_volume": "6",
        "taker_buy_quote_volume": "600",
        "ignore": "0",
    }
    return list({**fields, **change}.values())


def funding(funding_time: str, rate: str = "0.0001", **change: Any) -> dict[str, Any]:
    """Return a funding event as Binance's REST sends it."""
    event = {"symbol": "BTCUSDT", "fundingTime": to_epoch_ms(at(funding_time)), "fundingRate": rate, "markPrice": ""}
    return {**event, **change}


@dataclass
class Landing:
    """A landing area to put answers into; `seal` makes a manifest of those put since the last one."""

    root: Path
    exchange: str = "binance"
    dataset: str = "ohlcv"
    answers: list[Answer] = field(default_factory=list)
    sealed: int = 0

    @property
    def area(self) -> LandingArea:
        return LandingArea(self.root)

    def rest(
        self,
        rows: Sequence[Any],
        span: Window,
        *,
        market: Market = ETH,
        timeframe: str = "1h",
        received_at: str = "2026-05-01",
        reason: str = "new",
        page_rows: int = 1000,
    ) -> Answer:
        """Land rows as one task's REST responses."""
        number = len(self.answers) + 1
        path = f"{self.exchange}/{self.dataset}/rest/run-{self.sealed}/{number}-{market.exchange_symbol}.jsonl"
        ref = f"/api/v3/klines?symbol={market.exchange_symbol}&interval={timeframe}"
        instant = format_instant(at(received_at))
        pages = [rows[start : start + page_rows] for start in range(0, max(len(rows), 1), page_rows)]
        body = "".join(
            json.dumps(
                {
                    "url": f"http://127.0.0.1{ref}",
                    "path": ref,
                    "params": {},
                    "status": 200,
                    "headers": {},
                    "received_at": instant,
                    "exchange_time": format_instant(NOW),
                    "body": json.dumps(page),
                }
            )
            + "\n"
            for page in pages
        )
        file = self._put(path, body.encode(), ref, at(received_at), "rest_jsonl")
        return self._answer(market, timeframe, "rest", span, at(received_at), (file,), reason)

    def archive(
        self,
        zip_path: Path,
        archive_path: str,
        *,
        market: Market = BTC,
        timeframe: str = "1h",
        received_at: str = "2026-05-01",
        reason: str = "new",
    ) -> Answer:
        """Land a zip as the archive of this path."""
        # A folder for each run: a replaced archive must not overwrite what another manifest is about.
        path = f"{self.exchange}/{self.dataset}/archives/run-{self.sealed}/{archive_path}"
        file = self._put(path, zip_path.read_bytes(), archive_path, at(received_at), "archive_zip")
        span = archive_layout.window(archive_path)
        return self._answer(market, timeframe, "archive", span, at(received_at), (file,), reason)

    def unreadable(self, body: str, span: Window, *, market: Market = ETH, timeframe: str = "1h") -> Answer:
        """Land a body that stayed unreadable, as the file of a failed answer."""
        ref = f"/api/v3/klines?symbol={market.exchange_symbol}&interval={timeframe}"
        path = f"{self.exchange}/{self.dataset}/rest/run-{self.sealed}/{market.exchange_symbol}.unreadable.jsonl"
        line = {"url": f"http://127.0.0.1{ref}", "received_at": format_instant(NOW), "body": body}
        file = self._put(path, json.dumps(line).encode() + b"\n", ref, NOW, "rest_unreadable")
        return self._answer(market, timeframe, "rest", span, NOW, (file,), "new", status="failed")

    def silent(self, span: Window, *, market: Market = ETH, timeframe: str = "1h", status: str = "failed") -> Answer:
        """Note an answer without files."""
        return self._answer(market, timeframe, "rest", span, NOW, (), "new", status=status)

    def seal(self, run_id: str = "", *, now: datetime = NOW, kind: str = "load") -> Manifest:
        """Seal a manifest of the answers put since the last one."""
        self.sealed += 1
        manifest = Manifest(
            run_id=run_id or f"run-{self.sealed}",
            exchange=self.exchange,
            dataset=self.dataset,
            feed_market="recorded",
            clock_offset_seconds=0.0,
            now=now,
            answers=tuple(self.answers),
            kind=kind,
            sealed_at=now + timedelta(seconds=self.sealed),
        )
        self.answers = []
        self.path = seal_manifest(self.area, manifest, sealed_at=now + timedelta(seconds=self.sealed))
        return manifest

    def _put(self, path: str, body: bytes, ref: str, received_at: datetime, form: str) -> LandedFile:
        target = self.area.absolute(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        return LandedFile(path, digest, len(body), f"http://127.0.0.1/{ref}", ref, received_at, form)

    def _answer(
        self,
        market: Market,
        timeframe: str,
        source: str,
        span: Window,
        received_at: datetime,
        files: tuple[LandedFile, ...],
        reason: str,
        *,
        status: str = "answered",
    ) -> Answer:
        timeframe = timeframe if self.dataset == OHLCV.name else ""
        task_id = f"task-{self.sealed}-{len(self.answers)}"
        answer = Answer(task_id, market, timeframe, source, span, status, received_at, files, None, reason)
        self.answers.append(answer)
        return answer


def zip_of(folder: Path, name: str, lines: Iterable[str]) -> Path:
    """Write an archive zip with one CSV of these lines."""
    csv = folder / f"{name}.csv"
    csv.write_text("\n".join(lines) + "\n")
    shutil.make_archive(str(folder / name), "zip", folder, csv.name)
    csv.unlink()
    return folder / f"{name}.zip"
