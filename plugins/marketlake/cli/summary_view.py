"""A run's plan and summary as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marketlake.cli.output import Output, share, size_text

_MOST_HOLES = 12


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
    layers = [{**layer, "size": size_text(layer["bytes"])} for layer in summary["layers"]]
    _show(out, "Rows per layer", ["layer", "table", "rows", "size"], layers)
    columns = ["dataset", "exchange", "symbol", "timeframe", "expected", "loaded", "rejected", "gaps", "coverage"]
    shown = [{**market, "coverage": share(market["coverage"])} for market in summary["markets"]]
    _show(out, "Markets", columns, shown)
    _show_holes(out, summary["markets"])
    if summary["rejected"]:
        out.table("Rejected rows by reason", ["reason", "rows"], summary["rejected"].items())
    _show(out, "Newest indicators", None, summary["indicators"])
    _show(out, "gold.mart_market_daily, newest days", None, summary["mart"])
    _show(out, "Seconds per step", ["step", "exchange", "dataset", "seconds"], summary["steps"])


def _show(out: Output, title: str, columns: Sequence[str] | None, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        names = list(rows[0]) if columns is None else list(columns)
        out.table(title, names, ([row.get(name) for name in names] for row in rows))


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
