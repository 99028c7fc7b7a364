"""What the exchange lists: one `Listing` for each symbol of the spot and the USD-M market, and the synthetic list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

SPOT, UM = "spot", "um"
VENUES = (SPOT, UM)
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Listing:
    """One symbol of one market; prices are whole multiples of 10^-price_digits, amounts of 10^-amount_digits."""

    venue: str
    symbol: str
    base: str
    quote: str
    price_digits: int
    amount_digits: int
    listed_ms: int
    price_then: float = 1.0
    price_now: float = 1.0
    trades_per_block: int = 24
    trade_value: float = 1000.0
    funding_interval_hours: int = 8

    @property
    def unified(self) -> str:
        """The symbol as ccxt writes it: `BTC/USDT`, the perpetual `BTC/USDT:USDT`."""
        pair = f"{self.base}/{self.quote}"
        return pair if self.venue == SPOT else f"{pair}:{self.quote}"

    @property
    def asset_pair(self) -> str:
        """Base and quote, the name under which spot and perpetual share one price path."""
        return f"{self.base}/{self.quote}"


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


# base, quote, price then (2017), price later (2025), trades per 8 minutes, quote value of a trade,
# spot: (price digits, amount digits, listed), USD-M: the same
_Terms = tuple[int, int, str] | None
_TABLE: tuple[tuple[str, str, float, float, int, float, _Terms, _Terms], ...] = (
    ("BTC", "USDT", 4_000, 60_000, 44, 150_000, (2, 5, "2017-08-17T04:00"), (2, 3, "2019-09-08T16:00")),
    ("ETH", "USDT", 300, 3_000, 40, 60_000, (2, 4, "2017-08-17T04:00"), (2, 3, "2019-11-27T08:00")),
    ("BNB", "USDT", 20, 500, 32, 12_000, (2, 3, "2017-11-06T00:00"), (2, 2, "2020-02-10T08:00")),
    ("SOL", "USDT", 15, 150, 32, 15_000, (2, 3, "2020-08-11T08:00"), (4, 0, "2020-09-14T08:00")),
    ("XRP", "USDT", 0.3, 1.2, 32, 8_000, (4, 1, "2018-05-04T08:00"), (4, 1, "2020-01-06T08:00")),
    ("ADA", "USDT", 0.1, 0.6, 24, 5_000, (4, 1, "2018-04-17T08:00"), (5, 0, "2020-01-31T08:00")),
    ("DOGE", "USDT", 0.003, 0.15, 24, 5_000, (5, 0, "2019-07-05T08:00"), (5, 0, "2020-07-10T08:00")),
    ("LINK", "USDT", 1.0, 15, 24, 4_000, (3, 2, "2019-01-16T08:00"), (3, 2, "2020-01-17T08:00")),
    ("ETH", "BTC", 0.07, 0.05, 24, 0.8, (6, 4, "2017-07-14T04:00"), None),
    ("ADA", "BTC", 0.00001, 0.00002, 16, 0.05, (8, 1, "2017-11-30T08:00"), None),
    ("XRP", "ETH", 0.0008, 0.0004, 12, 0.3, (7, 0, "2017-07-14T08:00"), None),
    ("LRC", "BTC", 0.00004, 0.000006, 12, 0.02, (8, 0, "2017-09-13T08:00"), None),
    ("BLZ", "ETH", 0.0004, 0.00006, 10, 0.2, (8, 0, "2018-07-24T08:00"), None),
    ("NKN", "USDT", 0.02, 0.09, 14, 300, (4, 0, "2019-09-16T08:00"), None),
    ("RUNE", "EUR", 0.8, 4.0, 10, 150, (3, 1, "2021-04-06T08:00"), None),
    ("FIL", "USDT", 20, 5, 24, 4_000, None, (3, 1, "2020-10-16T08:00")),
    ("SUSHI", "USDT", 3, 1, 20, 2_000, None, (4, 0, "2020-09-07T08:00")),
    ("AKRO", "USDT", 0.02, 0.005, 14, 400, None, (5, 0, "2021-01-18T08:00")),
    ("KEEP", "USDT", 0.4, 0.1, 14, 400, None, (4, 0, "2021-06-20T08:00")),
    ("CTK", "USDT", 1.2, 0.5, 14, 400, None, (5, 0, "2020-11-16T08:00")),
)


def synthetic_listings(more_symbols: int) -> dict[str, dict[str, Listing]]:
    """Return venue → symbol → listing of the made-up exchange; `more_symbols` adds S001USDT, S002USDT … to both."""
    rows = list(_TABLE)
    for number in range(1, more_symbols + 1):
        value = round(0.5 * 1.7 ** (number % 12), 4)
        terms = (4, 2, "2020-01-01T00:00")
        rows.append((f"S{number:03d}", "USDT", value, value * 2, 16, 1_000, terms, terms))
    found: dict[str, dict[str, Listing]] = {SPOT: {}, UM: {}}
    for base, quote, then, now, trades, value, *terms_by_venue in rows:
        for venue, offered in zip(VENUES, terms_by_venue, strict=True):
            if offered is not None:
                digits, since = offered[:2], _ms(offered[2])
                listing = Listing(venue, base + quote, base, quote, *digits, since, then, now, trades, value)
                found[venue][listing.symbol] = listing
    return found
