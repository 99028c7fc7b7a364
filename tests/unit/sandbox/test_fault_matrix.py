"""Each fault of rows and files acts on candles, funding rates and trades, on pages and in archives; also together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from marketlake.sandbox import SyntheticMarket
from marketlake.sandbox.archives import parse_path, unzipped
from marketlake.sandbox.disturbed import DisturbedMarket
from marketlake.sandbox.fault_kinds import KINDS
from marketlake.sandbox.faults import Faults
from marketlake.sandbox.listings import SPOT, UM
from marketlake.sandbox.market import ArchivePath, Ask

NOW = 1_738_411_231_457  # 2025-02-01 12:00:31.457
START = 1_736_035_200_000  # 2025-01-05
HOUR, DAY = 3_600_000, 86_400_000
BASE = SyntheticMarket(7)
BTC, PERPETUAL = BASE.listings(SPOT)["BTCUSDT"], BASE.listings(UM)["BTCUSDT"]
ASK = Ask(NOW, START, START + DAY - 1, 1000)


def path_of(text: str) -> ArchivePath:
    path = parse_path(f"data/{text}.zip")
    assert path is not None
    return path


@dataclass(frozen=True)
class Ways:
    """A dataset's page and archive, and the column that a fault changes."""

    page: Callable[[DisturbedMarket], list[Any]]
    path: ArchivePath
    field: str


WAYS = {
    "klines": Ways(lambda market: market.klines(BTC, "1h", ASK),
                   path_of("spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-05"), "close"),
    "fundingRate": Ways(lambda market: market.funding(PERPETUAL, ASK),
                        path_of("futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01"), "funding_rate"),
    "aggTrades": Ways(lambda market: market.agg_trades(BTC, ASK),
                      path_of("spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-05"), "price"),
}  # fmt: skip
NOON = {"start": "2025-01-05", "end": "2025-01-05T12:00:00Z"}
ON_BOTH: dict[str, dict[str, Any]] = {
    "gaps": NOON,
    "duplicates": {},
    "disorder": {},
    "restated_candle": {"by_pct": 5.0, **NOON},
    "unreadable_number": NOON,
    "delisting": {"at": "2025-01-05T02:00:00Z"},
}
ON_PAGES: dict[str, dict[str, Any]] = {"page_overlap": {"rows": 2}, "silence": {}}
ON_FILES: dict[str, dict[str, Any]] = {
    "wrong_checksum": {},
    "damaged_zip": {},
    "archive_reissued": NOON,
    "unit_switch": {"unit": "s"},
}


def disturbed(name: str, of: str, parameters: dict[str, Any]) -> DisturbedMarket:
    market = DisturbedMarket(BASE, Faults())
    field = {"field": WAYS[of].field} if any(one.name == "field" for one in KINDS[name].parameters) else {}
    market.faults.add(name, **{"endpoint": of, **field, **parameters})
    return market


def in_the_archive(market: DisturbedMarket, path: ArchivePath) -> tuple[bytes | None, bytes]:
    return market.archive(path), market.checksum(path, BASE.archive(path) or b"")


@pytest.mark.parametrize("of", WAYS)
@pytest.mark.parametrize("name", [*ON_BOTH, *ON_PAGES])
def test_a_fault_of_rows_changes_a_page(name: str, of: str) -> None:
    market = disturbed(name, of, {**ON_BOTH, **ON_PAGES}[name])

    assert WAYS[of].page(market) != WAYS[of].page(DisturbedMarket(BASE, Faults()))


@pytest.mark.parametrize("of", WAYS)
@pytest.mark.parametrize("name", [*ON_BOTH, *ON_FILES])
def test_a_fault_changes_an_archive_or_what_is_said_of_it(name: str, of: str) -> None:
    market = disturbed(name, of, {**ON_BOTH, **ON_FILES}[name])

    path = WAYS[of].path
    assert in_the_archive(market, path) != in_the_archive(DisturbedMarket(BASE, Faults()), path)


@pytest.mark.parametrize(("of", "instant"), [("klines", 0), ("fundingRate", "fundingTime"), ("aggTrades", "a")])
def test_an_overlapping_page_begins_with_the_rows_just_before_its_start(of: str, instant: Any) -> None:
    page = WAYS[of].page(DisturbedMarket(BASE, Faults()))
    overlapping = WAYS[of].page(disturbed("page_overlap", of, {"rows": 2}))

    assert overlapping[2:] == page
    before = [row[instant] for row in overlapping[:2]]
    assert before == sorted(before)
    assert before[-1] < page[0][instant]


@pytest.mark.parametrize("of", ["klines", "aggTrades"])
def test_another_funding_interval_leaves_candles_and_trades_alone(of: str) -> None:
    market = DisturbedMarket(BASE, Faults())
    market.faults.add("funding_interval_change", at="2025-01-05", hours=1)

    assert in_the_archive(market, WAYS[of].path) == in_the_archive(DisturbedMarket(BASE, Faults()), WAYS[of].path)
    assert WAYS[of].page(market) == WAYS[of].page(DisturbedMarket(BASE, Faults()))


def test_two_faults_act_on_one_answer() -> None:
    market = disturbed("duplicates", "aggTrades", {})
    market.faults.add("restated_candle", endpoint="aggTrades", field="price", by_pct=5.0, **NOON)
    plain = BASE.agg_trades(BTC, ASK)

    both = market.agg_trades(BTC, ASK)

    assert [row["a"] for row in both] == [row["a"] for row in plain for _ in range(2)]
    assert both[0]["p"] != plain[0]["p"]
    content = market.archive(WAYS["aggTrades"].path)
    assert content is not None
    ids = [row[0] for row in unzipped(content)[1]]
    assert ids[::2] == ids[1::2]


def test_every_fault_of_rows_and_files_is_tried_here_or_is_of_candles_alone() -> None:
    known = {name for name, kind in KINDS.items() if kind.acts_on in ("rows", "files")}
    assert known - {*ON_BOTH, *ON_PAGES, *ON_FILES} == {"open_candle", "missing_archive"}
