"""The four tasks of a build over a real warehouse: who lost a build does it again, and all of it again on request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from marketlake.errors import QualityError
from marketlake.ledger import Run, create_run, newest_build_of, open_build
from marketlake.pipeline.building import build
from marketlake.publish.dbt import dbt_marts, dbt_staging, dbt_test, merge_gold
from tests.dbt.warehouse import Warehouse, random_candles, utc

START, DAY = utc("2025-01-01"), timedelta(days=1)
SYMBOL, PERPETUAL = "BTC/USDT", "BTC/USDT:USDT"


@pytest.fixture(scope="module")
def published(warehouse: Warehouse) -> Warehouse:
    """Two published days that nobody built, and two runs."""
    warehouse.put(SYMBOL, "1m", random_candles(START, "1m", 2 * 1440, seed=1))
    warehouse.put_funding(PERPETUAL, [(START + n * DAY / 3, Decimal("0.0001") * n) for n in range(6)])
    warehouse.publish(SYMBOL, "1m", START, START + 2 * DAY)
    warehouse.publish(PERPETUAL, "", START, START + 2 * DAY, dataset="funding_rates")
    for run_id in ("a", "b"):
        create_run(warehouse.connection, Run(run_id, "cli", None, "incremental", {}, datetime.now(UTC)))
    return warehouse


def gold(warehouse: Warehouse) -> list[dict[str, object]]:
    return warehouse.rows("select * from gold.mart_market_daily order by market_date, symbol")


def test_a_failing_test_closes_the_build_and_stands_on_the_page_of_tests(published: Warehouse) -> None:
    connection, settings = published.connection, published.settings
    connection.execute("update bronze.ohlcv set high = low - 1 where open_time = '2025-01-02T00:30Z'")
    dbt_staging(connection, settings, run_id="a")
    dbt_marts(connection, settings, run_id="a")
    with pytest.raises(QualityError, match="follows_row_rules_market_data_ohlcv"):
        dbt_test(connection, settings, run_id="a")
    closed = newest_build_of(connection, "a")
    assert closed is not None
    assert closed.state == "failed"
    page = (settings.home / "docs" / "dbt" / "tests.html").read_text()
    failing, passing = (
        page.index("<td>follows_row_rules_market_data_ohlcv</td><td>fail</td><td>1</td>"),
        "<td>pass</td>",
    )
    assert failing < page.index(passing)
    connection.execute("update bronze.ohlcv set high = greatest(open, close) where open_time = '2025-01-02T00:30Z'")
    published.publish(SYMBOL, "1m", START, START + 2 * DAY)


def test_the_last_task_of_a_run_whose_build_failed_builds_all_itself_where_nobody_does(published: Warehouse) -> None:
    connection, settings = published.connection, published.settings
    assert open_build(connection, "b") is not None
    connection.execute("update ops.builds set heartbeat_at = heartbeat_at - interval '61 seconds' where run_id = 'b'")
    merged = merge_gold(connection, settings, run_id="a")
    assert merged["mart_market_daily_rows_written"] == 4
    other = newest_build_of(connection, "b")
    assert other is not None
    assert other.state == "taken_over"
    page = (settings.home / "docs" / "dbt" / "tests.html").read_text()
    assert "<td>fail</td>" not in page


def test_a_full_refresh_builds_again_what_is_built(published: Warehouse) -> None:
    before = gold(published)
    assert build(published.settings, published.connection, run_id="c")["is_built"] is False
    again = build(published.settings, published.connection, run_id="d", is_full_refresh=True)
    assert again["is_built"] is True
    assert again["results"]["merge_gold"]["mart_market_daily_rows_written"] == 0
    assert gold(published) == before
    assert published.rows("select 1 from silver.klines_1m limit 1")
