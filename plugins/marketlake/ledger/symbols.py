"""From what a user types to the one market that is meant (GEN-04)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from marketlake.datasets import Dataset
from marketlake.errors import UnknownSymbolError
from marketlake.work import Instrument

_SYMBOL = re.compile(r"[A-Za-z0-9]{1,30}([/_-][A-Za-z0-9]{1,30})?(:[A-Za-z0-9]{1,30})?(-[A-Za-z0-9]{1,10})*")
_PERPETUAL = "-PERP"
# Among markets of one name the plain one is meant: BTCUSDT is BTC/USDT, unless the dataset is about perpetuals only.
_PLAINEST_FIRST = ("spot", "perpetual", "future")
_MOST_CANDIDATES = 8


def resolve_symbol(
    text: str, instruments: Sequence[Instrument], dataset: Dataset, aliases: Mapping[str, str]
) -> Instrument:
    """Return the market that `BTC/USDT`, `BTC/USDT:USDT`, `BTCUSDT`, `BTC-USDT` or `BTC-USDT-PERP` means.

    `BTCUSD` means BTC/USD; `aliases` (by what was typed, or by the unified symbol) may point it elsewhere.

    Raises:
        UnknownSymbolError: malformed, unknown, ambiguous, or of a market type that the dataset does not have; the text
            lists the candidates.
    """
    typed = text.strip()
    if not _SYMBOL.fullmatch(typed):
        raise UnknownSymbolError(
            f"symbol {text!r} is not a symbol; write it like BTC/USDT, BTC/USDT:USDT, BTCUSDT or BTC-USDT-PERP"
        )
    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    wanted = _alias(typed.upper(), aliases)
    if wanted in by_symbol:
        return _of_the_dataset(by_symbol[wanted], typed, instruments, dataset)
    named = [item for item in instruments if wanted in _short_names(item, dataset)]
    fitting = [item for item in named if item.market_type in dataset.market_types]
    for market_type in _PLAINEST_FIRST:
        chosen = [item for item in fitting if item.market_type == market_type]
        if len(chosen) == 1:
            return _aliased(chosen[0], by_symbol, dataset, aliases)
        if chosen:
            raise UnknownSymbolError(f"symbol {typed!r} is ambiguous: it may be {_listing(chosen)}; write one of these")
    if named:
        return _of_the_dataset(named[0], typed, instruments, dataset)
    raise UnknownSymbolError(_unknown(typed, instruments, dataset), is_unlisted=True)


def _alias(wanted: str, aliases: Mapping[str, str]) -> str:
    return {key.upper(): value.upper() for key, value in aliases.items()}.get(wanted, wanted)


def _aliased(
    found: Instrument, by_symbol: Mapping[str, Instrument], dataset: Dataset, aliases: Mapping[str, str]
) -> Instrument:
    target = by_symbol.get(_alias(found.symbol, aliases))
    return target if target is not None and target.market_type in dataset.market_types else found


def _short_names(instrument: Instrument, dataset: Dataset) -> set[str]:
    base, quote = instrument.base_asset.upper(), instrument.quote_asset.upper()
    own = {instrument.exchange_symbol.upper()}
    plain = {f"{base}{quote}", f"{base}-{quote}", f"{base}_{quote}"}
    if instrument.market_type == "spot":
        return own | plain
    if instrument.market_type != "perpetual":
        return own
    perpetual = {name + _PERPETUAL for name in own | plain}
    # BTCUSD means the dollar market, not the perpetual beside it, unless only perpetuals can be meant.
    return own | perpetual | (plain if dataset.market_types == ("perpetual",) else set())


def _of_the_dataset(found: Instrument, typed: str, instruments: Sequence[Instrument], dataset: Dataset) -> Instrument:
    if found.market_type in dataset.market_types:
        return found
    same_base = [
        item
        for item in instruments
        if item.base_asset == found.base_asset
        and item.quote_asset == found.quote_asset
        and item.market_type in dataset.market_types
    ]
    advice = f"write {_listing(same_base)}" if same_base else "no market of that pair has them"
    raise UnknownSymbolError(
        f"symbol {typed!r} is {found.symbol}, a {found.market_type} market, and {dataset.name} exist for"
        f" {', '.join(dataset.market_types)} only; {advice}"
    )


def _unknown(typed: str, instruments: Sequence[Instrument], dataset: Dataset) -> str:
    exchanges = ", ".join(sorted({item.exchange for item in instruments})) or "the exchange"
    letters = re.sub(r"[^A-Z0-9]", "", typed.upper().removesuffix(_PERPETUAL).split(":")[0])
    near = [
        item
        for item in instruments
        if item.market_type in dataset.market_types and _looks_like(letters, item.base_asset, item.quote_asset)
    ]
    near.sort(key=lambda item: (item.base_asset + item.quote_asset != letters, len(item.symbol), item.symbol))
    hint = f"; did you mean {_listing(near)}?" if near else "; look at the exchange's list of markets"
    return f"symbol {typed!r} is not listed by {exchanges}{hint}"


def _looks_like(letters: str, base: str, quote: str) -> bool:
    pair = (base + quote).upper()
    if len(letters) >= 4 and sorted(letters) == sorted(pair):
        return True
    return letters.startswith(base.upper()) and (pair.startswith(letters) or letters.startswith(pair[:-1]))


def _listing(instruments: Sequence[Instrument]) -> str:
    names = [item.symbol for item in instruments[:_MOST_CANDIDATES]]
    return ", ".join(names) + (" …" if len(instruments) > _MOST_CANDIDATES else "")
