from datetime import UTC, date, datetime, timedelta

from marketlake.instants import Window
from marketlake.ledger import Tile
from marketlake.quality.coverage_report import holes_of

START = datetime(2025, 3, 1, tzinfo=UTC)


def tile(first: int, last: int, state: str, **more) -> Tile:
    return Tile(Window(START + timedelta(minutes=first), START + timedelta(minutes=last)), state, **more)


def test_each_hole_has_its_missing_candles_state_and_attempts():
    days = (date(2025, 3, 2), date(2025, 3, 3))
    holes = holes_of([tile(0, 10, "present"), tile(10, 14, "pending", attempt_days=days, cause="omitted")], "1m")
    assert [(hole.missing, hole.state, hole.attempts, hole.is_open) for hole in holes] == [(4, "pending", 2, True)]


def test_neighbours_that_say_the_same_are_one_hole():
    tiles = [tile(0, 2, "unfillable"), tile(2, 5, "unfillable"), tile(5, 6, "exchange_down"), tile(8, 9, "unfillable")]
    assert [(hole.state, hole.missing) for hole in holes_of(tiles, "1m")] == [
        ("unfillable", 5),
        ("exchange_down", 1),
        ("unfillable", 1),
    ]


def test_what_cannot_be_there_is_no_hole():
    assert holes_of([tile(0, 5, "not_listed"), tile(5, 6, "no_trades"), tile(6, 7, "present")], "1m") == ()


def test_holes_of_events_have_no_count():
    assert holes_of([tile(0, 60, "failed")], "")[0].missing is None
