"""ING-01: the registry of exchanges."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from marketlake.datasets import DATASETS
from marketlake.errors import UnknownExchangeError
from marketlake.exchanges.connections import exchange_settings
from marketlake.exchanges.registry import EXCHANGES, exchange_named
from marketlake.settings import load_settings

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"


def test_an_unknown_exchange_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(UnknownExchangeError, match="exchange must be one of binance; was 'mtgox'"):
        exchange_named("mtgox")


def test_an_exchange_without_settings_is_refused(home: Path) -> None:
    settings = load_settings(environ={"MARKETLAKE_HOME": str(home)}).model_copy(update={"exchanges": {}})

    with pytest.raises(UnknownExchangeError, match=r"no section exchanges\.binance"):
        exchange_settings(settings, "binance")


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_entrys_capabilities_speak_of_known_datasets_and_its_modules_exist(exchange: str) -> None:
    entry = exchange_named(exchange)

    assert set(entry.capabilities.sources) <= set(DATASETS)
    for dataset, sources in entry.capabilities.sources.items():
        assert set(sources) <= set(DATASETS[dataset].sources)
    assert callable(entry.readers.read_rows)
    assert entry.archives is not None
    assert entry.archives.periods("ohlcv") == ("monthly", "daily")


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("marketlake.exchanges.registry", ("httpx", "ccxt", "pyarrow", "psycopg")),
        ("marketlake.exchanges.binance.archive_layout", ("httpx", "ccxt", "pyarrow", "psycopg")),
        ("marketlake.exchanges.binance.readers", ("httpx", "ccxt", "psycopg", "pydantic")),
        ("marketlake.exchanges.binance.client", ("ccxt", "pyarrow")),
        ("marketlake.fetch", ("ccxt", "pyspark")),
    ],
)
def test_a_module_imports_only_what_it_needs(module: str, forbidden: tuple[str, ...]) -> None:
    script = f"import sys; sys.path.insert(0, {str(PLUGINS)!r}); import {module}; print(*sys.modules)"

    imported = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert not set(forbidden) & set(imported)
