"""Tests for ``marketlake.work``."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from marketlake.instants import parse_instant, parse_window
from marketlake.work import Answer, FetchTask, LandedFile, Manifest, Market, manifest_from_json, task_from_json, to_json

NOW = parse_instant("2025-01-03")
MARKET = Market("spot", "BTC/USDT", "BTCUSDT", listed_at=parse_instant("2017-08-17"))
FILE = LandedFile("binance/ohlcv/rest/r/t.jsonl", "ab", 10, "http://x", "/api/v3/klines", NOW, "rest_jsonl")
ANSWER = Answer("t", MARKET, "1m", "rest", parse_window("2025-01-01", "2025-01-02"), "answered", NOW, (FILE,))
MANIFEST = Manifest("r", "binance", "ohlcv", "live", 0.25, NOW, (ANSWER,))


def test_a_manifest_comes_back_from_its_json() -> None:
    assert manifest_from_json(to_json(MANIFEST)) == MANIFEST


def test_a_task_comes_back_from_its_json() -> None:
    task = FetchTask("t", "r", "binance", "ohlcv", MARKET, "1m", "archive", ANSWER.window, archive_path="data/x.zip")
    assert task_from_json(to_json(task)) == task


def test_the_manifest_id_leaves_the_sealing_out_and_all_else_in() -> None:
    assert replace(MANIFEST, sealed_at=NOW).manifest_id == MANIFEST.manifest_id
    assert replace(MANIFEST, kind="force:1").manifest_id != MANIFEST.manifest_id
    assert replace(MANIFEST, answers=()).manifest_id != MANIFEST.manifest_id


def test_the_json_is_canonical() -> None:
    text = to_json(MANIFEST)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="surprise"):
        manifest_from_json({**json.loads(to_json(MANIFEST)), "surprise": 1})
