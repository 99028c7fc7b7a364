import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from marketlake import Lake
from marketlake.errors import UnknownNameError, UnknownSymbolError, UsageError, WindowError
from tests.lakes import KNOWN, candle, commit, commit_funding, funding, minutes

DAY = datetime(2025, 1, 30, tzinfo=UTC)
LATER = KNOWN + timedelta(days=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "delta_lake"


def closes(lake: Lake, **options) -> list[float]:
    return lake.candles("BTC/USDT", "1m", **options)["close"].to_pylist()


def test_candles_come_in_time_order_as_doubles_with_the_values_that_people_use(root):
    commit(root, [candle(DAY + timedelta(minutes=1), close="2"), candle(DAY, close="1.1")])
    table = Lake(root).candles("BTC/USDT", "1m")
    assert table.column_names[:6] == ["open_time", "open", "high", "low", "close", "volume"]
    assert table.schema.field("close").type == pa.float64()
    assert table["close"].to_pylist() == [1.1, 2.0]


def test_exact_values_keep_every_digit(root):
    commit(root, [candle(DAY, close="0.123456789012")])
    assert Lake(root).candles("BTC/USDT", "1m", exact=True)["close"].to_pylist() == [Decimal("0.123456789012")]


def test_a_range_is_half_open_and_may_cross_months(root):
    start = datetime(2025, 1, 31, 23, 58, tzinfo=UTC)
    commit(root, minutes(start, 4))
    rows = Lake(root).candles("BTC/USDT", "1m", "2025-01-31T23:59:00Z", "2025-02-01T00:01:00Z")
    assert rows["open_time"].to_pylist() == [start + timedelta(minutes=1), start + timedelta(minutes=2)]


def test_a_home_and_its_lake_folder_open_the_same_lake(root, tmp_path):
    commit(root, [candle(DAY)])
    assert closes(Lake(tmp_path)) == closes(Lake(root)) == [100.00000001]


def test_a_restated_candle_shows_its_last_value_now_and_its_old_one_before(root):
    commit(root, [candle(DAY, close="1")])
    commit(root, [candle(DAY, close="2", revision=1, received_at=LATER, known_at=LATER)])
    lake = Lake(root)
    assert closes(lake) == [2.0]
    assert closes(lake, as_of=LATER - timedelta(seconds=1)) == [1.0]
    assert closes(lake, as_of=LATER) == [2.0]


def test_the_better_source_wins_however_late_the_other_came(root):
    commit(root, [candle(DAY, close="1", source="archive")])
    commit(root, [candle(DAY, close="2", source="rest", received_at=LATER, known_at=LATER)])
    assert closes(Lake(root)) == [1.0]


def test_a_key_that_its_best_source_retracted_has_no_row_though_another_source_holds_it(root):
    commit(root, [candle(DAY, source="archive"), candle(DAY, source="rest")])
    commit(root, [candle(DAY, source="archive", revision=1, is_retracted=True, received_at=LATER, known_at=LATER)])
    assert closes(Lake(root)) == []


def test_a_lone_retraction_shows_nothing(root):
    commit(root, [candle(DAY, revision=1, is_retracted=True), candle(DAY + timedelta(minutes=1))])
    assert closes(Lake(root)) == [100.00000001]


def test_rows_loaded_after_as_of_are_added_flagged_only_on_request(root):
    commit(root, [candle(DAY, close="1")])
    late = DAY + timedelta(minutes=1)
    commit(root, [candle(late, close="2", known_at=LATER)])
    commit(root, [candle(late, close="3", revision=1, known_at=LATER + timedelta(days=1), received_at=LATER)])
    lake = Lake(root)
    assert closes(lake, as_of=KNOWN) == [1.0]
    rows = lake.candles("BTC/USDT", "1m", as_of=KNOWN, include_backfilled=True)
    assert rows.select(["close", "is_backfilled"]).to_pylist() == [
        {"close": 1.0, "is_backfilled": False},
        {"close": 2.0, "is_backfilled": True},
    ]


def test_a_key_retracted_before_as_of_is_not_brought_back_by_include_backfilled(root):
    commit(root, [candle(DAY)])
    commit(root, [candle(DAY, revision=1, is_retracted=True, received_at=LATER, known_at=LATER)])
    commit(root, [candle(DAY, revision=2, close="9", known_at=LATER + timedelta(days=1))])
    assert closes(Lake(root), as_of=LATER, include_backfilled=True) == []


@pytest.mark.parametrize(("format", "kind"), [("arrow", pa.Table), ("polars", pl.DataFrame)])
def test_an_empty_range_has_the_schema_of_a_full_one(root, format, kind):
    commit(root, [candle(DAY)])
    lake = Lake(root)
    full = lake.candles("BTC/USDT", "1m", format=format)
    empty = lake.candles("BTC/USDT", "1m", "2020-01-01", "2020-01-02", format=format)
    assert isinstance(empty, kind)
    assert len(empty) == 0
    assert empty.schema == full.schema


def test_pandas_frames_have_utc_times(root):
    commit(root, [candle(DAY)])
    frame = Lake(root).candles("BTC/USDT", "1m", format="pandas")
    assert str(frame["open_time"].dt.tz) == "UTC"
    assert frame["close"].dtype == "float64"


def test_chosen_columns_come_in_their_order_partitions_included(root):
    commit(root, [candle(DAY)])
    rows = Lake(root).candles("BTC/USDT", "1m", columns=["close", "partition_month", "exchange", "timeframe"])
    assert rows.to_pylist() == [
        {"close": 100.00000001, "partition_month": "2025-01", "exchange": "binance", "timeframe": "1m"}
    ]


@pytest.mark.parametrize("text", ["BTCUSDT", "BTC-USDT", "btcusdt"])
def test_other_spellings_mean_the_same_market(root, text):
    commit(root, [candle(DAY), candle(DAY, symbol="ETH/USDT")])
    assert len(Lake(root).candles(text, "1m")) == 1


def test_perp_means_the_perpetual(root):
    commit_funding(root, [funding(DAY)])
    assert Lake(root).funding_rates("BTC-USDT-PERP")["funding_rate"].to_pylist() == [0.0001]


def test_of_two_markets_of_one_name_the_spot_market_is_meant(root):
    commit(root, [candle(DAY, close="1"), candle(DAY, symbol="BTC/USDT:USDT", market_type="perpetual", close="2")])
    assert Lake(root).candles("BTCUSDT", "1m")["close"].to_pylist() == [1.0]
    assert Lake(root).candles("BTC-USDT-PERP", "1m")["close"].to_pylist() == [2.0]


def test_a_text_that_fits_two_markets_of_one_type_is_refused_with_both(root):
    futures = [candle(DAY, symbol=f"BTC/USDT:USDT-25{month}", market_type="future") for month in ("03", "06")]
    commit(root, futures)
    with pytest.raises(UnknownSymbolError, match="BTC/USDT:USDT-2503, BTC/USDT:USDT-2506"):
        Lake(root).candles("BTCUSDT", "1m")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"symbol": "XRP/USDT"}, "symbol must be one of BTC/USDT; was 'XRP/USDT'"),
        ({"timeframe": "60"}, "timeframe must be one of 1m, 5m, 15m, 1h, 4h, 1d; was '60'"),
        ({"exchange": "bnance"}, "exchange must be one of binance; was 'bnance'"),
        ({"columns": ["clse"]}, "column must be one of exchange, .*; was 'clse'"),
        ({"format": "csv"}, "format must be one of arrow, pandas, polars; was 'csv'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_valid_ones(root, arguments, names):
    commit(root, [candle(DAY)])
    with pytest.raises(UnknownNameError, match=names):
        Lake(root).candles(**{"symbol": "BTC/USDT", "timeframe": "1m", **arguments})


def test_a_lake_without_the_table_says_what_it_has(root):
    commit_funding(root, [funding(DAY)])
    with pytest.raises(UsageError, match=r"no table 'bronze\.ohlcv'; its tables: bronze\.funding_rates"):
        Lake(root).candles("BTC/USDT", "1m")


def test_no_lake_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match="there is no lake at"):
        Lake(tmp_path / "nowhere")


def test_reversed_ranges_and_naive_instants_are_refused(root):
    commit(root, [candle(DAY)])
    with pytest.raises(WindowError, match="start must be before end"):
        Lake(root).candles("BTC/USDT", "1m", "2025-02-01", "2025-01-01")
    with pytest.raises(UsageError, match="zone-aware"):
        Lake(root).candles("BTC/USDT", "1m", datetime(2025, 1, 1))  # noqa: DTZ001 - a naive datetime is the case under test


def test_a_lake_is_opened_from_its_settings(root, tmp_path, monkeypatch):
    commit(root, [candle(DAY)])
    config = tmp_path / "settings.yaml"
    config.write_text(f"delta_lake: {{storage_path: {root}}}")
    assert closes(Lake.from_config(config)) == [100.00000001]
    monkeypatch.setenv("MARKETLAKE_HOME", str(tmp_path))
    assert closes(Lake.from_config()) == [100.00000001]


def test_funding_rates_come_by_time_within_their_range(root):
    commit_funding(root, [funding(DAY + timedelta(hours=8 * n), funding_rate=f"0.000{n}") for n in (2, 0, 1)])
    rows = Lake(root).funding_rates("BTC/USDT:USDT", DAY, DAY + timedelta(hours=16))
    assert rows["funding_rate"].to_pylist() == [0.0, 0.0001]
    assert Lake(root).funding_rates("BTC/USDT:USDT", "2020-01-01", "2020-01-02").schema == rows.schema


def test_a_strict_read_never_changes_afterwards(root):
    commit(root, minutes(DAY, 3, close="1"))
    before = Lake(root).candles("BTC/USDT", "1m", as_of=KNOWN).to_pylist()
    later = {"received_at": LATER, "known_at": LATER}
    commit(root, [candle(DAY, close="2", revision=1, **later), *minutes(DAY + timedelta(hours=1), 2, **later)])
    commit(root, [candle(DAY + timedelta(minutes=1), revision=1, is_retracted=True, **later)])
    assert Lake(root).candles("BTC/USDT", "1m", as_of=KNOWN).to_pylist() == before
    assert len(closes(Lake(root))) == 4


def test_a_table_is_read_whole_at_a_version(root):
    commit(root, [candle(DAY)])
    commit(root, minutes(DAY + timedelta(minutes=1), 2))
    lake = Lake(root)
    assert [len(lake.read_table("bronze.ohlcv", version=n)) for n in (0, 1)] == [1, 3]
    assert [entry["version"] for entry in lake.get_table_history("bronze.ohlcv")] == [1, 0]


def test_every_public_call_says_what_it_does():
    public = [getattr(Lake, name) for name in vars(Lake) if not name.startswith("_")]
    assert [call.__name__ for call in public if not call.__doc__ or "return" not in call.__annotations__] == []


def test_an_open_lake_sees_what_is_committed_later(root):
    commit(root, [candle(DAY)])
    lake = Lake(root)
    assert len(closes(lake)) == 1
    commit(root, minutes(DAY + timedelta(minutes=1), 2))
    assert len(closes(lake)) == 3


def test_an_open_lake_sees_that_a_table_was_made_anew(root):
    commit(root, minutes(DAY, 3))
    lake = Lake(root)
    assert len(closes(lake)) == 3
    shutil.rmtree(root / "bronze" / "ohlcv")
    commit(root, [candle(DAY, close="7")])
    assert closes(lake) == [7.0]


def test_a_day_of_one_symbol_opens_only_the_file_that_holds_it(root):
    commit(root, minutes(DAY, 3))
    held = set(root.rglob("*.parquet"))
    commit(root, minutes(DAY + timedelta(days=1), 3))
    commit(root, minutes(DAY + timedelta(days=31), 3))
    commit(root, [candle(DAY, symbol="ETH/USDT", exchange_symbol="ETHUSDT")])
    for path in set(root.rglob("*.parquet")) - held:
        path.unlink()
    assert len(closes(Lake(root), start=DAY, end=DAY + timedelta(days=1))) == 3


def restated_months(root):
    """Write two months of candles, the first of which is partly restated later."""
    commit(root, [*minutes(DAY, 5), *minutes(DAY + timedelta(days=31), 4)])
    later = {"received_at": LATER, "known_at": LATER}
    commit(root, [candle(DAY + timedelta(minutes=3), close="9", revision=1, **later)])


@pytest.mark.parametrize(
    "options", [{}, {"exact": True}, {"as_of": KNOWN}, {"as_of": KNOWN, "include_backfilled": True}]
)
def test_a_stream_of_batches_is_the_table_in_parts(root, options):
    restated_months(root)
    whole = Lake(root).candles("BTC/USDT", "1m", **options)
    stream = Lake(root).candles_batches("BTC/USDT", "1m", batch_rows=2, **options)
    batches = list(stream)
    assert {len(batch) for batch in batches} <= {1, 2}
    assert len(batches) > 3
    assert pa.Table.from_batches(batches, schema=stream.schema) == whole


def test_a_stream_keeps_to_its_range_and_takes_other_spellings(root):
    restated_months(root)
    bounds = (DAY + timedelta(minutes=1), DAY + timedelta(days=31, minutes=2))
    stream = Lake(root).candles_batches("BTCUSDT", "1m", *bounds, columns=["open_time", "close"], batch_rows=3)
    assert stream.read_all() == Lake(root).candles("BTC/USDT", "1m", *bounds, columns=["open_time", "close"])


def test_a_stream_opens_a_file_only_when_it_comes_to_it(root):
    restated_months(root)
    stream = Lake(root).candles_batches("BTC/USDT", "1m", batch_rows=5)
    for path in (root / "bronze" / "ohlcv").rglob("partition_month=2025-03/*.parquet"):
        path.unlink()
    assert len(stream.read_next_batch()) == 5
    with pytest.raises(FileNotFoundError):
        stream.read_next_batch()


def test_a_stream_of_nothing_has_the_schema_and_a_wrong_request_fails_at_once(root):
    commit(root, [candle(DAY)])
    lake = Lake(root)
    empty = lake.candles_batches("BTC/USDT", "1m", "2020-01-01", "2020-01-02")
    assert empty.read_all() == lake.candles("BTC/USDT", "1m", "2020-01-01", "2020-01-02")
    with pytest.raises(UnknownNameError, match="symbol must be one of BTC/USDT"):
        lake.candles_batches("BTC/EUR", "1m")
    with pytest.raises(UnknownNameError, match="column must be one of"):
        lake.candles_batches("BTC/USDT", "1m", columns=["closing"])
    with pytest.raises(UsageError, match="batch_rows must be at least 1; was 0"):
        lake.candles_batches("BTC/USDT", "1m", batch_rows=0)


def test_funding_events_stream_too(root):
    commit_funding(root, [funding(DAY + timedelta(hours=8 * n), funding_rate=f"0.000{n}") for n in (2, 0, 1)])
    stream = Lake(root).funding_rates_batches("BTC/USDT:USDT", batch_rows=1)
    assert stream.read_all() == Lake(root).funding_rates("BTC/USDT:USDT")


def test_rows_are_read_at_a_version_of_their_table(root):
    commit(root, minutes(DAY, 2))
    commit(root, [candle(DAY, close="9", revision=1, received_at=LATER, known_at=LATER)])
    lake = Lake(root)
    assert [closes(lake, version=n)[0] for n in (0, 1)] == [100.00000001, 9.0]
    assert lake.candles_batches("BTC/USDT", "1m", version=0).read_all() == lake.candles("BTC/USDT", "1m", version=0)
    with pytest.raises(UsageError, match=r"has versions up to 1; was 2; the earliest available is version 0"):
        lake.candles("BTC/USDT", "1m", version=2)


def test_a_version_that_lost_its_files_is_refused_with_the_earliest(root):
    commit(root, minutes(DAY, 2))
    [first] = (root / "bronze" / "ohlcv").rglob("*.parquet")
    DeltaTable(str(root / "bronze" / "ohlcv")).delete()
    commit(root, minutes(DAY, 3))
    first.unlink()
    assert len(Lake(root).candles("BTC/USDT", "1m", version=2)) == 3
    with pytest.raises(UsageError, match=r"version 0 of bronze\.ohlcv lacks 1 of its files.*the earliest available is"):
        Lake(root).candles("BTC/USDT", "1m", version=0)
