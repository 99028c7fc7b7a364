"""Which failures of dbt a repeat can heal (ORC-04)."""

from __future__ import annotations

import pytest

from marketlake.errors import DataError, MarketlakeError, QualityError, UnavailableError
from marketlake.publish.dbt_process import error_class

GONE = 'Database Error\n  connection to server at "127.0.0.1", port 1 failed: Connection refused'


@pytest.mark.parametrize(
    ("code", "failed", "said", "expected"),
    [
        (1, [("fail", "Got 3 results, configured to fail if != 0")], [], QualityError),
        (1, [("fail", "Got 3 results"), ("error", GONE)], [], QualityError),
        (1, [("error", 'Database Error in model m\n  column "x" does not exist')], [], DataError),
        (
            1,
            [("error", "Compilation Error in model m\n  This contract failed.")],
            [],
            DataError,
        ),
        (2, [], ["Parsing Error", "  dbt_project.yml is no YAML"], DataError),
        (1, [("error", GONE)], [], UnavailableError),
        (1, [("error", "Database Error in model m\n  deadlock detected")], [], UnavailableError),
        (2, [], ["Encountered an error:", GONE], UnavailableError),
        (-9, [], [], MarketlakeError),
    ],
)
def test_only_what_may_be_gone_the_next_time_is_worth_a_repeat(
    code: int, failed: list[tuple[str, str]], said: list[str], expected: type[MarketlakeError]
) -> None:
    items = [{"status": status, "message": message} for status, message in failed]
    found = error_class(code, items, said)
    assert found is expected
    assert found.is_retryable is (expected in (UnavailableError, MarketlakeError))
