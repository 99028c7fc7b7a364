"""How a fault changes rows: candles, funding events, aggregate trades, as REST sends them and as archives hold them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from marketlake.sandbox.faults import Call, Fault

_MICROSECONDS_FROM = 10**14
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True)
class Layout:
    """Where a row keeps its instants and values; keys of a list or of a dict."""

    instant: Any
    fields: dict[str, Any]
    instants: tuple[Any, ...]

    def instant_ms(self, row: Any) -> int:
        """Return the row's instant in ms, whatever the unit of its text."""
        value = int(row[self.instant])
        return value // 1000 if value >= _MICROSECONDS_FROM else value


KLINES = Layout(0, {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 7}, (0, 6))
FUNDING_REST = Layout("fundingTime", {"funding_rate": "fundingRate"}, ("fundingTime",))
FUNDING_FILE = Layout(0, {"funding_rate": 2}, (0,))
TRADES_REST = Layout("T", {"price": "p", "amount": "q"}, ("T",))
TRADES_FILE = Layout(5, {"price": 1, "amount": 2}, (5,))
# What changes rows of an archive, by the exchange's name of its dataset; others stay as they are.
FILES = {"klines": KLINES, "fundingRate": FUNDING_FILE, "aggTrades": TRADES_FILE}


def change_rows(fault: Fault, call: Call, layout: Layout, rows: list[Any]) -> list[Any]:
    """Return the rows as one fault leaves them; rows it is not about stay as they are."""
    chosen = [fault.selects(call, layout.instant_ms(row)) for row in rows]
    if fault.name == "gaps":
        return [row for row, hit in zip(rows, chosen, strict=True) if not hit]
    if fault.name == "duplicates":
        return [copy for row, hit in zip(rows, chosen, strict=True) for copy in ([row, row] if hit else [row])]
    if fault.name == "disorder":
        backwards = iter([row for row, hit in zip(rows, chosen, strict=True) if hit][::-1])
        return [next(backwards) if hit else row for row, hit in zip(rows, chosen, strict=True)]
    change = {"unreadable_number": _unreadable, "unit_switch": _in_unit}.get(fault.name, _restated)
    return [change(fault, layout, row) if hit else row for row, hit in zip(rows, chosen, strict=True)]


def _unreadable(fault: Fault, layout: Layout, row: Any) -> Any:
    return _with(row, layout.fields.get(fault.values["field"]), fault.values["value"])


def _restated(fault: Fault, layout: Layout, row: Any) -> Any:
    name = fault.values["field"]
    key = layout.fields.get(name)
    if key is None:
        return row
    changed = _with(row, key, _scaled(row[key], fault.values["by_pct"]))
    if name in ("open", "close"):
        high, low = layout.fields["high"], layout.fields["low"]
        if Decimal(changed[key]) > Decimal(changed[high]):
            changed = _with(changed, high, changed[key])
        if Decimal(changed[key]) < Decimal(changed[low]):
            changed = _with(changed, low, changed[key])
    return changed


def _in_unit(fault: Fault, layout: Layout, row: Any) -> Any:
    for key in layout.instants:
        value = int(row[key])
        digits = len(str(value))
        seconds = 10 if digits < 12 else 13 if digits < 15 else 16
        row = _with(row, key, str(value * _UNITS[fault.values["unit"]] // 10 ** (seconds - 10)))
    return row


def _scaled(text: str | None, by_pct: float) -> str | None:
    """The number by so many per cent larger, with as many digits as before; changed by one digit at least."""
    try:
        value = Decimal(text or "")
    except InvalidOperation:
        return text
    unit = Decimal(1).scaleb(int(value.as_tuple().exponent))
    changed = (value * (1 + Decimal(str(by_pct)) / 100)).quantize(unit)
    return format(changed if changed != value else value + unit, "f") if by_pct else text


def _with(row: Any, key: Any, value: Any) -> Any:
    if key is None:
        return row
    changed = row.copy()
    changed[key] = value
    return changed
