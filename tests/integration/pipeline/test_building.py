"""A build by hand is a run of its own, and ends as one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from marketlake import ledger
from marketlake.errors import DataError
from marketlake.instants import parse_window
from marketlake.ledger import Change, LoadRecord
from marketlake.pipeline.building import build
from marketlake.settings import load_settings


def test_a_build_whose_step_raises_ends_as_failed(postgres):
    settings = load_settings()
    log = Path(settings.lake_root, "bronze", "ohlcv", "_delta_log")
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("not a log")
    change = Change("ohlcv", "binance", "BTC/USDT", "1h", parse_window("2025-03-03", "2025-03-04"))
    load = LoadRecord("l", "bronze.ohlcv", "ohlcv", "binance", None, "r", changes=(change,),
                      known_at=datetime(2025, 3, 5, tzinfo=UTC))  # fmt: skip
    with ledger.connect(settings) as connection:
        ledger.record_load(connection, load)

        with pytest.raises(DataError, match="were not published"):
            build(settings, connection, run_id="by_hand")

        assert ledger.run_named(connection, "by_hand").state == "failed"


def test_a_build_of_nothing_succeeds(postgres):
    settings = load_settings()
    with ledger.connect(settings) as connection:
        assert build(settings, connection, run_id="idle")["is_built"] is False
        assert ledger.run_named(connection, "idle").state == "succeeded"
