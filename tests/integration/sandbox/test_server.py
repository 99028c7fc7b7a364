"""The server over HTTP: clock, weights, archives with ranges, the request log, a port in use."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
import urllib.error

import pytest

from marketlake.errors import SetupError
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.sandbox.weights import CALLS_FORGIVEN
from tests.integration.sandbox.asking import Ask, ask

ARCHIVE = "/data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-31.zip"
MONTH = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"
KLINES = "/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=3"
NOON = 1_738_411_200_000
HOUR = 3_600_000


class TestClock:
    @pytest.mark.parametrize("path", ["/api/v3/time", "/fapi/v1/time"])
    def test_the_time_says_which_market_this_is(self, get: Ask, path: str) -> None:
        reply = get(path)
        assert reply.json == {"serverTime": NOON + 30_000}
        assert reply.headers["X-Marketlake-Market"] == "synthetic:7"

    @pytest.mark.parametrize(
        "path",
        [
            *("/api/v3/ping", KLINES, "/api/v3/klines?symbol=NOSUCH&interval=1h", "/fapi/v1/fundingRate"),
            *("/data/spot/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2024-12.zip", "/data/nothing.zip.CHECKSUM", "/nothing"),
        ],
    )
    def test_every_other_answer_says_it_too(self, get: Ask, path: str) -> None:
        assert get(path).headers["X-Marketlake-Market"] == "synthetic:7"

    def test_data_follow_the_clock(self, sandbox: Sandbox, get: Ask) -> None:
        before = get(KLINES).json
        assert [row[0] for row in before] == [NOON - 2 * HOUR, NOON - HOUR, NOON]
        sandbox.set_clock("2025-02-01T13:00:00Z")
        after = get(KLINES).json
        assert [row[0] for row in after] == [NOON - HOUR, NOON, NOON + HOUR]
        assert after[0] == before[1]
        assert after[1] != before[2]
        assert after[1][8] > before[2][8]

    def test_a_running_clock_closes_candles(self, sandbox: Sandbox, get: Ask) -> None:
        sandbox.set_clock("2025-02-01T12:00:59.900Z", frozen=False)
        minute = "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1"
        first = get(minute).json[0]
        time.sleep(0.2)
        assert get(minute).json[0][0] == first[0] + 60_000

    def test_archives_appear_by_the_clock(self, sandbox: Sandbox, get: Ask) -> None:
        assert (get(ARCHIVE).status, get(MONTH).status) == (200, 404)
        sandbox.set_clock("2025-02-01T07:59:59Z")
        assert (get(ARCHIVE).status, get(ARCHIVE + ".CHECKSUM").status) == (404, 404)
        sandbox.set_clock("2025-02-03T08:00:00Z")
        assert get(MONTH).status == 200


class TestWeights:
    def test_every_answer_says_the_weight_used(self, get: Ask) -> None:
        used = [get(path).headers["X-MBX-USED-WEIGHT-1M"] for path in ("/api/v3/ping", KLINES, "/api/v3/exchangeInfo")]
        assert used == ["1", "3", "23"]
        refused = get("/api/v3/klines?symbol=BOGUS&interval=1h").headers
        assert (refused["X-MBX-USED-WEIGHT-1M"], refused["X-MBX-USED-WEIGHT"]) == ("25", "25")
        assert get("/fapi/v1/ping").headers["X-MBX-USED-WEIGHT-1M"] == "1"

    def test_archives_weigh_nothing(self, get: Ask) -> None:
        assert "X-MBX-USED-WEIGHT-1M" not in get(ARCHIVE).headers
        assert get("/api/v3/ping").headers["X-MBX-USED-WEIGHT-1M"] == "1"

    def test_above_the_limit_comes_429_and_then_418(self) -> None:
        with Sandbox(SyntheticMarket(7), clock="2025-02-01T12:00:30Z", frozen=True, spot_weight_limit=41) as small:
            while time.time() % 60 > 55:
                time.sleep(0.5)
            info = ask(small.url + "/api/v3/exchangeInfo").json
            assert info["rateLimits"][0] == {
                "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 41,
            }  # fmt: skip
            assert ask(small.url + "/api/v3/exchangeInfo").status == 200
            refused = ask(small.url + KLINES)
            assert (refused.status, refused.json["code"]) == (429, -1003)
            assert "current limit is 41 request weight per 1 MINUTE" in refused.json["msg"]
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            for _ in range(CALLS_FORGIVEN - 1):
                assert ask(small.url + KLINES).status == 429
            banned = ask(small.url + KLINES)
            assert (banned.status, banned.headers["Retry-After"]) == (418, "120")
            assert f"IP banned until {NOON + 150_000}" in banned.json["msg"]
            assert ask(small.url + "/fapi/v1/ping").status == 200
            assert [one.status for one in small.requests("/api/v3/klines")] == [429] * CALLS_FORGIVEN + [418]

    def test_a_minute_of_weight_is_a_minute_of_the_exchanges_clock(self, sandbox: Sandbox, get: Ask) -> None:
        sandbox.set_clock("2025-02-01T12:00:30Z", frozen=False)
        assert [get("/api/v3/ping").headers["X-MBX-USED-WEIGHT-1M"] for _ in range(2)] == ["1", "2"]
        sandbox.set_clock("2025-02-01T12:01:00Z")
        assert get("/api/v3/ping").headers["X-MBX-USED-WEIGHT-1M"] == "1"

    def test_the_shared_limit_of_funding_is_kept(self, sandbox: Sandbox, get: Ask) -> None:
        for _ in range(500):
            sandbox.meter.charge_funding("127.0.0.1")
        reply = get("/fapi/v1/fundingRate?symbol=BTCUSDT")
        assert (reply.status, reply.json["code"]) == (429, -1003)
        assert get("/fapi/v1/premiumIndex?symbol=BTCUSDT").status == 200


class TestArchives:
    def test_a_zip_comes_with_its_digest_length_and_date(self, get: Ask) -> None:
        archive, line = get(ARCHIVE), get(ARCHIVE + ".CHECKSUM").body.decode()
        assert line == f"{hashlib.sha256(archive.body).hexdigest()}  BTCUSDT-1h-2025-01-31.zip\n"
        assert archive.headers["Content-Length"] == str(len(archive.body))
        assert archive.headers["Last-Modified"] == "Sat, 01 Feb 2025 08:00:00 GMT"
        assert archive.headers["ETag"]

    def test_head_tells_the_same_without_the_body(self, get: Ask) -> None:
        whole, head = get(ARCHIVE), get(ARCHIVE, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == whole.headers["Content-Length"]
        assert head.headers["ETag"] == whole.headers["ETag"]
        assert get(ARCHIVE.replace("BTCUSDT", "NOPE"), method="HEAD").status == 404

    def test_a_download_can_be_resumed(self, get: Ask) -> None:
        whole = get(ARCHIVE).body
        first, rest = get(ARCHIVE, Range="bytes=0-99"), get(ARCHIVE, Range="bytes=100-")
        assert (first.status, rest.status) == (206, 206)
        assert first.body + rest.body == whole
        assert rest.headers["Content-Range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
        assert get(ARCHIVE, Range=f"bytes={len(whole)}-").status == 416


class TestRequests:
    def test_the_log_shows_what_was_asked(self, sandbox: Sandbox, get: Ask) -> None:
        get(KLINES)
        get(ARCHIVE)
        get("/api/v3/klines?symbol=BOGUS&interval=1h")
        logged = [(one.path, one.query, one.status, one.weight) for one in sandbox.requests()]
        assert logged == [
            ("/api/v3/klines", "symbol=BTCUSDT&interval=1h&limit=3", 200, 2),
            (ARCHIVE, "", 200, 0),
            ("/api/v3/klines", "symbol=BOGUS&interval=1h", 400, 2),
        ]
        assert sandbox.requests()[0].instant == "2025-02-01T12:00:30Z"
        assert len(sandbox.requests("/data/")) == 1

    def test_many_clients_are_served_at_once(self, sandbox: Sandbox) -> None:
        replies: list[bytes] = []
        threads = [threading.Thread(target=lambda: replies.append(ask(sandbox.url + KLINES).body)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(replies) == 16
        assert len(set(replies)) == 1

    @pytest.mark.parametrize("path", ["/", "/api/v3/order", "/data/", "/data/../etc/passwd", "/api/v1/klines"])
    def test_elsewhere_is_nothing(self, get: Ask, path: str) -> None:
        assert get(path).status == 404

    def test_nothing_can_be_posted(self, get: Ask) -> None:
        assert get(KLINES, method="POST", body={}).status == 405


class TestLife:
    def test_a_port_in_use_is_named(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(SetupError, match=f"port {port} on 127.0.0.1 is in use: stop what listens there"):
                Sandbox(SyntheticMarket(7), port=port).start()

    def test_it_listens_on_this_machine_alone_and_stops(self) -> None:
        with Sandbox(SyntheticMarket(7)) as sandbox:
            assert sandbox.url.startswith("http://127.0.0.1:")
            assert ask(sandbox.url + "/api/v3/ping").body == b"{}"
            url = sandbox.url
        sandbox.stop()
        with pytest.raises(urllib.error.URLError):
            ask(url + "/api/v3/ping")

    def test_two_sandboxes_run_side_by_side(self) -> None:
        with Sandbox(SyntheticMarket(1)) as one, Sandbox(SyntheticMarket(2)) as other:
            names = [ask(each.url + "/api/v3/time").headers["X-Marketlake-Market"] for each in (one, other)]
        assert names == ["synthetic:1", "synthetic:2"]
