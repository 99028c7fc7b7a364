"""The types that settings are made of, beside plain numbers and texts: each refuses what could not work later."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from marketlake.errors import MarketlakeError
from marketlake.instants import parse_instant
from marketlake.timeframes import check_timeframe, timeframe_length

_HTTP_EXAMPLE = "https://api.example.com"
_HOST = re.compile(r"[A-Za-z0-9_.:-]+")


class Section(BaseModel):
    """A frozen part of the settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        # A variable that is set to nothing, as compose files do, is no value where a key may have none.
        may_be_unset = info.field_name in cls.model_fields and cls.model_fields[info.field_name].default is None
        return None if value == "" and may_be_unset else value


def _address(*schemes: str, example: str, or_empty: bool = False) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not _is_address(text, schemes) and not (or_empty and not text):
            raise ValueError(f"must be an address like {example}")
        return text

    return check


def _is_address(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # an unclosed bracket, a port that is no number
        return False
    return parts.scheme in schemes and bool(host and _HOST.fullmatch(host)) and not re.search(r"\s", text)


def _readable(read: Callable[[str], object]) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            read(text)
        except MarketlakeError as error:
            raise ValueError(str(error)) from None
        return text

    return check


def _iso(value: object) -> object:
    # YAML reads 2017-08-17 without quotes as a date.
    return value.isoformat() if isinstance(value, date | datetime) else value


Fraction = Annotated[float, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
HttpAddress = Annotated[str, AfterValidator(_address("http", "https", example=_HTTP_EXAMPLE))]
OptionalHttpAddress = Annotated[str, AfterValidator(_address("http", "https", example=_HTTP_EXAMPLE, or_empty=True))]
OptionalStreamAddress = Annotated[
    str, AfterValidator(_address("ws", "wss", example="wss://stream.example.com", or_empty=True))
]
Timeframe = Annotated[str, AfterValidator(_readable(check_timeframe))]
Length = Annotated[str, AfterValidator(_readable(timeframe_length))]
InstantText = Annotated[str, BeforeValidator(_iso), AfterValidator(_readable(parse_instant))]
LowerCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
