"""The faults by name: what each does, and the parameters it takes. Every fault takes the selectors as well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketlake.errors import UnknownNameError, UsageError, one_of
from marketlake.instants import parse_instant, to_epoch_ms
from marketlake.sandbox.listings import SPOT, UM, VENUES

REST, ARCHIVE = "rest", "archive"
_FIELDS = ("open", "high", "low", "close", "volume", "quote_volume", "funding_rate", "price", "amount")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a fault: its kind decides how a value is read."""

    name: str
    kind: str
    doc: str
    default: Any = None
    choices: tuple[str, ...] = ()
    least: float = 0
    most: float = 1e12
    is_required: bool = False


@dataclass(frozen=True)
class FaultKind:
    """A fault by name; `acts_on` is `calls` (whole answers), `rows`, `files` (archives) or `market`."""

    name: str
    acts_on: str
    doc: str
    parameters: tuple[Parameter, ...] = ()
    needs_selection: bool = False


_SELECTORS = (
    Parameter("market", "choice", "only this market", choices=VENUES),
    Parameter("symbol", "symbol", "only this symbol: BTCUSDT, or BTC/USDT for spot, BTC/USDT:USDT for the perpetual"),
    Parameter("timeframe", "text", "only this candle interval"),
    Parameter("endpoint", "text", "only this endpoint (klines), archive dataset, or paths beginning with /…"),
    Parameter("start", "instant", "only data from here on"),
    Parameter("end", "instant", "only data before here"),
    Parameter("times", "int", "how many answers it changes before it is spent", least=1),
    Parameter("after", "int", "how many answers it lets pass first", default=0),
    Parameter("probability", "float", "the share of rows, or of answers, that it hits", default=1.0, most=1.0),
    Parameter("seed", "int", "decides which those are", default=0),
)
_SOURCE = Parameter("source", "choice", "where the rows are wrong", "both", ("both", REST, ARCHIVE))
_FIELD = Parameter("field", "choice", "the column", "close", _FIELDS)
_BY = Parameter("by_pct", "float", "by how many per cent the value changes", 0.1, least=-99.0, most=1000.0)
_AT = Parameter("at", "instant", "from when on", is_required=True)
_KEPT = Parameter("keep_pct", "float", "how much of the bytes is sent", 50.0, most=99.0)

_KINDS = (
    FaultKind("gaps", "rows", "rows are missing", (_SOURCE,), needs_selection=True),
    FaultKind("duplicates", "rows", "rows come twice", (_SOURCE,)),
    FaultKind("disorder", "rows", "rows come in reverse order", (_SOURCE,)),
    FaultKind("restated_candle", "rows", "a value differs from what it was", (_FIELD, _BY, _SOURCE),
              needs_selection=True),
    FaultKind("open_candle", "rows", "the open candle ends every page, also one that should end before it"),
    FaultKind(
        "unreadable_number", "rows", "a number is not one",
        (_FIELD, Parameter("value", "text", "what stands there instead", "n/a"), _SOURCE), needs_selection=True,
    ),
    FaultKind("page_overlap", "rows", "a page begins before its start",
              (Parameter("rows", "int", "by how many rows", 5, least=1),)),
    FaultKind("silence", "rows", "a page is empty though there is data"),
    FaultKind("wrong_checksum", "files", "the CHECKSUM file names another digest"),
    FaultKind(
        "damaged_zip", "files", "the zip is cut off",
        (_KEPT, Parameter("checksum", "choice", "the CHECKSUM file fits the damaged or the original zip", "damaged",
                          ("damaged", "original"))),
    ),
    FaultKind("missing_archive", "files", "an archive that should be there is not"),
    FaultKind("archive_reissued", "files", "an archive was published again with another value", (_FIELD, _BY)),
    FaultKind("unit_switch", "files", "an archive's times are in another unit",
              (Parameter("unit", "choice", "the unit", "s", ("s", "ms", "us")),)),
    FaultKind("clock_skew", "market", "the time endpoint is wrong",
              (Parameter("seconds", "float", "by how much it is ahead", 60.0, least=-1e9),)),
    FaultKind("delisting", "market", "a symbol trades no more", (_AT,)),
    FaultKind("funding_interval_change", "market", "a perpetual pays at another interval",
              (_AT, Parameter("hours", "int", "the new interval", 4, least=1, most=24))),
    FaultKind("too_many_requests", "calls", "429 with Retry-After",
              (Parameter("retry_after", "int", "seconds to wait", 5),)),
    FaultKind("banned", "calls", "418 with the instant until which the address is banned",
              (Parameter("seconds", "int", "how long", 120),)),
    FaultKind("forbidden", "calls", "403 with an HTML page",
              (Parameter("page", "choice", "whose page", "plain", ("plain", "cloudfront")),)),
    FaultKind("restricted", "calls", "451, not from this country"),
    FaultKind("unavailable", "calls", "a 5xx answer",
              (Parameter("status", "int", "which", 503, least=500, most=599),)),
    FaultKind("reset", "calls", "the connection is cut",
              (Parameter("after_bytes", "int", "after so much of the body", 0),)),
    FaultKind("slow", "calls", "the answer takes its time",
              (Parameter("seconds", "float", "how long", 2.0, most=3600),)),
    FaultKind("truncated_body", "calls", "the body ends early though the answer looks complete", (_KEPT,)),
    FaultKind("html_ok", "calls", "an HTML page with status 200"),
)  # fmt: skip
KINDS: Mapping[str, FaultKind] = {kind.name: kind for kind in _KINDS}


def kind_named(name: str) -> FaultKind:
    """Return the kind of a fault.

    Raises:
        UnknownNameError: no such fault; the text lists the known ones.
    """
    if name not in KINDS:
        raise UnknownNameError(one_of("fault", name, KINDS))
    return KINDS[name]


def read_parameters(kind: FaultKind, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter's value, defaults included; instants in ms.

    Raises:
        UsageError: a parameter is unknown, missing or out of range.
    """
    known = {one.name: one for one in (*_SELECTORS, *kind.parameters)}
    for name in given:
        if name not in known:
            raise UsageError(one_of(f"parameter of fault {kind.name}", name, known))
    values = {name: _value(kind, one, given.get(name)) for name, one in known.items()}
    _unify_symbol(values)
    selection = (values["start"], values["end"], None if values["probability"] >= 1 else values["probability"])
    if kind.needs_selection and selection == (None, None, None):
        raise UsageError(f"fault {kind.name} needs start and end, or a probability below 1: else it hits every row")
    if values["start"] is not None and values["end"] is not None and values["start"] >= values["end"]:
        raise UsageError(f"fault {kind.name}: start must be before end")
    return values


def _value(kind: FaultKind, parameter: Parameter, given: Any) -> Any:
    what = f"parameter {parameter.name} of fault {kind.name}"
    if given is None:
        if parameter.is_required:
            raise UsageError(f"{what} is needed: {parameter.doc}")
        return parameter.default
    if parameter.kind == "instant":
        return to_epoch_ms(given if hasattr(given, "tzinfo") else parse_instant(str(given), what=what))
    if parameter.kind in ("int", "float"):
        return _number(what, parameter, given)
    text = str(given)
    if parameter.choices and text not in parameter.choices:
        raise UsageError(one_of(what, text, parameter.choices))
    return text


def _number(what: str, parameter: Parameter, given: Any) -> float:
    try:
        number = int(given) if parameter.kind == "int" else float(given)
    except (TypeError, ValueError):
        raise UsageError(f"{what} must be a number; was {given!r}") from None
    if not math.isfinite(number) or not parameter.least <= number <= parameter.most:
        raise UsageError(f"{what} must be from {parameter.least:g} to {parameter.most:g}; was {given!r}")
    return number


def _unify_symbol(values: dict[str, Any]) -> None:
    """Turn BTC/USDT into spot's BTCUSDT and BTC/USDT:USDT into the perpetual's."""
    symbol = values["symbol"]
    if symbol is None or "/" not in symbol:
        return
    venue = UM if ":" in symbol else SPOT
    if values["market"] not in (None, venue):
        raise UsageError(f"symbol {symbol!r} is of market {venue}; market was {values['market']!r}")
    values["symbol"], values["market"] = symbol.split(":")[0].replace("/", ""), venue


def registry() -> list[dict[str, Any]]:
    """Return every fault with its parameters, for people."""
    return [
        {
            "name": kind.name,
            "doc": kind.doc,
            "acts_on": kind.acts_on,
            "parameters": {one.name: one.doc for one in (*kind.parameters, *_SELECTORS)},
        }
        for kind in _KINDS
    ]
