"""What the steps after a load read from the ledger: verdicts, refusals, what is judged again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from marketlake import ledger
from marketlake.errors import QualityError
from marketlake.instants import Window, parse_instant, parse_window
from marketlake.ledger import Change, Fact, LoadRecord, MarketVerdict, Run
from marketlake.pipeline import loading
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.checking import check_run, problems_of
from marketlake.pipeline.loading import load_bronze, validate_data_quality, verdicts_of_run
from marketlake.pipeline.refused import judge_again
from marketlake.pipeline.run import RunSummary, do_step
from marketlake.settings import Settings, load_settings
from marketlake.work import Answer, FetchTask, Instrument, Manifest, Market

NOW = datetime(2025, 3, 5, tzinfo=UTC)
WINDOW = parse_window("2025-03-03", "2025-03-04")
BTC, ETH = Market("spot", "BTC/USDT", "BTCUSDT"), Market("spot", "ETH/USDT", "ETHUSDT")


class Story:
    """A run with manifests in the ledger, as if fetched and judged."""

    def __init__(self, connection: psycopg.Connection, settings: Settings) -> None:
        self.connection = connection
        self.settings = settings
        listed = [Instrument("binance", f"{base}/USDT", f"{base}USDT", "spot", base, "USDT") for base in ("BTC", "ETH")]
        listed += [
            Instrument("binance", f"{base}/USDT:USDT", f"{base}USDT", "perpetual", base, "USDT", "USDT")
            for base in ("BTC", "ETH")
        ]
        ledger.store_instruments(connection, "binance", listed, NOW)

    def run(self, run_id: str = "r", kind: str = "cli", window: Window | None = WINDOW, **request: object) -> StepCall:
        asked = {"datasets": ["ohlcv"], "exchanges": ["binance"], "timeframes": ["1h"], **request}
        run = Run(run_id, kind, window, "incremental", asked, NOW)
        return StepCall(self.settings, self.connection, ledger.create_run(self.connection, run))

    def manifest(self, run_id: str = "r", sealed_at: datetime = NOW, markets: tuple[Market, ...] = (BTC, ETH)) -> str:
        answers = tuple(
            Answer(f"t{market.symbol}", market, "1h", "rest", WINDOW, "answered", NOW) for market in markets
        )
        manifest = Manifest(run_id, "binance", "ohlcv", "live", 0.0, NOW, answers, sealed_at=sealed_at)
        ledger.register_manifest(self.connection, manifest, f"{run_id}.json")
        return manifest.manifest_id

    def judged(self, manifest_id: str, *verdicts: MarketVerdict, run_id: str = "r", load_id: str = "l") -> None:
        refused = any(verdict.is_refused for verdict in verdicts)
        load = LoadRecord(
            load_id,
            "bronze.ohlcv",
            "ohlcv",
            "binance",
            manifest_id,
            run_id,
            delta_version=0,
            appended_rows=24,
            changes=(Change("ohlcv", "binance", "BTC/USDT", "1h", WINDOW),),
            manifest_state="refused" if refused else "loaded",
        )
        ledger.record_audit(self.connection, load, verdicts)
        ledger.record_load(self.connection, load)


GOOD = MarketVerdict("binance", "BTC/USDT", 24, 1, False, {"high < low": 1})
BAD = MarketVerdict("binance", "ETH/USDT", 200, 200, True, {"price out of bounds": 200})


@pytest.fixture
def story(postgres):
    settings = load_settings()
    with ledger.connect(settings) as connection:
        yield Story(connection, settings)


def test_a_refused_market_is_named_with_its_reasons_and_what_to_clear(story):
    call = story.run()
    story.judged(story.manifest(), GOOD, BAD)
    said = [str(problem) for problem in problems_of(call)]
    assert said[0] == (
        "binance ETH/USDT ohlcv was refused: 200 of 200 rows rejected: price out of bounds (200); mend the cause;"
        " then clear load_bronze and what follows it, or run the same window again"
    )
    with pytest.raises(QualityError, match="price out of bounds"):
        check_run(call)
    assert ledger.run_named(story.connection, "r").state == "failed"


def test_the_quality_step_passes_on_a_refusal_unless_it_is_told_to_stop(story, monkeypatch):
    call = story.run()
    story.judged(story.manifest(), GOOD, BAD)
    result = validate_data_quality(call)
    assert len(result["refused"]) == 1
    assert result["loaded"] == [{"dataset": "ohlcv", "start": WINDOW.start, "end": WINDOW.end, "rows": 24}]
    monkeypatch.setenv("MARKETLAKE__QUALITY__STOP_ON_REFUSED", "true")
    strict = StepCall(load_settings(), story.connection, call.run)
    with pytest.raises(QualityError, match="quality.stop_on_refused is set"):
        validate_data_quality(strict)


def test_a_manifest_that_raised_is_named_with_its_error(story):
    call = story.run()
    ledger.record_failure(story.connection, story.manifest(), "the reader found no rows")
    assert "the manifest is failed: the reader found no rows" in str(problems_of(call)[0])


def test_an_archive_that_was_not_replaced_is_not_missing(story):
    call = story.run()
    task = FetchTask("t1", "r", "binance", "ohlcv", BTC, "1h", "archive", WINDOW, "a.zip", reason="reissue")
    ledger.save_tasks(story.connection, "r", [task])
    assert problems_of(call) == []
    ledger.save_tasks(story.connection, "r", [replace(task, reason="new")])
    assert "1 of 1 tasks were never fetched" in str(problems_of(call)[0])


def test_changes_that_were_not_published_are_named(story):
    call = story.run()
    story.judged(story.manifest(), GOOD)
    assert [problem.task for problem in problems_of(call)] == ["publish_changes"]


def test_what_a_run_was_refused_waits_again_when_it_loads_again(story):
    call = story.run(kind="daily")
    story.judged(story.manifest(), BAD)
    assert judge_again(call) == 1
    assert [row.run_id for row in ledger.manifests_waiting(story.connection)] == ["r"]


def test_by_hand_the_refusals_of_the_window_are_judged_again_whoever_fetched_them(story):
    story.run("other", kind="daily")
    story.judged(story.manifest("other"), BAD, run_id="other")
    assert judge_again(story.run("scheduled", kind="daily")) == 0
    assert judge_again(story.run("by_hand")) == 1


def test_by_hand_only_what_the_run_is_about_is_judged_again(story):
    story.run("other", kind="daily")
    story.judged(story.manifest("other"), GOOD, BAD, run_id="other")
    assert judge_again(story.run("another_symbol", symbols=["BTC/USDT"])) == 0
    assert judge_again(story.run("another_dataset", datasets=["funding_rates"], timeframes=[])) == 0
    later = parse_window("2025-03-04", "2025-03-05")
    assert judge_again(story.run("another_window", window=later)) == 0
    assert judge_again(story.run("the_symbol", symbols=["ETH/USDT"])) == 1


def test_what_a_run_by_hand_had_judged_again_and_is_refused_again_turns_it_red(story):
    story.run("other", kind="daily")
    manifest = story.manifest("other")
    story.judged(manifest, GOOD, BAD, run_id="other")
    call = story.run("by_hand")
    judge_again(call)
    assert "was not loaded" in str(problems_of(call)[0])

    story.judged(manifest, GOOD, BAD, run_id="other", load_id="retry:1")

    assert "binance ETH/USDT ohlcv was refused" in str(problems_of(call)[0])
    with pytest.raises(QualityError, match="ETH/USDT ohlcv was refused"):
        check_run(call)
    assert [verdict.symbol for verdict in verdicts_of_run(call)] == ["BTC/USDT", "ETH/USDT"]


def test_what_a_run_by_hand_had_judged_again_counts_as_loaded_by_it(story):
    story.run("other", kind="daily")
    manifest = story.manifest("other")
    story.judged(manifest, GOOD, BAD, run_id="other")
    call = story.run("by_hand")
    judge_again(call)

    story.judged(manifest, GOOD, run_id="other", load_id="retry:1")

    assert [problem.task for problem in problems_of(call)] == ["publish_changes"]
    assert "retry:1" in call.load_ids()
    [loaded] = validate_data_quality(call)["loaded"]
    assert (loaded["dataset"], loaded["start"], loaded["end"]) == ("ohlcv", WINDOW.start, WINDOW.end)


def test_a_refusal_that_a_later_load_has_replaced_is_neither_judged_again_nor_named(story):
    call = story.run("other", kind="daily")
    story.judged(story.manifest("other"), GOOD, BAD, run_id="other")
    assert [problem.task for problem in problems_of(call)] == ["load_bronze", "publish_changes"]

    story.run("forced", kind="daily")
    replacing = story.manifest("forced", sealed_at=NOW + timedelta(hours=1), markets=(ETH,))
    story.judged(replacing, replace(BAD, rejected_rows=0, is_refused=False), run_id="forced", load_id="force:1")

    assert judge_again(story.run("by_hand")) == 0
    assert [problem.task for problem in problems_of(call)] == ["publish_changes"]


def test_without_a_window_only_refusals_from_the_high_watermark_on_are_judged_again(story):
    story.run("other", kind="daily")
    story.judged(story.manifest("other"), GOOD, BAD, run_id="other")
    assert judge_again(story.run("blocked", window=None)) == 1

    story.judged(story.manifest("other"), GOOD, BAD, run_id="other", load_id="l2")
    past = parse_instant(load_settings().exchanges["binance"].first_instant)
    present = Fact("ohlcv", "binance", "ETH/USDT", "1h", window=Window(past, WINDOW.end), state="present")
    with story.connection.transaction(), story.connection.cursor() as cursor:
        ledger.apply_facts(cursor, [present], run_id="other", load_id="l2")
    assert judge_again(story.run("behind", window=None)) == 0


def test_a_load_with_nothing_waiting_starts_no_java(story, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", "/nonexistent")
    assert load_bronze(story.run()) == {"manifests": 0, "judged_again": 0}


@pytest.mark.parametrize(("reason", "is_bulk"), [("new", False), ("force", True)])
def test_the_job_optimises_its_code_where_spark_itself_compares_many_rows(story, monkeypatch, reason, is_bulk):
    call, asked = story.run(), list[bool]()
    window = parse_window("2023-01-01", "2025-01-01")
    task = FetchTask("t", "r", "binance", "ohlcv", BTC, "1m", "archive", window, reason=reason)
    ledger.save_tasks(story.connection, "r", [task])
    story.manifest()
    monkeypatch.setattr(loading, "run_spark_job", lambda call, job, *, is_bulk: asked.append(is_bulk))

    load_bronze(call)

    assert asked == [is_bulk]


def test_a_compaction_that_fails_is_a_warning_of_the_run(story: Story) -> None:
    call = story.run()
    story.judged(story.manifest(), GOOD)
    log = Path(story.settings.lake_root, "bronze", "ohlcv", "_delta_log")
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("not a log")
    outcome = RunSummary(call.run, {})

    assert do_step("optimize_delta_tables", call, outcome)

    assert (outcome.state, outcome.problems) == ("succeeded", [])
    assert outcome.to_json()["warnings"][0].startswith("optimize_delta_tables: the log of table bronze.ohlcv")


def test_verdicts_add_up_over_manifests_and_count_the_newest_audit_of_each(story):
    whole = story.run("whole")
    story.run("whole.1", parent="whole")
    first, second = story.manifest("whole"), story.manifest("whole.1")
    story.judged(first, BAD, run_id="whole", load_id="l1")
    again = MarketVerdict("binance", "ETH/USDT", 200, 0, False, {})
    story.judged(first, again, run_id="whole", load_id="l2")
    story.judged(second, MarketVerdict("binance", "ETH/USDT", 100, 3, False, {"high < low": 3}), run_id="whole.1",
                 load_id="l3")  # fmt: skip
    assert verdicts_of_run(whole) == [MarketVerdict("binance", "ETH/USDT", 300, 3, False, {"high < low": 3})]


def test_a_failed_build_is_no_problem_once_another_run_has_built_its_publications(story: Story) -> None:
    call = story.run()
    with story.connection.cursor() as cursor:
        ledger.insert_publication(
            cursor,
            dataset="ohlcv",
            exchange="binance",
            symbol="BTC/USDT",
            timeframe="1h",
            window=WINDOW,
            rows_written=24,
            rows_deleted=0,
            run_id="r",
        )
    build = ledger.open_build(story.connection, "r")
    assert build is not None
    ledger.close_build(story.connection, build.build_id, "failed")
    assert [problem.task for problem in problems_of(call)] == ["dbt_staging"]
    other = ledger.open_build(story.connection, "next day")
    assert other is not None
    ledger.close_build(story.connection, other.build_id, "merged")
    assert problems_of(call) == []
