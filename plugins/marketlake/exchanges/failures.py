"""What a request to an exchange can end in, apart from an answer."""

from __future__ import annotations

from datetime import datetime

from marketlake.errors import DataError, UnavailableError

KEPT_BODY_CHARACTERS = 2048


class RequestFailedError(UnavailableError):
    """No usable answer after all retries: timeouts, resets, 5xx."""


class SourceClosedError(UnavailableError):
    """The source is not asked at all for now: forbidden, banned beyond the deadline, or failing in a row."""


class SourceDisabledError(UnavailableError):
    """The exchange serves nobody from this place (451)."""

    is_retryable = False


class MarketRefusedError(DataError):
    """The exchange refuses this market or these parameters; others may go on."""


class UnreadableBodyError(DataError):
    """A body stayed unreadable after all retries; `body` holds its first 2 kB."""

    def __init__(self, message: str, *, url: str, body: str, received_at: datetime) -> None:
        super().__init__(message)
        self.url = url
        self.body = body[:KEPT_BODY_CHARACTERS]
        self.received_at = received_at
