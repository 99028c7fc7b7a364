"""Tests for `spark_jobs.audit.verdicts`: when a market is refused, and when it is only warned of (QUA-14)."""

from __future__ import annotations

import pytest

from marketlake.settings import Quality
from spark_jobs.audit.verdicts import MarketCounts


def counts(received: int, rejected: int) -> MarketCounts:
    return MarketCounts(0, "BTC/USDT", received, rejected, 0, 0, 0, 0, False, None, {}, {})


@pytest.mark.parametrize(
    ("received", "rejected", "is_refused", "is_suspect"),
    [
        pytest.param(1000, 0, False, False, id="none"),
        pytest.param(1000, 9, False, False, id="below one per cent"),
        pytest.param(1000, 10, False, True, id="one per cent"),
        pytest.param(1000, 50, False, True, id="five per cent"),
        pytest.param(1000, 51, True, False, id="above five per cent"),
        pytest.param(100, 6, True, False, id="from a hundred rows on"),
        pytest.param(99, 99, False, True, id="under a hundred rows"),
        pytest.param(0, 0, False, False, id="nothing received"),
    ],
)
def test_the_share_of_rejected_rows_decides(received: int, rejected: int, is_refused: bool, is_suspect: bool) -> None:
    market = counts(received, rejected)

    assert (market.is_refused(Quality()), market.is_suspect(Quality())) == (is_refused, is_suspect)


def test_the_settings_move_the_limits() -> None:
    quality = Quality(warning_share=0.2, refuse_share=0.5, refuse_from_rows=10)

    assert counts(10, 6).is_refused(quality)
    assert counts(10, 2).is_suspect(quality)
    assert not counts(10, 1).is_suspect(quality)
