"""ING-29: each recorded error leads to its action."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from marketlake.exchanges.answers import Action, judge
from marketlake.instants import from_epoch_ms, parse_instant

NOW = parse_instant("2025-02-20T12:00:00Z")
ACTIONS = {
    "binance-spot_400_agg_trades_bogus.json": (400, Action.FAIL_MARKET),
    "binance-spot_400_avg_price_bogus.json": (400, Action.FAIL_MARKET),
    "binance-spot_400_depth_2.json": (400, Action.FAIL_MARKET),
    "binance-spot_400_klines_bogus_2.json": (400, Action.FAIL_MARKET),
    "binance-spot_400_trades_2.json": (400, Action.FAIL_MARKET),
    "binance-um_403_forbidden.html": (403, Action.CLOSE_SOURCE),
    "binance_403_cloudfront.html": (403, Action.CLOSE_SOURCE),
    "binance_418_ip_banned.json": (418, Action.STOP_CALLS),
    "binance_418_ip_banned_2018.json": (418, Action.STOP_CALLS),
    "binance_429_request_weight.json": (429, Action.STOP_CALLS),
    "binance_429_sapi.json": (429, Action.STOP_CALLS),
    "binance_429_too_many_requests_2018.json": (429, Action.STOP_CALLS),
    "binance_451_restricted_location.json": (451, Action.DISABLE_SOURCE),
    "binance_503_internal_error.json": (503, Action.RETRY),
}


def test_each_recorded_error_leads_to_its_action(recorded_data: Path) -> None:
    files = {path.name: path for path in (recorded_data / "rest" / "errors").iterdir()}
    assert set(files) == set(ACTIONS)

    judged = {name: judge(status, {}, files[name].read_text(), now=NOW).action for name, (status, _) in ACTIONS.items()}

    assert judged == {name: action for name, (_, action) in ACTIONS.items()}


def test_a_recorded_ban_lasts_until_the_instant_in_its_message(recorded_data: Path) -> None:
    body = (recorded_data / "rest" / "errors" / "binance_418_ip_banned.json").read_text()
    before = from_epoch_ms(1660090423228) - timedelta(seconds=90)

    assert judge(418, {}, body, now=before).pause == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("status", "headers", "body", "action"),
    [
        (200, {}, "[]", Action.ACCEPT),
        (400, {}, '{"code":-1003,"msg":"Too many requests."}', Action.STOP_CALLS),
        (401, {}, "", Action.FAIL_MARKET),
        (404, {}, "", Action.FAIL_MARKET),
        (408, {}, "", Action.RETRY),
        (302, {}, "", Action.RETRY),
        (500, {}, "<html>", Action.RETRY),
        (502, {}, "", Action.RETRY),
    ],
)
def test_an_answer_leads_to_its_action(status: int, headers: dict[str, str], body: str, action: Action) -> None:
    assert judge(status, headers, body, now=NOW).action is action


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7), ("0.5", 0.5), ("Thu, 20 Feb 2025 12:00:30 GMT", 30), ("soon", 60), ("", 60)],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(retry_after: str, seconds: float) -> None:
    assert judge(429, {"retry-after": retry_after}, "", now=NOW).pause == timedelta(seconds=seconds)


def test_a_missing_file_is_absent_and_a_missing_endpoint_is_not() -> None:
    assert judge(404, {}, "<Error>NoSuchKey</Error>", now=NOW, is_file=True).action is Action.ABSENT


def test_an_html_page_is_summed_up_without_its_tags() -> None:
    assert judge(403, {}, "<html><h1>403</h1> Forbidden</html>", now=NOW).summary == "HTTP 403: 403 Forbidden"
