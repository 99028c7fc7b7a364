"""How a mix is scored: what is missing, what is there twice, and what should not be there."""

from __future__ import annotations

import pytest

from tests.acceptance.mixes.truth import Score

TRUTH = {("1h", hour): (hour * 10,) for hour in range(4)}
ROWS = list(TRUTH.items())


@pytest.mark.parametrize(
    ("found", "lost", "doubled", "invented"),
    [
        pytest.param(ROWS, 0, 0, 0, id="the truth"),
        pytest.param(ROWS[1:], 1, 0, 0, id="a row is missing"),
        pytest.param([], 4, 0, 0, id="nothing is there"),
        pytest.param([*ROWS, ROWS[0]], 0, 1, 0, id="a row came twice"),
        pytest.param([*ROWS, (("1h", 9), (90,))], 0, 0, 1, id="a row of nobody"),
        pytest.param([*ROWS[1:], (("1h", 0), (1,))], 1, 0, 1, id="a row with another value"),
    ],
)
def test_rows_are_held_against_the_truth(found: list[object], lost: int, doubled: int, invented: int) -> None:
    score = Score()

    score.add("lake", found, TRUTH)

    assert (score.rows, score.lost, score.doubled, score.invented) == (4, lost, doubled, invented)
    assert score.is_clean == (found is ROWS)
    assert bool(score.example) != score.is_clean
