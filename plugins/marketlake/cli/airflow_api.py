"""Airflow's REST API as the commands need it: a token, a few reads, a backfill. Plain HTTP on this machine."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from marketlake.errors import MarketlakeError, UnavailableError

_TIMEOUT_SECONDS = 30
_UNAUTHORIZED = 401


class AirflowApiError(MarketlakeError):
    """Airflow refused a request; `status` is its HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class AirflowApi:
    """One Airflow web server and a user of it."""

    url: str
    username: str
    password: str
    _token: str = field(default="", repr=False)

    def health(self) -> dict[str, str]:
        """Return each component's state; empty while the server does not answer."""
        try:
            answer = self._send("GET", "/api/v2/monitor/health", None, token="")
        except (UnavailableError, AirflowApiError):
            return {}
        return {name: str((state or {}).get("status")) for name, state in answer.items()}

    def warm_up(self) -> bool:
        """Have the server build what it builds at its first request from a task, which would time out over it."""
        try:
            self._send("GET", "/execution/health", None, token="")
        except (UnavailableError, AirflowApiError):
            return False
        return True

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Return the answer to a read below /api/v2."""
        return self._authorized("GET", f"/api/v2{path}" + (f"?{urlencode(query, doseq=True)}" if query else ""), None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request that makes something."""
        return self._authorized("POST", f"/api/v2{path}", body)

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request that changes something."""
        return self._authorized("PATCH", f"/api/v2{path}", body)

    def is_known(self, dag_id: str) -> bool:
        """Return whether the DAG was read from its file."""
        try:
            self.get(f"/dags/{quote(dag_id)}")
        except AirflowApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _authorized(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        if not self._token:
            self._log_in()
        try:
            return self._send(method, path, body, token=self._token)
        except AirflowApiError as error:
            if error.status != _UNAUTHORIZED:
                raise
        self._log_in()
        return self._send(method, path, body, token=self._token)

    def _log_in(self) -> None:
        user = {"username": self.username, "password": self.password}
        self._token = str(self._send("POST", "/auth/token", user, token="")["access_token"])

    def _send(self, method: str, path: str, body: dict[str, Any] | None, *, token: str) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        # On this machine: a proxy from the environment must not get between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                return dict(json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise AirflowApiError(
                f"Airflow answered {error.code} to {method} {path}: {_detail(text)}", error.code
            ) from None
        except (OSError, ValueError) as error:
            raise UnavailableError(f"Airflow at {self.url} does not answer: {error}") from None


def wait_until(check: Any, *, seconds: float, pause: float = 0.5) -> bool:
    """Return whether `check()` became true within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(pause)
    return bool(check())


def _detail(text: str) -> str:
    try:
        detail = json.loads(text).get("detail", text)
    except (ValueError, AttributeError):
        detail = text
    return detail if isinstance(detail, str) else json.dumps(detail)
