"""Columns and datasets as data: name, type, unit and role, rendered for each engine that needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

# Best first: silver publishes the current row of the best source that has the key (ING-18).
SOURCE_PRECEDENCE = ("archive", "rest", "sbe", "stream", "rebuilt", "file")
# A reader decodes whole row groups. In so few rows, one symbol's month of 1m is most of what it has to decode for it.
MAX_ROWS_PER_ROW_GROUP = 16_384
# Files of 16–32 MiB hold about this many of our rows.
MAX_ROWS_PER_FILE = 400_000


class ColumnType(StrEnum):
    """The types that bronze knows; the rest of the code asks a column for its rendering."""

    TEXT = "text"
    INSTANT = "instant"
    DATE = "date"
    DECIMAL = "decimal"
    INTEGER = "integer"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    TEXT_LIST = "text_list"


SPARK_TYPES = {
    ColumnType.TEXT: "string",
    ColumnType.INSTANT: "timestamp",
    ColumnType.DATE: "date",
    ColumnType.DECIMAL: "decimal(28,12)",
    ColumnType.INTEGER: "bigint",
    ColumnType.DOUBLE: "double",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TEXT_LIST: "array<string>",
}
POSTGRES_TYPES = {
    ColumnType.TEXT: "text",
    ColumnType.INSTANT: "timestamptz",
    ColumnType.DATE: "date",
    ColumnType.DECIMAL: "numeric",
    ColumnType.INTEGER: "bigint",
    ColumnType.DOUBLE: "double precision",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TEXT_LIST: "text[]",
}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `is_value` columns make up the digest, in the registry's order; provenance and keys stay out of it.
    """

    name: str
    type: ColumnType
    doc: str
    is_nullable: bool = False
    is_value: bool = False

    @property
    def spark_type(self) -> str:
        """The type in Spark's DDL."""
        return SPARK_TYPES[self.type]

    @property
    def postgres_type(self) -> str:
        """The type in Postgres's DDL."""
        return POSTGRES_TYPES[self.type]


def text(name: str, doc: str, *, is_nullable: bool = False) -> Column:
    """Return a text column."""
    return Column(name, ColumnType.TEXT, doc, is_nullable)


def instant(name: str, doc: str, *, is_nullable: bool = False, is_value: bool = False) -> Column:
    """Return a UTC instant column, microseconds."""
    return Column(name, ColumnType.INSTANT, doc, is_nullable, is_value)


def decimal(name: str, doc: str, *, is_nullable: bool = False) -> Column:
    """Return an exact value column, decimal(28,12)."""
    return Column(name, ColumnType.DECIMAL, doc, is_nullable, is_value=True)


def integer(name: str, doc: str, *, is_nullable: bool = False, is_value: bool = False) -> Column:
    """Return a whole-number column."""
    return Column(name, ColumnType.INTEGER, doc, is_nullable, is_value)


MARKET_COLUMNS = (
    text("exchange", "Who delivered the row: an exchange's or a vendor's id, such as binance."),
    text("market_type", "spot, perpetual or future."),
    text("symbol", "ccxt's unified symbol, such as BTC/USDT or BTC/USDT:USDT."),
    text("exchange_symbol", "The exchange's own name of the market, such as BTCUSDT."),
)

PROVENANCE_COLUMNS = (
    text("source", "The channel: archive, rest, sbe, stream, rebuilt or file."),
    text("source_ref", "The file or URL path that the row was read from."),
    integer("revision", "0 for the first values of a key from a source, one more for each restatement by it."),
    Column("is_retracted", ColumnType.BOOLEAN, "True for a row that says: this source no longer has the key."),
    text("digest", "v1: and a hash of the value columns; equal digests are equal values."),
    text("load_id", "The load that committed the row; its row in the ledger names the run."),
    instant("received_at", "When the bytes came, on the run's clock, UTC; decides which observation is newer."),
    instant("known_at", "When the committing load made the row known, UTC, rising per table; decides as_of reads."),
    Column("partition_date", ColumnType.DATE, "UTC date of the row's time column; filter on it to read less."),
    text("partition_asset_pair", "The symbol again, under the name that users of the partitions filter on."),
)


@dataclass(frozen=True)
class Dataset:
    """Everything that is declared about one dataset, once.

    `key` identifies a row beside its source and revision; `time_column` places it in time; `grain` tells whether keys
    lie on a timeframe's grid (`candle`) or come as events (`event`). `id_column`: the exchange numbers its rows in it,
    so that a jump shows what is missing. One REST task covers at most `longest_rest_range`, where a page's length in
    time is not known.
    """

    name: str
    table: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time_column: str
    grain: str
    market_types: tuple[str, ...]
    sources: tuple[str, ...]
    partitioned_by: tuple[str, ...]
    sorted_by: tuple[str, ...]
    suite: str
    freshness: timedelta
    look_back: int
    views: dict[str, str] = field(default_factory=dict)
    id_column: str | None = None
    longest_rest_range: timedelta | None = None

    @property
    def dlq_table(self) -> str:
        """The name of the table of rejected rows."""
        return f"{self.table}_dlq"

    @property
    def value_columns(self) -> tuple[Column, ...]:
        """The columns that the digest covers, in their order."""
        return tuple(column for column in self.columns if column.is_value)

    @property
    def column_names(self) -> tuple[str, ...]:
        """All column names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def has_timeframes(self) -> bool:
        """Whether a market of this dataset is told apart by timeframe too."""
        return self.grain == "candle"
