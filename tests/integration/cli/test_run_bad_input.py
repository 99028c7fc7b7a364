"""Each wrong request is one clear error with its exit code, before any data is asked for."""

from datetime import UTC, datetime, timedelta

import pytest

from marketlake.cli import main
from marketlake.ledger.database import connect
from marketlake.ledger.feed_market import lake_market
from marketlake.pipeline.opening import Opening, open_run
from marketlake.pipeline.request import RunRequest
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.settings import load_settings
from tests.databases import environment_of, fresh_database

WINDOW = ["--start", "2025-03-01", "--end", "2025-03-02"]
CANDLES = ["--dataset", "ohlcv", "--exchange", "binance", "--symbol", "BTC/USDT", "--timeframe", "1h"]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert "Traceback" not in text
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    return text


def replaced(arguments: list[str], flag: str, value: str) -> list[str]:
    changed = list(arguments)
    changed[changed.index(flag) + 1] = value
    return changed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            replaced(CANDLES, "--dataset", "candles"),
            "dataset must be one of ohlcv, funding_rates, trades; was 'candles'",
        ),
        (replaced(CANDLES, "--exchange", "bnance"), "exchange must be one of binance; was 'bnance'"),
        (replaced(CANDLES, "--timeframe", "60"), "timeframe must be one of 1m, 5m, 15m, 1h, 4h, 1d; was '60'"),
        (replaced(CANDLES, "--symbol", "FOO/BAR"), "symbol 'FOO/BAR' is not listed by binance"),
        (replaced(CANDLES, "--symbol", "BTC/USD'; drop table x"), "is not a symbol; write it like BTC/USDT"),
        (replaced(CANDLES, "--symbol", "../../etc/passwd"), "is not a symbol; write it like BTC/USDT"),
        ([*CANDLES, "--mode", "reload"], "mode must be one of incremental, backfill, force; was 'reload'"),
        ([*CANDLES, "--source", "ftp"], "source must be one of archive, rest; was 'ftp'"),
        (["--dataset", "funding_rates", "--symbol", "BTC/USDT"], "BTC/USDT:USDT"),
        (["--dataset", "funding_rates", "--timeframe", "1h"], "have no timeframes"),
    ],
)
def test_a_wrong_name_is_refused_before_any_data_is_asked_for(world, capsys, arguments, message):
    assert main(["run", *arguments, *WINDOW]) == 2
    assert message in said(capsys)
    assert not [entry for entry in world.requests() if "klines" in entry.path or entry.path.startswith("/data")]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2025-03-02", "2025-03-01", "start must be before end"),
        ("2025-03-02", "2025-03-02", "start must be before end"),
        ("yesterday", "2025-03-02", "start must be a date like 2025-01-31"),
        ("2025-13-01", "2025-03-02", "start must be a date like 2025-01-31"),
        ("2025-03-01T05:00", "2025-03-02", "names no zone, add Z for UTC"),
        ("1066-10-14", "2025-03-02", "start must not be before 2009-01-03"),
        ("2010-01-01", "2025-03-02", "a window may be at most 10 years long"),
        ("0001-01-01T00:00:00+23:59", "2025-03-02", "start must be a date"),
    ],
)
def test_an_absurd_window_is_refused_without_a_call(world, capsys, start, end, message):
    assert main(["run", *CANDLES, "--start", start, "--end", end]) == 2
    assert message in said(capsys)
    assert world.requests() == []


def test_an_end_alone_and_a_start_in_the_future_are_refused(world, capsys):
    assert main(["run", *CANDLES, "--end", "2025-03-01"]) == 2
    assert "start must be given with an end" in said(capsys)
    assert main(["run", *CANDLES, "--start", "2031-01-01"]) == 2
    assert "start must be before end; start was 2031-01-01T00:00:00Z, end was 2025-03-05T06:" in said(capsys)
    assert main(["run", *CANDLES, "--start", "2031-01-01", "--end", "2031-02-01"]) == 2
    assert "start must be before now, nothing exists yet; start was 2031-01-01T00:00:00Z, now is 2025-03-05T06:" in (
        said(capsys)
    )


def test_a_symbol_that_a_young_list_lacks_is_refused_without_a_call_and_an_older_list_is_refreshed_once(
    world, capsys, postgres_server, monkeypatch
):
    with fresh_database(postgres_server) as empty:
        for name, value in environment_of(empty).items():
            monkeypatch.setenv(name, value)
        assert main(["plan", *CANDLES, *WINDOW]) == 0
        world.clear_requests()
        capsys.readouterr()
        unknown = ["run", *replaced(CANDLES, "--symbol", "FOO/BAR"), *WINDOW]

        assert main(unknown) == 2
        assert "symbol 'FOO/BAR' is not listed by binance" in said(capsys)
        assert world.requests() == []

        with connect(load_settings()) as connection:
            connection.execute("update ops.instrument_refreshes set refreshed_at = refreshed_at - interval '2 hours'")
        assert main(unknown) == 2
        assert {entry.path.rsplit("/", 1)[1] for entry in world.requests()} == {"time", "exchangeInfo"}
        world.clear_requests()
        assert main(["run", *replaced(CANDLES, "--symbol", "a b"), *WINDOW]) == 2
        assert world.requests() == []


@pytest.mark.parametrize("endpoint", ["time", "exchangeInfo"])
def test_a_page_of_html_instead_of_the_clock_does_not_stop_a_run_whose_exchange_is_known(
    world, capsys, postgres_server, monkeypatch, endpoint
):
    with fresh_database(postgres_server) as empty:
        for name, value in environment_of(empty).items():
            monkeypatch.setenv(name, value)
        try:
            world.faults.add("html_ok", endpoint=endpoint)
            assert main(["plan", *CANDLES, *WINDOW]) == 1
            assert "a proxy or a maintenance page may have answered: check the address" in said(capsys)
            world.faults.clear()
            assert main(["plan", *CANDLES, *WINDOW]) == 0
            with connect(load_settings()) as connection:
                connection.execute(
                    "update ops.instrument_refreshes set refreshed_at = refreshed_at - interval '2 days'"
                )
            world.faults.add("html_ok", endpoint=endpoint)
            assert main(["plan", *CANDLES, *WINDOW]) == 0
        finally:
            world.faults.clear()


@pytest.mark.parametrize("key", ["FUTURES_REST_URL", "ARCHIVE_URL"])
def test_addresses_of_two_markets_are_refused_before_the_lake_is_given_to_one(
    world, capsys, postgres_server, monkeypatch, key
):
    with fresh_database(postgres_server) as empty, Sandbox(SyntheticMarket(8)) as other:
        for name, value in environment_of(empty).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(f"MARKETLAKE__EXCHANGES__BINANCE__{key}", other.url)
        assert main(["run", *CANDLES, *WINDOW]) == 2
        text = said(capsys)
        assert (
            f"rest_url is the market 'synthetic:7', but {key.lower()} is {other.url}, the market 'synthetic:8'" in text
        )
        with connect(load_settings()) as connection:
            assert lake_market(connection) is None


def test_an_address_that_does_not_answer_stops_only_what_needs_it(world, monkeypatch):
    monkeypatch.setenv("MARKETLAKE__EXCHANGES__BINANCE__FUTURES_REST_URL", "http://127.0.0.1:1")
    assert main(["plan", *CANDLES, *WINDOW]) == 0


def test_a_machine_that_is_ahead_of_the_exchange_does_not_ask_for_the_open_candle(
    capsys, postgres_server, home, monkeypatch
):
    with fresh_database(postgres_server) as empty, Sandbox(SyntheticMarket(7)) as sandbox:
        for name, value in environment_of(empty).items():
            monkeypatch.setenv(name, value)
        for name in ("REST_URL", "FUTURES_REST_URL", "ARCHIVE_URL"):
            monkeypatch.setenv(f"MARKETLAKE__EXCHANGES__BINANCE__{name}", sandbox.url)
        sandbox.faults.add("clock_skew", seconds=-20)
        settings = load_settings()
        with connect(settings) as connection:
            run = open_run(settings, connection, Opening(RunRequest(datasets=("ohlcv",), exchanges=("binance",))))

    assert run.clock_offset == timedelta(0)
    assert timedelta(seconds=19) < datetime.now(UTC) - run.now < timedelta(seconds=60)


@pytest.mark.parametrize("flags", [["--mode", "force"], ["--source", "rest"], ["--check-reissued"]])
def test_what_works_on_a_window_needs_one(world, capsys, flags):
    assert main(["run", *CANDLES, *flags]) == 2
    assert "name --start and --end" in said(capsys)


def test_a_misspelt_setting_stops_before_the_database(world, capsys, monkeypatch):
    monkeypatch.setenv("MARKETLAKE__EXCHANGES__BINANCE__REST_ULR", "x")
    assert main(["run", *CANDLES, *WINDOW]) == 2
    assert "exchanges.binance.rest_ulr: unknown key" in said(capsys)


def test_an_unreachable_exchange_fails_and_is_named(world, capsys, monkeypatch, tmp_path, postgres_server):
    monkeypatch.setenv("MARKETLAKE__EXCHANGES__BINANCE__REST_URL", "http://127.0.0.1:1")
    with fresh_database(postgres_server) as empty:
        for name, value in environment_of(empty).items():
            monkeypatch.setenv(name, value)
        assert main(["run", *CANDLES, *WINDOW]) == 1
    assert "127.0.0.1:1" in said(capsys)


def test_an_unreachable_database_fails_and_is_named(world, capsys, monkeypatch):
    monkeypatch.setenv("MARKETLAKE__DATABASE__PORT", "1")
    assert main(["run", *CANDLES, *WINDOW]) == 1
    assert "127.0.0.1:1" in said(capsys)


def test_a_storage_root_that_cannot_be_written_fails_before_any_fetch(world, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MARKETLAKE__DELTA_LAKE__STORAGE_PATH", str(tmp_path / "file" / "lake"))
    assert main(["run", *CANDLES, *WINDOW]) == 1
    assert str(tmp_path / "file" / "lake") in said(capsys)
    assert world.requests() == []


def test_a_lake_of_another_market_is_refused(world, capsys, monkeypatch):
    assert main(["plan", *CANDLES, *WINDOW]) == 0
    with Sandbox(SyntheticMarket(8), clock="2025-03-05T06:00:00Z") as other:
        monkeypatch.setenv("MARKETLAKE__EXCHANGES__BINANCE__REST_URL", other.url)
        capsys.readouterr()
        assert main(["run", *CANDLES, *WINDOW]) == 2
    text = said(capsys)
    assert "synthetic:7" in text
    assert "synthetic:8" in text


def test_clocks_that_differ_too_much_stop_a_run_that_follows_the_machine(world, capsys, monkeypatch):
    monkeypatch.setenv("MARKETLAKE__CLOCK__SOURCE", "local")
    assert main(["run", *CANDLES, *WINDOW]) == 1
    assert "set clock.source to exchange" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["step", "fetch", "--run", "r"], "step must be one of open_run, plan_fetches"),
        (["step", "load_bronze"], "the step load_bronze needs --run"),
        (["step", "load_bronze", "--run", "nobody"], "no run is called 'nobody'"),
        (["step", "open_run", "--run", "a b", *CANDLES, *WINDOW], "a run id has 1 to 200 letters"),
    ],
)
def test_a_step_of_no_run_fails_at_once(world, capsys, arguments, message):
    assert main(arguments) == 2
    assert message in said(capsys)
