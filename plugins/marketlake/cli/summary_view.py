"""A run's plan and summary as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from marketlake.cli.output import Output, share, size_text

_MOST_HOLES = 12
_LONG_NAME = 10
_INDICATOR_COLUMNS = (
    "symbol", "timeframe", "open_time", "close", "sma_20", "rsi_14", "macd_line", "atr_14", "adx_14", "market_regime",
)  # fmt: skip
_MART_COLUMNS = (
    "market_date", "symbol", "close", "volume", "simple_return", "realized_volatility", "funding_rate_sum", "coverage",
    "rejected_rows",
)  # fmt: skip


def show_plan(out: Output, plan: Mapping[str, Any]) -> None:
    """Print what a run sets out to fetch."""
    columns = ["dataset", "exchange", "symbol", "timeframe", "source", "tasks", "expected", "requests", "start", "end"]
    out.table("Plan", columns, ([line[name] for name in columns] for line in plan["plan"]))
    unfinished = {name: count for name, count in plan["unfinished"].items() if count}
    if unfinished:
        out.say("Left by earlier runs: " + ", ".join(f"{count} {name}" for name, count in unfinished.items()))
    for note in plan["notes"]:
        out.say(f"Note: {note}")
    if not plan["plan"]:
        out.say("Nothing to fetch: the window is settled.")


def show_summary(out: Output, summary: Mapping[str, Any]) -> None:
    """Print what a run came to."""
    window = summary.get("window")
    where = f" over {window}" if window else ""
    out.say(f"Run {summary['run_id']}{where}: {summary['state']} in {summary['seconds']:.1f} s")
    if summary.get("market"):
        out.say(f"Market: {summary['market']}")
    for damage in summary["damaged"]:
        out.say(f"Damaged: {damage['text']}")
    show_contents(out, summary)
    _show(out, "Seconds per step", ["step", "exchange", "dataset", "seconds"], summary["steps"])


def show_contents(out: Output, summary: Mapping[str, Any]) -> None:
    """Print what is in the lake for the run's markets: rows per layer, coverage, rejected rows, newest values."""
    layers = [{**layer, "size": size_text(layer["bytes"])} for layer in summary["layers"]]
    _show(out, "Rows per layer", ["layer", "table", "rows", "size"], layers)
    columns = ["dataset", "exchange", "symbol", "timeframe", "expected", "loaded", "rejected", "gaps", "coverage"]
    shown = [{**market, "coverage": share(market["coverage"])} for market in summary["markets"]]
    _show(out, "Markets", columns, shown)
    _show_holes(out, summary["markets"])
    if summary["rejected"]:
        out.table("Rejected rows by reason", ["reason", "rows"], summary["rejected"].items())
    else:
        out.say("Rejected rows: none\n")
    _show(out, "Newest indicators", _INDICATOR_COLUMNS, [_short(row) for row in summary["indicators"]])
    _show(out, "gold.mart_market_daily, newest days", _MART_COLUMNS, [_short(row) for row in summary["mart"]])


def _show(out: Output, title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        # A long name on several lines keeps its column narrow.
        heads = [name.replace("_", "\n") if len(name) > _LONG_NAME else name for name in columns]
        out.table(title, heads, ([row.get(name) for name in columns] for row in rows))


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with its instants cut to minutes."""
    return {name: f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value for name, value in row.items()}


def _show_holes(out: Output, markets: Sequence[Mapping[str, Any]]) -> None:
    holes = [(market, hole) for market in markets for hole in market["holes"]]
    if not holes:
        return
    note = f"{len(holes) - _MOST_HOLES:,} more: marketlake gaps" if len(holes) > _MOST_HOLES else ""
    rows = (
        [market["symbol"], market["timeframe"], hole.start, hole.end, hole.missing, hole.state, hole.cause]
        for market, hole in holes[:_MOST_HOLES]
    )
    out.table("Holes", ["symbol", "timeframe", "from", "to", "missing", "state", "cause"], rows, note=note)
