"""How far this machine's clock is from the exchange's, and which clock a run follows (design, rule 7; ING-34)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from marketlake.errors import SetupError
from marketlake.exchanges.protocol import ExchangeClient
from marketlake.settings import ClockSettings

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClockReading:
    """`deviation` is local minus exchange; `market` is what feeds the address: `live` or a sandbox's own name."""

    deviation: timedelta
    market: str
    read_at: datetime


def measure_clock(client: ExchangeClient) -> ClockReading:
    """Ask the exchange's clock once; the answer is taken to be from the middle of the request that it answers.

    Raises:
        UnavailableError: the exchange does not answer.
        UnreadableBodyError: what answers gives no time.
    """
    server = client.server_time()
    middle = server.requested_at + (server.received_at - server.requested_at) / 2
    return ClockReading(middle - server.instant, server.market, server.received_at)


def run_offset(reading: ClockReading, settings: ClockSettings) -> timedelta:
    """Return what a run adds to the machine's clock: nothing with `local`, the deviation's opposite with `exchange`.

    Raises:
        SetupError: `clock.source` is `local` and the clocks differ by more than `clock.stop_seconds`.
    """
    if settings.source == "exchange":
        return -reading.deviation
    seconds = reading.deviation.total_seconds()
    if abs(seconds) > settings.stop_seconds:
        raise SetupError(
            f"this machine's clock is {seconds:+.1f} s off the exchange's; more than {settings.stop_seconds:g} s stops "
            f"a run. Synchronise the time (chrony, timedatectl), or set clock.source to exchange to follow the exchange"
        )
    if abs(seconds) > settings.warn_seconds:
        _LOG.warning("this machine's clock is %+.1f s off the exchange's; synchronise the time", seconds)
    return timedelta(0)
