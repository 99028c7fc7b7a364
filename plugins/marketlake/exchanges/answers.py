"""The one table of answers: what an HTTP status and body mean, and what is done about it (ING-29)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum

from marketlake.instants import from_epoch_ms

FORBIDDEN_PAUSE = timedelta(minutes=5)
DEFAULT_PAUSE = timedelta(minutes=1)  # a limit without a stated end: limits are counted by the minute
_TOO_MANY_REQUESTS = -1003
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class Action(Enum):
    """What to do with an answer."""

    ACCEPT = "use the body"
    RETRY = "ask again after a pause, five times"
    FAIL_MARKET = "no retry; this market fails, the others go on"
    ABSENT = "there is no such file"
    CLOSE_SOURCE = "no call to this source for five minutes"
    STOP_CALLS = "no call to this exchange until the stated instant, then go on"
    DISABLE_SOURCE = "no retry; the source is disabled"


@dataclass(frozen=True)
class AnswerRule:
    """One line of the table: the statuses from `first` to `last` and what they lead to."""

    first: int
    last: int
    action: Action


# The first line that fits decides. A body with code -1003 means STOP_CALLS whatever its status.
ANSWER_RULES = (
    AnswerRule(200, 299, Action.ACCEPT),
    AnswerRule(403, 403, Action.CLOSE_SOURCE),
    AnswerRule(408, 408, Action.RETRY),
    AnswerRule(418, 418, Action.STOP_CALLS),
    AnswerRule(429, 429, Action.STOP_CALLS),
    AnswerRule(451, 451, Action.DISABLE_SOURCE),
    AnswerRule(400, 499, Action.FAIL_MARKET),
    AnswerRule(500, 599, Action.RETRY),
)


@dataclass(frozen=True)
class Verdict:
    """The action, how long calls stop from now on, and the answer in short."""

    action: Action
    pause: timedelta
    summary: str


def judge(status: int, headers: Mapping[str, str], body: str, *, now: datetime, is_file: bool = False) -> Verdict:
    """Return what an answer leads to; for a file, 404 means that it does not exist.

    `now` is the exchange's time, UTC: a ban's end is stated on the exchange's clock.
    """
    code, message = _code_and_message(body)
    summary = f"HTTP {status}" + (f", code {code}" if code is not None else "") + f": {message}"
    if is_file and status == 404:
        return Verdict(Action.ABSENT, timedelta(0), summary)
    action = next((rule.action for rule in ANSWER_RULES if rule.first <= status <= rule.last), Action.RETRY)
    if code == _TOO_MANY_REQUESTS and status >= 400:
        action = Action.STOP_CALLS
    if action is Action.STOP_CALLS:
        return Verdict(action, _pause(headers, message, now), summary)
    return Verdict(action, FORBIDDEN_PAUSE if action is Action.CLOSE_SOURCE else timedelta(0), summary)


def _code_and_message(body: str) -> tuple[int | None, str]:
    try:
        tree = json.loads(body)
    except ValueError:
        return None, " ".join(re.sub(r"<[^>]*>", " ", body).split())[:200] or "empty body"
    if isinstance(tree, dict) and isinstance(tree.get("code"), int):
        return tree["code"], str(tree.get("msg", ""))[:300]
    return None, body[:200]


def _pause(headers: Mapping[str, str], message: str, now: datetime) -> timedelta:
    stated = []
    if banned := _BANNED_UNTIL.search(message):
        stated.append(from_epoch_ms(int(banned[1])) - now)
    if retry_after := headers.get("retry-after"):
        stated.append(_retry_after(retry_after, now))
    return max([timedelta(0), *stated]) if stated else DEFAULT_PAUSE


def _retry_after(text: str, now: datetime) -> timedelta:
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        pass
    try:
        return parsedate_to_datetime(text) - now
    except (ValueError, TypeError):
        return DEFAULT_PAUSE
