"""What a person asks of `backfill_market_data`: its form, the checks that a schema cannot make, its chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Param

from marketlake.datasets import DATASETS
from marketlake.errors import UsageError, WindowError
from marketlake.instants import DAY, LONGEST_WINDOW, Window, floor_instant, format_instant, parse_instant, parse_window
from marketlake.settings import Settings
from marketlake.timeframes import TIMEFRAMES, grid_count
from marketlake_airflow.pools import exchange_ids
from marketlake_airflow.window import MODES, instant_param

DEFAULT_DAYS = 7
# Longer windows are cut into calendar months, for which exchanges publish one archive each.
MOST_DAY_CHUNKS = 92
_SYMBOL = r"^[A-Z0-9]{1,20}([/-]?[A-Z0-9]{1,20})?(:[A-Z0-9]{1,20}|-PERP)?$"


@dataclass(frozen=True)
class BackfillRequest:
    """A checked request; lists are in the order given, without repeats."""

    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    exchanges: tuple[str, ...]
    datasets: tuple[str, ...]
    window: Window
    mode: str
    dry_run: bool

    def options(self) -> list[str]:
        """Return the arguments of `open_run` without the window; timeframes only where a dataset has some."""
        options = ["--mode", self.mode]
        has_timeframes = any(DATASETS[name].has_timeframes for name in self.datasets)
        for flag, values in (
            ("--dataset", self.datasets),
            ("--exchange", self.exchanges),
            ("--symbol", self.symbols),
            ("--timeframe", self.timeframes if has_timeframes else ()),
        ):
            for value in values:
                options += [flag, value]
        return options

    def expected_candles(self) -> list[tuple[str, str, int]]:
        """Return symbol, timeframe and the number of candles that open inside the window."""
        if "ohlcv" not in self.datasets:
            return []
        return [(symbol, frame, grid_count(self.window, frame)) for symbol in self.symbols for frame in self.timeframes]


def backfill_params(settings: Settings) -> dict[str, Param]:
    """Return the trigger form; what its schemas can tell is refused when it is submitted."""
    exchanges = exchange_ids(settings)
    return {
        "symbols": _symbols(["BTC/USDT", "ETH/USDT"], "Symbols", ["array"]),
        "assets": _symbols(None, "Assets", ["null", "array"], description="Another name for symbols; wins over them."),
        "timeframes": _choice(list(TIMEFRAMES), TIMEFRAMES, "Timeframes"),
        "exchanges": _choice(exchanges, exchanges, "Exchanges"),
        "datasets": _choice(list(DATASETS), list(DATASETS), "Datasets"),
        "start": instant_param("Start", "First instant of the window; empty: `days` before its end."),
        "end": instant_param("End", "First instant after the window; empty: the last UTC midnight."),
        "days": Param(
            DEFAULT_DAYS,
            type="integer",
            minimum=1,
            maximum=LONGEST_WINDOW.days,
            title="Days",
            description="Length of the window where start or end is empty.",
        ),
        "mode": Param(
            "backfill", type="string", enum=list(MODES), title="Mode", description="force fetches again what is there."
        ),
        "force": Param(False, type="boolean", title="Force", description="The same as mode = force."),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Show the plan and fetch nothing."),
    }


def backfill_request(params: Mapping[str, Any], *, run_after: datetime) -> BackfillRequest:
    """Return the request of a submitted form; `run_after` is the instant for which the run was asked.

    Raises:
        UsageError: a field does not exist or contradicts another; the text names it.
    """
    unknown = sorted(set(params) - set(_FIELDS))
    if unknown:
        raise UsageError(f"unknown field {', '.join(unknown)}; the form has {', '.join(_FIELDS)}")
    return BackfillRequest(
        symbols=_distinct(params["assets"] or params["symbols"]),
        timeframes=_distinct(params["timeframes"]),
        exchanges=_distinct(params["exchanges"]),
        datasets=_distinct(params["datasets"]),
        window=_window(params, run_after=run_after),
        mode="force" if params["force"] else params["mode"],
        dry_run=bool(params["dry_run"]),
    )


def chunks_of(window: Window) -> list[Window]:
    """Return the window cut at UTC midnights, or at the first of each month where it is longer than 92 days."""
    chunks: list[Window] = []
    start = window.start
    by_month = window.length > MOST_DAY_CHUNKS * DAY
    while start < window.end:
        end = min(_next_month(start) if by_month else floor_instant(start, DAY) + DAY, window.end)
        chunks.append(Window(start, end))
        start = end
    return chunks


_FIELDS = (
    "symbols", "assets", "timeframes", "exchanges", "datasets", "start", "end", "days", "mode", "force", "dry_run",
)  # fmt: skip


def _symbols(default: list[str] | None, title: str, types: list[str], *, description: str = "") -> Param:
    return Param(
        default,
        type=types,
        items={"type": "string", "pattern": _SYMBOL},
        minItems=1,
        maxItems=200,
        title=title,
        description=description or "One a line: BTC/USDT, BTC/USDT:USDT, BTCUSDT, BTC-USDT-PERP.",
    )


def _choice(default: Sequence[str], values: Sequence[str], title: str) -> Param:
    return Param(
        list(default),
        type="array",
        items={"type": "string", "enum": list(values)},
        examples=list(values),
        minItems=1,
        title=title,
        description=f"Some of {', '.join(values)}.",
    )


def _window(params: Mapping[str, Any], *, run_after: datetime) -> Window:
    start, end, length = params["start"], params["end"], timedelta(days=params["days"])
    if start and not end:
        end = format_instant(min(parse_instant(start, what="start") + length, floor_instant(run_after, DAY)))
    elif not start:
        last = parse_instant(end, what="end") if end else floor_instant(run_after, DAY)
        start, end = format_instant(last - length), format_instant(last)
    try:
        return parse_window(start, end)
    except WindowError as error:
        if str(error).startswith(("start", "end")):
            raise
        raise WindowError(f"start, end: {error}") from None


def _next_month(instant: datetime) -> datetime:
    first = floor_instant(instant, DAY).replace(day=1)
    return (first + timedelta(days=32)).replace(day=1)


def _distinct(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
