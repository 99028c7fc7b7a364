"""The world of a mix: a sandbox whose clock goes on by days, and a lake whose runs share this process's Spark session.

A run is the library's own, from opening to mirror; only its Spark job is called instead of started. The job's function
takes the session that this process has, as it does where spark-submit started it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from marketlake.embedded_postgres import PostgresAddress
from marketlake.errors import MarketlakeError
from marketlake.pipeline import loading
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.opening import Opening
from marketlake.pipeline.request import RunRequest
from marketlake.pipeline.run import run_pipeline
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.sandbox.listings import SPOT
from marketlake.settings import Settings
from spark_jobs.bronze import load as load_job
from tests.acceptance.mixes.draws import CANDLES, FUNDING, FaultDraw, Mix, RunDraw
from tests.databases import environment_of, fresh_database
from tests.world import World, world_of

MARKET = SyntheticMarket(31)
# What the harness waits for in real time, while days go by on the sandbox's clock: pauses must be short.
_PATIENCE = {
    "MARKETLAKE__EXCHANGES__BINANCE__RETRY_BASE_SECONDS": "0.01",
    "MARKETLAKE__EXCHANGES__BINANCE__REQUEST_TIMEOUT_SECONDS": "5",
}


@dataclass
class MixWorld:
    """A mix's world and what its runs came to: `ended` holds a word for each, `succeeded` or what went wrong."""

    mix: Mix
    world: World
    settings: Settings
    ended: list[str] = field(default_factory=list)

    @property
    def sandbox(self) -> Sandbox:
        """The exchange."""
        return self.world.sandbox

    def go_to(self, clock: datetime) -> None:
        """Let the sandbox's clock go on to this instant; its seconds stay the machine's, as at a real exchange.

        What the ledger counts in the machine's minutes has passed by then as well.
        """
        now = datetime.now(UTC)
        self.sandbox.set_clock(clock.replace(second=now.second, microsecond=now.microsecond))
        self.sandbox.meter.forgive()
        with self.world.database() as connection:
            connection.execute(
                "update ops.request_budget set blocked_until = null, is_closed = false,"
                " window_start = window_start - %s",
                [timedelta(days=1)],
            )

    def switch_on(self, fault: FaultDraw, **more: Any) -> None:
        """Switch a drawn fault on."""
        self.sandbox.faults.add(fault.name, **{**fault.parameters, **more})

    def run(self, drawn: RunDraw) -> str:
        """Do one run in this process and return how it ended."""
        request = RunRequest(
            datasets=drawn.datasets,
            symbols=(self.mix.perpetual if FUNDING in drawn.datasets else self.mix.spot,),
            timeframes=self.mix.timeframes if CANDLES in drawn.datasets else (),
            mode=drawn.mode,
            source=drawn.source,
            check_reissued=drawn.check_reissued,
        )
        try:
            outcome = run_pipeline(self.settings, Opening(request, drawn.window.start, drawn.window.end))
        except MarketlakeError as error:
            self.ended.append(f"{type(error).__name__}: {error}")
        else:
            said = [*outcome.problems, *outcome.warnings]
            self.ended.append("; ".join(said) if said else outcome.state)
        return self.ended[-1]


@contextmanager
def mix_world(mix: Mix, server: PostgresAddress, home: Path) -> Iterator[MixWorld]:
    """Yield the world of a mix on the morning of its first day; database and exchange go when it ends."""
    limits = {} if mix.weight_limit is None else {"spot_weight_limit": mix.weight_limit}
    with Sandbox(MARKET, clock=mix.days[0].clock, **limits) as sandbox, fresh_database(server) as address:
        world = world_of(sandbox, home, **{**environment_of(address), **_PATIENCE})
        yield MixWorld(mix, world, world.settings)


def load_in_this_session(call: StepCall, job: str, *, is_bulk: bool = False) -> None:
    """Do what the process of the load job would do; stands in for `run_spark_job`."""
    assert job == loading.LOAD_JOB
    load_job.run(call.settings, run_id=call.run.run_id, retry_refused=False)


def weight_by_minute(sandbox: Sandbox) -> dict[tuple[str, str], int]:
    """Return the weight that was spent of each market in each of the exchange's minutes."""
    spent: dict[tuple[str, str], int] = {}
    for entry in sandbox.requests():
        venue = SPOT if entry.path.startswith("/api/") else "um"
        key = (venue, entry.instant[:16])
        spent[key] = spent.get(key, 0) + entry.weight
    return spent
