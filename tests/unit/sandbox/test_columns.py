"""Columns by their buffers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from marketlake.sandbox.columns import chosen, integer_texts, integers, joined, numbers, repeated, text

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"


def test_integers_go_there_and_back() -> None:
    values = np.array([1, -(2**62), 0])
    column = pa.chunked_array([integers(values), integers(values)[1:]])
    assert integers(values).to_pylist() == values.tolist()
    assert numbers(column).tolist() == [1, -(2**62), 0, -(2**62), 0]
    assert numbers(pa.chunked_array([], pa.int64())).tolist() == []


def test_a_part_of_an_array_is_itself() -> None:
    assert integers(np.arange(10)[::3]).to_pylist() == [0, 3, 6, 9]


def test_texts_of_integers_and_of_flags() -> None:
    assert integer_texts(np.array([-5, 7])).to_pylist() == ["-5", "7"]
    assert chosen(np.array([True, False]), "no", "yes").to_pylist() == ["yes", "no"]


def test_texts_are_repeated_and_joined() -> None:
    assert text("é").as_py() == "é"
    assert joined([repeated("a", 2), integer_texts(np.array([1, 2]))], "-").to_pylist() == ["a-1", "a-2"]


def test_a_market_needs_no_pandas() -> None:
    program = (
        "import sys\nfrom marketlake.sandbox import SyntheticMarket\nfrom marketlake.sandbox.market import Ask\n"
        "from marketlake.sandbox.archives import parse_path\nm = SyntheticMarket(7); l = m.listings('um')['BTCUSDT']\n"
        "now = 1738411231457\nm.klines(l, '1h', Ask(now)), m.funding(l, Ask(now)), m.trades(l, Ask(now))\n"
        "m.archive(parse_path('data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-05.zip'))\n"
        "print('pandas' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(PLUGINS)}
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.strip() == "False"
