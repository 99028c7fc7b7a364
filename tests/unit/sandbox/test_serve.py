"""The command line of the sandbox: markets by name, mistakes in one sentence."""

from pathlib import Path

import pytest

from marketlake.errors import UsageError
from marketlake.sandbox.fault_kinds import KINDS
from marketlake.sandbox.serve import main, open_market


def test_a_market_is_opened_by_its_name(recorded_data: Path) -> None:
    assert open_market("synthetic:11").name == "synthetic:11"
    assert open_market("synthetic").name == "synthetic:7"
    assert open_market("recorded", data=recorded_data).name == "recorded"


def test_the_recorded_folder_can_come_from_the_environment(
    recorded_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETLAKE_TEST_DATA", str(recorded_data))
    assert open_market("recorded").name == "recorded"
    monkeypatch.delenv("MARKETLAKE_TEST_DATA")
    with pytest.raises(UsageError, match="name it by --data"):
        open_market("recorded")


@pytest.mark.parametrize("name", ["live", "synthetic:x", "synthetic:-1", "recorded:7", ""])
def test_another_market_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"market must be synthetic:<seed> \(a whole number\) or recorded"):
        open_market(name)


def test_the_faults_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--market", "nasdaq"], "market must be synthetic:<seed>"),
        (["--clock", "tomorrow", "--port", "0"], "clock must be a date like"),
        (["--port", "99999"], "port must be from 0 to 65535; was 99999"),
        (["--fault", "gap", "--port", "0"], "fault must be one of gaps"),
        (["--fault", "slow,5", "--port", "0"], "a fault's parameter must be key=value; was '5'"),
        (["--market", "recorded", "--data", "/nonexistent"], "the recorded market needs a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"error: {said}")
    assert output.err.count("\n") == 1
    assert output.out == ""
