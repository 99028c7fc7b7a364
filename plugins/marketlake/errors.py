"""The errors that marketlake raises on purpose.

Each names the thing, the value, what was expected and, where it is known, what to do next. A `UsageError` is the
caller's mistake (exit code 2, never retried); any other `MarketlakeError` is a failure (exit code 1).
"""

from __future__ import annotations

from collections.abc import Iterable


class MarketlakeError(Exception):
    """Something failed that a person can act on; its text is complete without a traceback."""

    exit_code = 1
    is_retryable = True


class UsageError(MarketlakeError):
    """The request itself is wrong: repeating it unchanged cannot succeed."""

    exit_code = 2
    is_retryable = False


class ConfigError(UsageError):
    """The settings do not validate; the text lists every problem at once."""


class UnknownNameError(UsageError):
    """A name is not in the registry that it must come from."""


class UnknownExchangeError(UnknownNameError):
    """No client is registered under this exchange id."""


class UnknownSymbolError(UnknownNameError):
    """The symbol is not listed by the exchange, or fits several markets; `is_unlisted`: a newer list may have it."""

    def __init__(self, message: str, *, is_unlisted: bool = False) -> None:
        super().__init__(message)
        self.is_unlisted = is_unlisted


class WindowError(UsageError):
    """A window's bounds are unreadable, reversed or out of range."""


class OtherMarketError(UsageError):
    """The lake is fed by another market than the one that answers now."""


class UnavailableError(MarketlakeError):
    """A service that a step needs does not answer: an exchange, the storage, the database."""


class DataError(MarketlakeError):
    """What was received or stored contradicts itself: a checksum, a schema, a damaged file."""

    is_retryable = False


class QualityError(MarketlakeError):
    """A critical expectation failed or a market was refused; clear the named task after mending the cause."""

    is_retryable = False


class SetupError(MarketlakeError):
    """The machine lacks something: Java, a package, disk space, a free port."""

    is_retryable = False


def closed_source(source: str, seconds: float, reason: str) -> str:
    """Return the sentence for a source that refused us and is left alone for a while."""
    return f"{source} is not asked for {seconds:.0f} s more, run it again after that; last answer: {reason}"


def one_of(what: str, value: object, known: Iterable[str]) -> str:
    """Return the sentence for a value outside its list: `timeframe must be one of 1m, 5m; was '60'`."""
    return f"{what} must be one of {', '.join(known)}; was {value!r}"
