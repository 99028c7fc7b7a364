"""The one JSON form of everything that a command prints: decimals as exact text, instants as ISO text in UTC."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from marketlake.instants import Window, format_instant


def json_text(document: object) -> str:
    """Return the document's JSON on one line.

    Decimals become text with every digit and no trailing zeros, whole decimals of scale 0 numbers; a float that JSON
    has no form for becomes null; a naive timestamp has no Z.
    """
    return json.dumps(plain(document), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Return the value made of JSON's own types only."""
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, Window):
        return {"start": format_instant(value.start), "end": format_instant(value.end)}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value)]
    return _scalar(value)


def decimal_text(value: Decimal) -> str | int | None:
    """Return a decimal's exact text; a whole number of scale 0, such as a large count, as a number; NaN as None."""
    if not value.is_finite():
        return None
    if value.as_tuple().exponent == 0:
        return int(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat() if value.tzinfo is None else format_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path | UUID):
        return str(value)
    return str(value)
