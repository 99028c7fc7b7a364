"""Each fault over HTTP, switched on and off while the sandbox runs."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import zipfile
from io import BytesIO
from typing import Any

import pytest

from marketlake.sandbox import Sandbox
from marketlake.sandbox.fault_kinds import KINDS
from tests.integration.sandbox.asking import Ask

KLINES = "/api/v3/klines?symbol=BTCUSDT&interval=1h&startTime=1736035200000&limit=24"
FUNDING = "/fapi/v1/fundingRate?symbol=BTCUSDT&startTime=1736035200000&limit=9"
ARCHIVE = "/data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-05.zip"
START, NOON = 1_736_035_200_000, 1_736_078_400_000
HOUR = 3_600_000
HALF = {"start": "2025-01-05T00:00:00Z", "end": "2025-01-05T12:00:00Z"}


def rows_of(archive: bytes) -> list[list[str]]:
    with zipfile.ZipFile(BytesIO(archive)) as opened:
        return [line.split(",") for line in opened.read(opened.namelist()[0]).decode().splitlines()]


def test_gaps(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("gaps", symbol="BTC/USDT", **HALF)
    assert [row[0] for row in get(KLINES).json] == [NOON + hour * HOUR for hour in range(24)]
    assert len(rows_of(get(ARCHIVE).body)) == 12


def test_duplicates(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("duplicates", **HALF)
    assert len(get(KLINES).json) == 36
    assert len(rows_of(get(ARCHIVE).body)) == 36


def test_disorder(sandbox: Sandbox, get: Ask) -> None:
    ordered = get(KLINES).json
    sandbox.faults.add("disorder")
    assert get(KLINES).json == ordered[::-1]
    assert [int(row[0]) // 1000 for row in rows_of(get(ARCHIVE).body)] == [row[0] for row in ordered[::-1]]


def test_restated_candle(sandbox: Sandbox, get: Ask) -> None:
    before = get(KLINES).json
    sandbox.faults.add("restated_candle", timeframe="1h", by_pct=1, start="2025-01-05", end="2025-01-05T01:00:00Z")
    after = get(KLINES).json
    assert float(after[0][4]) == pytest.approx(float(before[0][4]) * 1.01, rel=1e-6)
    assert after[1:] == before[1:]
    assert rows_of(get(ARCHIVE).body)[0][4] == after[0][4]


def test_open_candle(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("open_candle")
    rows = get(KLINES).json
    assert len(rows) == 25
    assert rows[-1][6] > get("/api/v3/time").json["serverTime"]


def test_unreadable_number(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("unreadable_number", field="close", value="", **HALF)
    assert [row[4] for row in get(KLINES).json][:12] == [""] * 12
    assert [row[4] for row in rows_of(get(ARCHIVE).body)][:12] == [""] * 12
    sandbox.faults.clear()
    sandbox.faults.add("unreadable_number", field="funding_rate", probability=0.999999)
    assert {row["fundingRate"] for row in get(FUNDING).json} == {"n/a"}


def test_page_overlap(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("page_overlap", rows=2)
    assert [row[0] for row in get(KLINES).json][:3] == [START - 2 * HOUR, START - HOUR, START]


def test_silence(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("silence", times=1)
    assert (get(KLINES).json, len(get(KLINES).json)) == ([], 24)


def test_wrong_checksum(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("wrong_checksum")
    assert hashlib.sha256(get(ARCHIVE).body).hexdigest() not in get(ARCHIVE + ".CHECKSUM").body.decode()


def test_damaged_zip(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("damaged_zip", times=1)
    digest = get(ARCHIVE + ".CHECKSUM").body.decode().split()[0]
    damaged = get(ARCHIVE).body
    assert hashlib.sha256(damaged).hexdigest() == digest
    with pytest.raises(zipfile.BadZipFile):
        rows_of(damaged)
    assert len(rows_of(get(ARCHIVE).body)) == 24


def test_missing_archive(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("missing_archive", **HALF)
    assert (get(ARCHIVE).status, get(ARCHIVE + ".CHECKSUM").status) == (404, 404)
    assert get(ARCHIVE.replace("01-05", "01-06")).status == 200
    sandbox.faults.clear()
    assert get(ARCHIVE).status == 200


def test_archive_reissued(sandbox: Sandbox, get: Ask) -> None:
    first, digest = get(ARCHIVE).body, get(ARCHIVE + ".CHECKSUM").body
    sandbox.faults.add("archive_reissued", symbol="BTC/USDT", **HALF)
    again, digest_again = get(ARCHIVE).body, get(ARCHIVE + ".CHECKSUM").body
    assert digest_again != digest
    assert digest_again.decode().startswith(hashlib.sha256(again).hexdigest())
    assert sum(one != other for one, other in zip(rows_of(first), rows_of(again), strict=True)) == 12


def test_unit_switch(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("unit_switch", unit="ms", **HALF)
    assert [len(row[0]) for row in rows_of(get(ARCHIVE).body)] == [13] * 12 + [16] * 12


def test_clock_skew(sandbox: Sandbox, get: Ask) -> None:
    now = get("/api/v3/time").json["serverTime"]
    sandbox.faults.add("clock_skew", seconds=-45)
    assert get("/api/v3/time").json["serverTime"] == now - 45_000
    assert get("/fapi/v1/time").json["serverTime"] == now - 45_000


def test_delisting(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("delisting", symbol="BTC/USDT", at="2025-01-05T12:00:00Z")
    assert len(get(KLINES).json) == 12
    entries = {one["symbol"]: one["status"] for one in get("/api/v3/exchangeInfo").json["symbols"]}
    assert (entries["BTCUSDT"], entries["ETHUSDT"]) == ("BREAK", "TRADING")


def test_funding_interval_change(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("funding_interval_change", symbol="BTC/USDT:USDT", at="2025-01-06", hours=1)
    hours = [round((row["fundingTime"] - START) / HOUR) for row in get(FUNDING).json]
    assert hours == [0, 8, 16, 24, 25, 26, 27, 28, 29]


@pytest.mark.parametrize(
    ("fault", "parameters", "status", "retry_after"),
    [
        ("too_many_requests", {"retry_after": 7}, 429, "7"),
        ("banned", {"seconds": 90}, 418, "90"),
        ("forbidden", {}, 403, None),
        ("restricted", {}, 451, None),
        ("unavailable", {}, 503, None),
        ("unavailable", {"status": 502}, 502, None),
        ("html_ok", {}, 200, None),
    ],
)
def test_answers_that_are_none(
    sandbox: Sandbox, get: Ask, fault: str, parameters: dict[str, Any], status: int, retry_after: str | None
) -> None:
    sandbox.faults.add(fault, endpoint="klines", times=1, **parameters)
    assert get("/api/v3/ping").status == 200
    reply = get(KLINES)
    assert (reply.status, reply.headers.get("Retry-After")) == (status, retry_after)
    assert reply.body.startswith(b"<" if fault in ("forbidden", "html_ok") else b"{")
    assert len(get(KLINES).json) == 24
    assert [one.faults for one in sandbox.requests("/api/v3/klines")] == [(fault,), ()]


def test_a_ban_names_its_end_by_the_exchanges_clock(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("banned", seconds=90)
    assert f"IP banned until {1_738_411_230_000 + 90_000}." in get(KLINES).json["msg"]


def test_reset(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("reset", times=1)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(KLINES)
    assert len(get(KLINES).json) == 24


def test_reset_in_the_middle_of_a_body(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("reset", after_bytes=100, endpoint="/data/", times=1)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        get(ARCHIVE)
    assert get(ARCHIVE).status == 200


def test_slow(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("slow", seconds=0.4, times=1)
    started = time.monotonic()
    get(KLINES)
    slow = time.monotonic()
    get(KLINES)
    assert slow - started >= 0.4 > time.monotonic() - slow


def test_truncated_body(sandbox: Sandbox, get: Ask) -> None:
    whole = get(KLINES).body
    sandbox.faults.add("truncated_body", keep_pct=50)
    cut = get(KLINES)
    assert cut.body == whole[: len(whole) // 2]
    assert cut.headers["Content-Length"] == str(len(cut.body))
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut.body)


def test_a_share_of_the_answers_can_fail(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("unavailable", probability=0.5, seed=1)
    statuses = [get("/api/v3/ping").status for _ in range(60)]
    assert 15 < statuses.count(503) < 45


def test_a_transport_fault_can_wait_for_the_range_that_is_asked(sandbox: Sandbox, get: Ask) -> None:
    sandbox.faults.add("unavailable", start="2025-01-06", end="2025-01-07")
    assert get(KLINES).status == 200
    assert get(KLINES.replace("limit=24", "limit=25")).status == 503
    assert (get(ARCHIVE).status, get(ARCHIVE.replace("01-05", "01-06")).status) == (200, 503)


def test_every_fault_is_tried_here() -> None:
    tried = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    answers = {"too_many_requests", "banned", "forbidden", "restricted", "unavailable", "html_ok"}
    assert set(KINDS) <= tried | answers
