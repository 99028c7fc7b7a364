"""What the seeds of the fault mixes draw, all together: every fault, on every dataset, and always the same."""

from __future__ import annotations

import subprocess
import sys

from marketlake.sandbox.fault_kinds import KINDS, kind_named, read_parameters
from tests.acceptance.mixes.draws import CANDLES, ENDPOINTS, FUNDING, TRADES, draw_mix, groups_of
from tests.subprocesses import with_library

MIXES = [draw_mix(seed) for seed in range(1, 301)]
PRINT = "from tests.acceptance.mixes.draws import draw_mix; print(draw_mix(17))"


def test_a_seed_draws_the_same_mix_in_every_process() -> None:
    printed = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, env=with_library())
    assert printed.stdout.strip() == str(draw_mix(17))
    assert len({str(mix) for mix in MIXES}) == len(MIXES)


def test_every_fault_is_drawn_and_every_one_of_rows_and_files_for_each_dataset() -> None:
    drawn = {fault.name for mix in MIXES for fault in (*mix.lasting, *(f for day in mix.days for f in day.faults))}
    assert drawn == {*KINDS}
    by_endpoint = {(f.name, f.parameters.get("endpoint")) for mix in MIXES for day in mix.days for f in day.faults}
    about_rows = {one.name for one in KINDS.values() if one.acts_on in ("rows", "files")} - {"open_candle"}
    wanted = {(name, endpoint) for name in about_rows for endpoint in ENDPOINTS.values()}
    assert wanted - by_endpoint == set()


def test_every_drawn_fault_is_one_that_the_sandbox_takes() -> None:
    for mix in MIXES:
        for fault in (*mix.lasting, *(one for day in mix.days for one in day.faults)):
            read_parameters(kind_named(fault.name), fault.parameters)


def test_a_mix_has_runs_on_three_days_and_two_more_after_the_faults() -> None:
    for mix in MIXES:
        clocks = [*(day.clock for day in mix.days), *mix.after]
        assert (len(mix.days), len(mix.after)) == (3, 2)
        assert clocks == sorted(clocks)
        assert len({clock.date() for clock in clocks}) == 5
        assert all(day.runs and day.faults for day in mix.days)


def test_candles_and_trades_may_share_a_run_and_the_perpetual_has_its_own() -> None:
    assert groups_of((CANDLES, FUNDING, TRADES)) == ((CANDLES, TRADES), (FUNDING,))
    assert groups_of((FUNDING,)) == ((FUNDING,),)
