"""Which market the demo works on: the real exchange where it can be reached, else a sandbox on this machine.

A lake remembers its market, so a later demo stays with it; the sandbox is started again with the same seed.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from marketlake.cli.airflow_files import ROOT
from marketlake.cli.feed import REACH_SECONDS, ensure_feed, forget_feed, read_feed
from marketlake.errors import OtherMarketError, UnavailableError, UsageError
from marketlake.instants import format_instant, parse_instant
from marketlake.settings import Settings

SYNTHETIC = "synthetic:7"
_NO_TRADES = {"MARKETLAKE__EXCHANGES__BINANCE__SYMBOLS__TRADES": "[]"}
RECORDED_CONFIG = ROOT / "config" / "demo-recorded.yaml"
# The recorded files overlap in the days before; the recorded exchange's clock begins here.
RECORDED_CLOCK = parse_instant("2025-01-16T06:00:00Z")


@dataclass(frozen=True)
class DemoMarket:
    """The market: its name as the lake knows it, why it was taken, and the variables that point marketlake at it.

    `url` is a sandbox's address.
    """

    name: str
    why: str
    variables: Mapping[str, str] = field(default_factory=dict)
    now: datetime | None = None
    url: str = ""

    @property
    def is_live(self) -> bool:
        """Whether it is the real exchange."""
        return self.name == "live"


def choose_market(settings: Settings, *, wanted: str, known: str | None) -> DemoMarket:
    """Return the market of the demo, its sandbox running where it is one.

    `wanted` is `auto`, `live`, `synthetic[:<seed>]` or `recorded[:<folder>]`; `known` the market that feeds the lake.

    Raises:
        UsageError: `wanted` is none of these, or the recorded folder is not named.
        OtherMarketError: the lake is fed by another market.
        UnavailableError: the real exchange is wanted and does not answer.
    """
    name, folder = _wanted_name(wanted, known)
    if known is not None and name != known:
        raise OtherMarketError(
            f"this lake holds data of the market {known!r}, so it cannot go on with {name!r}; "
            f"leave the market out, or choose an empty folder in MARKETLAKE_HOME (now {settings.home})"
        )
    if name in ("auto", "live"):
        missing = unreachable(settings)
        if not missing:
            forget_feed(settings.home)
            return DemoMarket("live", "the exchange answers; its millions of trades a day are left out", _NO_TRADES)
        if name == "live":
            raise UnavailableError(
                f"the real exchange is wanted{' because this lake holds its data' if known else ''}, but does not "
                f"answer: {missing}; try again later, or choose an empty folder in MARKETLAKE_HOME for a sandbox"
            )
        return _sandbox(settings, SYNTHETIC, why=f"the real exchange does not answer ({missing})")
    why = "this lake holds its data" if known else "it was asked for"
    return _sandbox(settings, name, why=why, folder=folder)


def unreachable(settings: Settings) -> str:
    """Return which of the exchange's addresses does not answer within three seconds, and how; empty when all do."""
    binance = settings.exchanges["binance"]
    for url in (f"{binance.rest_url}/api/v3/time", f"{binance.futures_rest_url}/fapi/v1/time", binance.archive_url):
        try:
            with urllib.request.urlopen(url, timeout=REACH_SECONDS) as answer:
                body = answer.read(65_536)
                if "/time" in url and "serverTime" not in json.loads(body):
                    return f"{url}: no time in its answer"
        except urllib.error.HTTPError as error:
            if "/time" in url or error.code >= 500:
                return f"{url}: HTTP {error.code}"
        except (OSError, ValueError) as error:
            return f"{url}: {getattr(error, 'reason', None) or error}"
    return ""


def _wanted_name(wanted: str, known: str | None) -> tuple[str, Path | None]:
    kind, _, rest = wanted.partition(":")
    if kind == "auto" and not rest:
        return known or "auto", None
    if kind == "live" and not rest:
        return "live", None
    if kind == "synthetic" and (rest or "7").isdigit():
        return f"synthetic:{rest or 7}", None
    if kind == "recorded":
        return "recorded", Path(rest) if rest else None
    raise UsageError(
        f"the demo's market must be auto, live, synthetic, synthetic:<seed> or recorded:<folder>; was {wanted!r}"
    )


def _sandbox(settings: Settings, name: str, *, why: str, folder: Path | None = None) -> DemoMarket:
    variables = {"MARKETLAKE__CLOCK__SOURCE": "exchange"}
    arguments, now = ["--market", name], None
    if name == "recorded":
        data = _recorded_folder(settings, folder)
        arguments += ["--data", str(data), "--clock", format_instant(RECORDED_CLOCK)]
        variables["CONFIG_FILE"] = str(RECORDED_CONFIG)
        # Its days are long past: nothing of today is to be scheduled.
        variables["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"
        now = RECORDED_CLOCK
    feed = ensure_feed(settings.home, name, arguments, variables)
    return DemoMarket(name, why, feed.environment(), now, feed.url)


def _recorded_folder(settings: Settings, folder: Path | None) -> Path:
    chosen = folder or os.environ.get("MARKETLAKE_TEST_DATA") or _remembered_folder(settings.home)
    if not chosen:
        raise UsageError("the recorded market needs its folder: MARKETLAKE_DEMO_MARKET=recorded:<folder>")
    path = Path(chosen).absolute()
    if not (path / "klines").is_dir():
        raise UsageError(f"{path} holds no recorded market (no folder klines in it)")
    return path


def _remembered_folder(home: Path) -> str | None:
    known = read_feed(home)
    arguments = known.arguments if known else ()
    return next((value for name, value in pairwise(arguments) if name == "--data"), None)


def today(market: DemoMarket) -> datetime:
    """Return the instant up to which the market's days are over."""
    return market.now or datetime.now(UTC)
