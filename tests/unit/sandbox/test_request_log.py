"""The log of requests."""

from marketlake.sandbox.request_log import LoggedRequest, RequestLog


def entry(path: str) -> LoggedRequest:
    return LoggedRequest("2025-02-01T00:00:00Z", "GET", path, "limit=1", 200, 2, 17, ("slow",))


def test_requests_are_kept_in_order_and_found_by_prefix() -> None:
    log = RequestLog()
    for path in ("/api/v3/klines", "/fapi/v1/klines", "/api/v3/time"):
        log.add(entry(path))
    assert [one.path for one in log.entries("/api")] == ["/api/v3/klines", "/api/v3/time"]
    assert len(log.entries()) == 3
    log.clear()
    assert log.entries() == []


def test_an_entry_is_shown_with_all_its_figures() -> None:
    assert entry("/api/v3/time").document() == {
        "instant": "2025-02-01T00:00:00Z", "method": "GET", "path": "/api/v3/time", "query": "limit=1", "status": 200,
        "weight": 2, "bytes": 17, "faults": ("slow",),
    }  # fmt: skip
