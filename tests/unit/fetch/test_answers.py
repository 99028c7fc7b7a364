"""Landed files as answers."""

from __future__ import annotations

from marketlake.fetch.answers import absent_answer, archive_answer, failed_answer, rest_answer
from marketlake.instants import Window, parse_instant
from marketlake.landing import StoredFile
from marketlake.work import FetchTask, Market

AT = parse_instant("2025-02-20T12:00:00Z")
OVER = Window(parse_instant("2025-01-01"), parse_instant("2025-02-01"))
TASK = FetchTask(
    "t", "run", "binance", "ohlcv", Market("spot", "BTC/USDT", "BTCUSDT"), "1h", "archive", OVER, "data/x.zip", "force"
)


def test_an_archives_answer_names_the_archive_and_how_it_was_verified() -> None:
    meta = {"url": "http://x/data/x.zip", "received_at": "2025-02-20T12:00:00Z", "status": "unverified"}

    answer = archive_answer(TASK, StoredFile("binance/ohlcv/archives/data/x.abcd.zip", "ab", 7, meta))

    [file] = answer.files
    assert (answer.status, answer.source, answer.window, answer.reason) == ("answered", "archive", OVER, "force")
    assert (file.source_ref, file.checksum_status, file.bytes) == ("data/x.zip", "unverified", 7)
    assert answer.received_at == file.received_at == AT


def test_a_segments_answer_covers_the_part_that_was_answered() -> None:
    part = {"start": "2025-01-01T00:00:00Z", "end": "2025-01-15T00:00:00Z"}
    meta = {
        "url": "http://x",
        "source_ref": "/klines?symbol=BTCUSDT",
        "received_at": "2025-02-20T12:00:00Z",
        "window": part,
    }

    answer = rest_answer(TASK, StoredFile("t.jsonl", "ab", 7, meta))

    assert answer.window == Window(OVER.start, parse_instant("2025-01-15"))
    assert (answer.files[0].source_ref, answer.files[0].format) == ("/klines?symbol=BTCUSDT", "rest_jsonl")


def test_absent_and_failed_answers_cover_the_task() -> None:
    assert (absent_answer(TASK, AT).status, absent_answer(TASK, AT).window) == ("absent", OVER)
    failed = failed_answer(TASK, AT, "HTTP 503")
    assert (failed.status, failed.error, failed.window) == ("failed", "HTTP 503", OVER)
