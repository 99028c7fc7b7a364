"""Every recorded candle and funding event passes the rules, whatever exchange it is from (QUA-02, QUA-04, QUA-05)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv

from marketlake.datasets import FUNDING_RATES, OHLCV, Dataset
from marketlake.rules import Dialect, rules_for
from spark_jobs.bronze.exact_types import INSTANT, decimals, nearest_minute, texts

# Symbols as the instrument master names them, by the beginning of the file's name.
SYMBOLS = {
    "BTCUSDT": "BTC/USDT", "ETHUSDT": "ETH/USDT", "SOLUSDT": "SOL/USDT", "XRPETH": "XRP/ETH", "DASHBTC": "DASH/BTC",
    "TRXBTC": "TRX/BTC", "BTCUSD": "BTC/USD", "ADAUSDT": "ADA/USDT",
}  # fmt: skip
RECEIVED = datetime(2026, 11, 1, tzinfo=UTC)
VALUES = ("open", "high", "low", "close", "volume")
FILES = [
    "binance-spot/1m/BTCUSDT-1m-2021-03-26_2021-04-30", "binance-spot/1m/ETHUSDT-1m-2021-08-09_2021-09-13",
    "binance-spot/1m/BTCUSDT-1m-2022-06-15_2022-07-19", "binance-spot/1m/BTCUSDT-1m-2025-01-01_2025-02-04",
    "binance-spot/1m/BTCUSDT-1m-2024-07-26_2024-08-25", "binance-spot/1m/ETHUSDT-1m-2024-07-26_2024-08-25",
    "binance-spot/1m/XRPETH-1m-2019-10-11_2019-10-13", "binance-spot/5m/XRPETH-5m-2019-10-11_2019-10-13",
    "bittrex-spot/5m/DASHBTC-5m-2018-01-10_2018-01-30", "bittrex-spot/5m/TRXBTC-5m-2018-01-10_2018-01-30",
    "binance-spot/15m/BTCUSDT-15m-2024-12-30_2026-04-30", "binance-spot/15m/SOLUSDT-15m-2024-12-30_2026-04-30",
    "binance-spot/1h/BTCUSDT-1h-2022-01-01_2026-04-30", "binance-spot/2h/BTCUSDT-2h-2017-08-17_2026-04-30",
    "binance-spot/2h/ETHUSDT-2h-2017-08-17_2026-04-30", "binance-um/5m/BTCUSDT-5m-2023-01-01_2024-05-14",
    "bitfinex-spot/1m/BTCUSD-1m-2016", "bybit-linear/1m/ADAUSDT-1m-2024-09-08_2025-09-07",
    "bybit-linear/5m/BTCUSDT-5m-2025-04-03_2025-07-02",
]  # fmt: skip


def text_rows(path: Path) -> pa.Table:
    """Return the file's columns as the text that stands in it."""
    with pa.input_stream(str(path)) as stream:
        names = stream.read(400).decode().splitlines()[0].split(",")
    options = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return csv.read_csv(path, convert_options=options)


def instants(milliseconds: pa.ChunkedArray) -> pa.Array:
    counts = pc.multiply(milliseconds.combine_chunks().cast(pa.int64()), 1_000)
    return counts.cast(pa.timestamp("us")).cast(INSTANT)


def candles(path: Path) -> dict[str, pa.Array]:
    """Return the file's candles typed as a load types them."""
    exchange, timeframe, name = path.parts[-3:]
    symbol = SYMBOLS[name.split("-")[0]]
    perpetual = exchange in ("binance-um", "bybit-linear")
    text = text_rows(path)
    fixed = {
        "exchange": exchange.split("-")[0],
        "symbol": f"{symbol}:{symbol.split('/')[1]}" if perpetual else symbol,
        "timeframe": timeframe,
    }
    typed = {column: decimals(texts(text[column])) for column in VALUES}
    return {**_repeated(fixed, text.num_rows), "open_time": instants(text["open_time"]), **typed}


def events(path: Path) -> dict[str, pa.Array]:
    """Return the file's funding events typed as a load types them."""
    text = text_rows(path)
    exact = instants(text["funding_time"])
    typed = {"funding_time": nearest_minute(exact), "funding_time_raw": exact}
    fixed = _repeated({"exchange": "binance", "symbol": "BTC/USDT:USDT"}, text.num_rows)
    return {**fixed, **typed, "funding_rate": decimals(texts(text["funding_rate"]))}


def _repeated(fixed: dict[str, str], count: int) -> dict[str, pa.Array]:
    return {column: pa.repeat(pa.scalar(value, pa.string()), count) for column, value in fixed.items()}


def counted(dataset: Dataset, columns: dict[str, pa.Array]) -> tuple[int, dict[str, int], dict[str, int]]:
    """Return how many rows were judged, and how many of them have each reason and each flag."""
    count = len(columns["symbol"])
    rows = pa.table(
        {
            **columns,
            "received_at": pa.repeat(pa.scalar(RECEIVED, INSTANT), count),
            "unreadable": pa.nulls(count, pa.string()),
        }
    )
    rules = rules_for(dataset)
    found = []
    with duckdb.connect() as connection:
        connection.register("judged", rows)
        for chosen in (rules.rejecting, rules.flagging):
            query = (
                f"select reason, count(*) from (select unnest({rules.reasons_sql(chosen, Dialect.DUCKDB)}) as reason"
            )
            found.append(dict(connection.execute(f"{query} from judged) as told group by reason").fetchall()))
    return count, *found


def test_no_kline_file_is_left_out(recorded_data: Path) -> None:
    folder = recorded_data / "klines"

    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.csv.gz")) == sorted(
        f"{name}.csv.gz" for name in FILES
    )


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_candle_passes(recorded_data: Path, name: str) -> None:
    count, reasons, _ = counted(OHLCV, candles(recorded_data / "klines" / f"{name}.csv.gz"))

    assert (count > 700, reasons) == (True, {})


def test_small_prices_in_bitcoin_are_neither_rejected_nor_flagged(recorded_data: Path) -> None:
    columns = candles(recorded_data / "klines/bittrex-spot/5m/TRXBTC-5m-2018-01-10_2018-01-30.csv.gz")
    small = pc.less_equal(columns["low"], pa.scalar("0.0001").cast(pa.decimal128(28, 12)))

    assert (pc.sum(small).as_py(), len(small)) == (4_247, 5_754)
    assert counted(OHLCV, columns) == (5_754, {}, {})


def test_a_bound_holds_from_its_date_on(recorded_data: Path) -> None:
    columns = candles(recorded_data / "klines/bitfinex-spot/1m/BTCUSD-1m-2016.csv.gz")
    assert counted(OHLCV, columns) == (293_230, {}, {})

    ten_years = pa.scalar(10 * 365 * 86_400_000_000, pa.duration("us"))
    later = {**columns, "open_time": pc.add(columns["open_time"], ten_years)}
    assert counted(OHLCV, later)[1]["price out of bounds"] == 293_230


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("BTCUSDT-fundingRate-2022-01_2025-10", 4_188),
        ("ETHUSDT-fundingRate-2023-01_2024-05", 1_498),
        ("XRPUSDT-fundingRate-2021-11_2021-12", 91),
    ],
)
def test_every_recorded_funding_event_passes_however_late(recorded_data: Path, name: str, count: int) -> None:
    columns = events(recorded_data / "funding" / "binance-um" / f"{name}.csv.gz")

    assert counted(FUNDING_RATES, columns) == (count, {}, {})
    assert len(pc.unique(columns["funding_time"])) == count
