"""ING-13: archives and REST segments as raw rows, exact text, one unit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from marketlake.errors import DataError
from marketlake.exchanges.binance.readers import RAW_SCHEMAS, read_batches, read_rows
from marketlake.instants import format_instant, from_epoch_ms, parse_instant
from marketlake.landing import LandingArea, Segment
from tests.unit.exchanges.archive_files import (
    FIRST_MS,
    FUNDING,
    HEADER,
    MONTH,
    RECEIVED,
    answer,
    landed,
    row,
    write_zip,
    zip_bytes,
)

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000


def read(path: Path, source_ref: str = MONTH, dataset: str = "ohlcv", **options: bool) -> pa.Table:
    return read_rows(dataset, path, file=landed(source_ref), answer=answer(), **options)


@pytest.mark.parametrize("unit", [1, 1000], ids=["milliseconds", "microseconds"])
@pytest.mark.parametrize("header", ["", HEADER + "\n"], ids=["no header", "header"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_header_and_unit_do_not_change_the_rows(tmp_path: Path, unit: int, header: str, newline: str) -> None:
    text = header + row(unit=unit) + "\n" + row(FIRST_MS + HOUR_MS, unit=unit) + "\n"

    rows = read(write_zip(tmp_path, text.replace("\n", newline)))

    assert rows.schema.equals(RAW_SCHEMAS["ohlcv"])
    assert rows["open_time"].to_pylist() == [FIRST, from_epoch_ms(FIRST_MS + HOUR_MS)]
    assert rows["reported_close_time"].to_pylist()[0] == datetime(2025, 1, 1, 0, 59, 59, 999000, tzinfo=UTC)
    assert rows["open"].to_pylist() == ["93576.00000000"] * 2
    assert rows["taker_buy_quote_volume"].to_pylist() == ["39596777.7799259"] * 2
    assert rows["source_position"].to_pylist() == [0, 1]
    assert set(rows["source_ref"].to_pylist()) == {MONTH}
    assert set(rows["received_at"].to_pylist()) == {RECEIVED}


def test_a_last_line_without_newline_is_a_row(tmp_path: Path) -> None:
    assert read(write_zip(tmp_path, row())).num_rows == 1


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "\n"])
def test_an_archive_without_rows_is_empty(tmp_path: Path, text: str) -> None:
    assert read(write_zip(tmp_path, text)).num_rows == 0


@pytest.mark.parametrize("columns", range(6, 13))
def test_fewer_columns_leave_the_others_null(tmp_path: Path, columns: int) -> None:
    line = ",".join(row().split(",")[:columns])

    [found] = read(write_zip(tmp_path, line + "\n")).to_pylist()

    assert found["close"] == "94401.14"
    assert (found["quote_volume"] is None) == (columns < 8)
    assert (found["trade_count"] is None) == (columns < 9)


def test_more_columns_or_other_ones_hold_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 13 columns; ohlcv archives have at most 12"):
        read(write_zip(tmp_path, row() + ",1\n"))
    with pytest.raises(DataError, match="begins with columns open_time, open, close"):
        read(write_zip(tmp_path, "open_time,open,close,high,low,volume\n1735689600000,1,2,3,4,5\n"))


@pytest.mark.parametrize(
    "open_time",
    ["1735689600", "1733011200000", "1738368000000", "17356896000000000", "-1735689600000", "0"],
    ids=["seconds", "the month before", "the month after", "too many digits", "negative", "zero"],
)
def test_a_row_outside_the_files_period_holds_the_file(tmp_path: Path, open_time: str) -> None:
    text = row() + "\n" + row(open_time=open_time) + "\n"

    with pytest.raises(DataError, match=f"is held: row 1 has time {open_time}") as caught:
        read(write_zip(tmp_path, text))

    assert MONTH in str(caught.value)
    assert "2025-01-01T00:00:00Z … 2025-02-01T00:00:00Z" in str(caught.value)


def test_a_row_that_does_not_fit_arrives_with_its_payload_and_the_others_stay(tmp_path: Path) -> None:
    text = "\n".join(
        [row(), row(FIRST_MS + HOUR_MS, open_time="n/a"), "1735696800000,1,2", row(FIRST_MS + 3 * HOUR_MS)]
    )

    rows = read(write_zip(tmp_path, text)).to_pylist()

    assert [found["open_time"] is None for found in rows] == [False, True, False, True]
    assert json.loads(rows[1]["raw_payload"])[0] == "n/a"
    assert json.loads(rows[3]["raw_payload"]) == ["1735696800000", "1", "2"]
    assert sorted(found["source_position"] for found in rows) == [0, 1, 2, 3]


def test_bytes_that_are_no_text_hold_the_file(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(zip_bytes(row() + "\n" + row(close="\udcff") + "\n"))

    with pytest.raises(DataError, match=f"{MONTH} is not readable as CSV"):
        read(path)


def test_the_payload_is_json_of_the_exact_texts(tmp_path: Path) -> None:
    [plain] = read(write_zip(tmp_path, row())).to_pylist()
    [quoted] = read(write_zip(tmp_path, row(open='"93,576"'))).to_pylist()

    assert json.loads(plain["raw_payload"]) == row().split(",")
    assert json.loads(quoted["raw_payload"])[1] == "93,576"
    assert quoted["open"] == "93,576"


def test_the_payload_can_be_left_out(tmp_path: Path) -> None:
    assert read(write_zip(tmp_path, row()), with_payload=False)["raw_payload"].null_count == 1


def test_funding_archives_give_interval_and_rate(tmp_path: Path) -> None:
    text = "calc_time,funding_interval_hours,last_funding_rate\n1735689600006,8,0.00010000\n1738367999990,4,-0.0001\n"

    first, second = read(write_zip(tmp_path, text), FUNDING, "funding_rates").to_pylist()

    assert first["funding_time_raw"] == datetime(2025, 1, 1, 0, 0, 0, 6000, tzinfo=UTC)
    assert (first["funding_interval_hours"], first["funding_rate"], first["mark_price"]) == ("8", "0.00010000", None)
    assert second["funding_rate"] == "-0.0001"


def test_a_large_archive_is_read_in_blocks(tmp_path: Path) -> None:
    count = 2 * 31 * 1440
    lines = [row(FIRST_MS + number * 30_000) for number in range(count)]
    path = write_zip(tmp_path, "\n".join(lines) + "\n")

    batches = list(read_batches("ohlcv", path, file=landed(), answer=answer()))

    assert len(batches) > 1
    positions = [place for batch in batches for place in batch.column("source_position").to_pylist()]
    assert positions == list(range(count))


def test_the_recorded_excerpts_of_daily_archives_are_read(recorded_data: Path, tmp_path: Path) -> None:
    for day, count in (("27", 10), ("28", 11)):
        text = (recorded_data / "archives" / "excerpts" / f"ADABTC-1m-2021-11-{day}.csv").read_text()
        ref = f"data/spot/daily/klines/ADABTC/1m/ADABTC-1m-2021-11-{day}.zip"

        rows = read(write_zip(tmp_path, text), ref)

        assert rows.num_rows == count
        assert rows["open"].to_pylist()[0].startswith("0.0000")


def segment(folder: Path, *bodies: str, exchange_time: str = "2025-03-01T00:00:00Z") -> Path:
    area = LandingArea(folder)
    path = area.segment_path("binance", "ohlcv", run_id="run", task_id="task")
    with Segment(area, path) as lines:
        for place, body in enumerate(bodies):
            received = format_instant(from_epoch_ms(FIRST_MS + place))
            lines.append(
                {"path": "/api/v3/klines?symbol=BTCUSDT&interval=1h", "received_at": received,
                 "exchange_time": exchange_time, "body": body}
            )  # fmt: skip
        lines.finish({})
    return area.absolute(path)


def read_segment(path: Path, dataset: str = "ohlcv") -> pa.Table:
    return read_rows(dataset, path, file=landed("ref", format="rest_jsonl"), answer=answer())


def test_every_recorded_page_of_candles_is_read_with_its_exact_text(recorded_data: Path, tmp_path: Path) -> None:
    for path in sorted((recorded_data / "rest" / "binance-spot").glob("klines_*.json")):
        body = path.read_text()

        rows = read_segment(segment(tmp_path, body)).to_pylist()

        expected = json.loads(body)
        assert [json.loads(found["raw_payload"]) for found in rows] == expected
        assert "".join(found["raw_payload"] for found in rows) in body.replace("],[", "][")
        assert [found["volume"] for found in rows] == [values[5] for values in expected]
        assert [found["trade_count"] for found in rows] == [str(values[8]) for values in expected]


def test_rest_rows_keep_the_order_and_instant_of_their_responses(tmp_path: Path) -> None:
    bodies = [f'[[{FIRST_MS + hour * HOUR_MS}, "1", "2", "0.50", "1.5", "7"]]' for hour in (0, 1)]

    first, second = read_segment(segment(tmp_path, *bodies, "[]")).to_pylist()

    assert (first["source_position"], second["source_position"]) == (0, 1)
    assert second["received_at"] == from_epoch_ms(FIRST_MS + 1)
    assert first["source_ref"] == "/api/v3/klines?symbol=BTCUSDT&interval=1h"
    assert first["low"] == "0.50"
    assert first["quote_volume"] is None


@pytest.mark.parametrize(("at", "kept"), [("2025-01-01T01:59:59.999Z", 1), ("2025-01-01T02:00:00Z", 2)])
def test_a_candle_is_closed_when_the_exchanges_time_has_reached_its_end(tmp_path: Path, at: str, kept: int) -> None:
    body = json.dumps([[FIRST_MS, "1"], [FIRST_MS + HOUR_MS, "1"]])

    assert read_segment(segment(tmp_path, body, exchange_time=at)).num_rows == kept


def test_a_null_and_a_number_that_is_not_quoted_keep_their_meaning(tmp_path: Path) -> None:
    body = f'[[{FIRST_MS}, 93576.10, null, "", "NaN", "1e-8", null, null, true], {{"odd": 1}}]'

    first, odd = read_segment(segment(tmp_path, body)).to_pylist()

    assert (first["open"], first["high"], first["low"], first["close"]) == ("93576.10", None, None, "NaN")
    assert (first["volume"], first["trade_count"]) == ("1e-8", "true")
    assert odd["open_time"] is None
    assert odd["raw_payload"] == '{"odd": 1}'


@pytest.mark.parametrize("body", ['[[1735689600000,"1"', "<html>", '{"code":-1121}', "", "[1 2]"])
def test_a_damaged_body_in_a_segment_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(DataError, match="no JSON array"):
        read_segment(segment(tmp_path, body))


def test_funding_pages_are_read_by_name(tmp_path: Path) -> None:
    body = json.dumps(
        [
            {"symbol": "BTCUSDT", "fundingTime": 1735689600006, "fundingRate": "0.00010000", "markPrice": "93000.1"},
            {"symbol": "BTCUSDT", "fundingTime": 1735718400000, "fundingRate": "-0.00000001", "markPrice": ""},
        ]
    )

    first, second = read_segment(segment(tmp_path, body), "funding_rates").to_pylist()

    assert first["funding_time_raw"] == parse_instant("2025-01-01T00:00:00.006Z")
    assert (first["funding_rate"], first["mark_price"]) == ("0.00010000", "93000.1")
    assert (second["funding_rate"], second["mark_price"]) == ("-0.00000001", None)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be one of archive_zip, rest_jsonl; was 'parquet'"):
        read_rows("ohlcv", tmp_path, file=landed(format="parquet"), answer=answer())
