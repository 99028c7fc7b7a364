"""`Lake`: read candles, funding rates, marts and gaps as Arrow, pandas or polars; no JVM, and it never writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketlake.datasets import FUNDING_RATES, OHLCV, TRADES, Dataset
from marketlake.errors import UsageError
from marketlake.lake.files import STATED_COLUMNS, CommitStamp, TableFiles, commit_stamp, files_of, open_table
from marketlake.lake.formats import check_format, in_format
from marketlake.lake.market_rows import Instant, Options, instant_of, read_market, stream_market
from marketlake.lake.tables import files_at
from marketlake.timeframes import check_timeframe

if TYPE_CHECKING:
    import pyarrow as pa

    from marketlake.settings import Settings

# Rows of a batch: some ten MiB of candles.
BATCH_ROWS = 50_000


class Lake:
    """One lake, opened for reading.

    `root` is `MARKETLAKE_HOME` or its `delta_lake/` folder. Instants are zone-aware datetimes or ISO texts (a bare date
    is midnight UTC); ranges are half-open `[start, end)`. Values come as float64, the doubles nearest to the exchange's
    text, or with `exact=True` as decimals. `format` is `arrow` (default), `pandas` or `polars`.
    """

    def __init__(self, root: str | Path, *, settings: Settings | None = None) -> None:
        """Open the lake of a home or of a lake folder.

        Raises:
            UsageError: there is no lake at this place.
        """
        self.home, self.root = _home_and_root(str(root))
        self._settings = settings
        # What was opened, and what tells whether it is still the newest version.
        self._tables: dict[str, tuple[TableFiles, CommitStamp | None]] = {}

    @classmethod
    def from_config(cls, path: str | Path | None = None) -> Lake:
        """Open the lake that a settings file, or the environment, describes."""
        from marketlake.settings import load_settings

        settings = load_settings(path)
        return cls(settings.lake_root, settings=settings)

    def candles(
        self,
        symbol: str,
        timeframe: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        exchange: str = "binance",
        as_of: Instant | None = None,
        version: int | None = None,
        include_backfilled: bool = False,
        exact: bool = False,
        format: str = "arrow",
        columns: Sequence[str] | None = None,
    ) -> Any:
        """Return the current candles that open in `[start, end)`, by open time.

        `as_of` returns what was known at that instant; candles first loaded later are left out, or, with
        `include_backfilled`, added in the values of their first revision with `is_backfilled` true. `version` reads the
        table as it was at that version of Delta's.

        Raises:
            UnknownNameError: unknown exchange, symbol, timeframe or column; the text names the valid ones.
            UsageError: the version is not there any more; the text names the earliest that is.
        """
        check_timeframe(timeframe)
        check_format(format)
        options = Options(start, end, exchange, as_of, include_backfilled, exact, columns)
        rows = read_market(self._table(OHLCV, version), OHLCV, symbol, timeframe, options)
        return in_format(rows, format, exact=True)

    def candles_batches(
        self,
        symbol: str,
        timeframe: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        exchange: str = "binance",
        as_of: Instant | None = None,
        version: int | None = None,
        include_backfilled: bool = False,
        exact: bool = False,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> pa.RecordBatchReader:
        """Return the rows of `candles` as a stream of Arrow batches of at most `batch_rows`, by open time.

        One slice of the range is in memory at a time, all slices are of one version of the table. Wrong arguments raise
        here, as in `candles`, not at the first batch.
        """
        check_timeframe(timeframe)
        options = Options(start, end, exchange, as_of, include_backfilled, exact, columns)
        table = self._table(OHLCV, version)
        return stream_market(table, OHLCV, symbol, timeframe, options, batch_rows=batch_rows)

    def funding_rates(
        self,
        symbol: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        exchange: str = "binance",
        as_of: Instant | None = None,
        version: int | None = None,
        include_backfilled: bool = False,
        exact: bool = False,
        format: str = "arrow",
        columns: Sequence[str] | None = None,
    ) -> Any:
        """Return the current funding events paid in `[start, end)`, by funding time; otherwise like `candles`."""
        check_format(format)
        options = Options(start, end, exchange, as_of, include_backfilled, exact, columns)
        rows = read_market(self._table(FUNDING_RATES, version), FUNDING_RATES, symbol, None, options)
        return in_format(rows, format, exact=True)

    def funding_rates_batches(
        self,
        symbol: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        exchange: str = "binance",
        as_of: Instant | None = None,
        version: int | None = None,
        include_backfilled: bool = False,
        exact: bool = False,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> pa.RecordBatchReader:
        """Return the rows of `funding_rates` as a stream of Arrow batches; otherwise like `candles_batches`."""
        options = Options(start, end, exchange, as_of, include_backfilled, exact, columns)
        table = self._table(FUNDING_RATES, version)
        return stream_market(table, FUNDING_RATES, symbol, None, options, batch_rows=batch_rows)

    def trades(
        self,
        symbol: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        exchange: str = "binance",
        as_of: Instant | None = None,
        version: int | None = None,
        include_backfilled: bool = False,
        exact: bool = False,
        format: str = "arrow",
        columns: Sequence[str] | None = None,
    ) -> Any:
        """Return the current trades with event time in `[start, end)`, by event time; otherwise like `candles`."""
        check_format(format)
        options = Options(start, end, exchange, as_of, include_backfilled, exact, columns)
        return in_format(read_market(self._table(TRADES, version), TRADES, symbol, None, options), format, exact=True)

    def mart(self, name: str, *, exact: bool = False, format: str = "arrow") -> Any:
        """Return a gold mart, read from Postgres by the reader's role.

        Raises:
            UsageError: no such mart; the text names those there are.
            UnavailableError: the database does not answer.
        """
        from marketlake.lake.gold import read_mart

        check_format(format)
        return in_format(read_mart(self._loaded_settings(), name, exact=exact), format, exact=True)

    def gaps(
        self,
        symbol: str | None = None,
        timeframe: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        exchange: str | None = None,
        dataset: str | None = None,
        status: str | None = None,
        format: str = "arrow",
    ) -> Any:
        """Return the holes that overlap `[start, end)`, with cause and status, as the ledger was last mirrored."""
        from marketlake.lake.gaps import read_gaps

        check_format(format)
        equal = {
            "dataset": dataset, "exchange": exchange, "symbol": symbol, "timeframe": timeframe, "status": status,
        }  # fmt: skip
        return in_format(read_gaps(self.root, equal, instant_of(start), instant_of(end)), format, exact=True)

    def query(self, sql: str, *, exact: bool = True, format: str = "arrow") -> Any:
        """Return the result of a DuckDB query over the lake's views (`raw_market_data_1m`, `bronze.ohlcv`, …).

        Raises:
            UsageError: DuckDB refuses the query; the text is its message and the names of the views.
        """
        from marketlake.lake.sql import run_query

        check_format(format)
        return in_format(run_query(self.root, sql), format, exact=exact)

    def get_table_history(self, table_name: str) -> list[dict[str, Any]]:
        """Return a table's versions, newest first: version, timestamp, operation, operationMetrics, run_id, …"""
        from marketlake.lake.tables import get_table_history

        return get_table_history(self.root, table_name)

    def read_table(
        self,
        table_name: str,
        *,
        as_of_timestamp: Instant | None = None,
        version: int | None = None,
        exact: bool = True,
        format: str = "arrow",
    ) -> Any:
        """Return all rows of a table now, at a version, or as it stood at an instant of Delta's own clock.

        Raises:
            UsageError: both arguments, or a version that is not there any more; the text names the earliest that is.
        """
        from marketlake.lake.tables import read_table

        check_format(format)
        rows = read_table(self.root, table_name, as_of_timestamp=instant_of(as_of_timestamp), version=version)
        return in_format(rows, format, exact=exact)

    def _table(self, dataset: Dataset, version: int | None) -> TableFiles:
        name, columns = dataset.table, [*STATED_COLUMNS, dataset.time_column]
        if version is not None:
            return files_at(self.root, name, version, columns)
        kept, stamp = self._tables.get(name, (None, None))
        if kept is None or stamp is None or commit_stamp(kept) != stamp:
            kept = files_of(open_table(self.root, name), name, columns)
            self._tables[name] = kept, commit_stamp(kept)
        return kept

    def _loaded_settings(self) -> Settings:
        if self._settings is None:
            from marketlake.settings import load_settings

            self._settings = load_settings(environ={**os.environ, "MARKETLAKE_HOME": self.home})
        return self._settings


def _home_and_root(text: str) -> tuple[str, str]:
    if "://" in text:
        raise UsageError(f"a lake is read from a folder; {text!r} is an address")
    path = Path(text).absolute()
    if (path / "delta_lake").is_dir():
        return str(path), str(path / "delta_lake")
    if path.is_dir() and (path.name == "delta_lake" or any(path.glob("*/*/_delta_log"))):
        return str(path.parent), str(path)
    raise UsageError(
        f"there is no lake at {path}: name MARKETLAKE_HOME (it holds delta_lake/) or the delta_lake folder itself,"
        " or load something first with `marketlake run`"
    )
