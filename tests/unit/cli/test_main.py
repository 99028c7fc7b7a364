import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from marketlake.cli import main
from marketlake.cli.commands import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[3]


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_no_command_is_wrong_use(capsys):
    assert main([]) == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["coverge"], "error: unknown command 'coverge'; did you mean 'coverage'?"),
        (["xyz"], "error: unknown command 'xyz'; commands: run, plan"),
        (["sql"], "error: the following arguments are required: query; see `marketlake sql --help`"),
        (["tables", "vacuumm"], "invalid choice: 'vacuumm'"),
        (["tables", "history"], "error: tables history needs a table"),
        (["tables", "list", "--nosuch"], "error: unrecognized arguments: --nosuch"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_two(capsys, argv, message):
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_failed_command_with_json_still_prints_one_document(capsys, home):
    assert main(["sql", "selec 1", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 2
    assert document["is_retryable"] is False
    assert "syntax error" in document["error"]


def test_a_misspelt_setting_is_one_clear_error(capsys, home, monkeypatch):
    monkeypatch.setenv("MARKETLAKE__QUALITY__REFUSE_SHAR", "0.1")
    assert main(["sql", "select 1"]) == 2
    assert "quality.refuse_shar: unknown key" in capsys.readouterr().err


def test_an_unexpected_error_leaves_its_traceback_in_a_file(capsys, home, monkeypatch):
    monkeypatch.setattr("marketlake.lake.sql.run_query", lambda root, sql: {}["x"])
    assert main(["sql", "select 1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: unexpected KeyError: 'x'; the traceback is in ")
    log = next((home / "logs").glob("error_*.log"))
    assert "Traceback" in log.read_text()
    assert "Traceback" not in said


def test_debug_shows_the_traceback(capsys, home, monkeypatch):
    monkeypatch.setattr("marketlake.lake.sql.run_query", lambda root, sql: {}["x"])
    main(["sql", "select 1", "--debug"])
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_is_named_as_such(capsys, home, monkeypatch):
    def fill(root, sql):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("marketlake.lake.sql.run_query", fill)
    assert main(["sql", "select 1"]) == 1
    assert capsys.readouterr().err.startswith("error: the disk is full")


def test_a_lost_database_is_named_as_such(capsys, home, monkeypatch):
    import psycopg

    def lose(root, sql):
        raise psycopg.OperationalError("server closed the connection unexpectedly\nmore")

    monkeypatch.setattr("marketlake.lake.sql.run_query", lose)
    assert main(["sql", "select 1"]) == 1
    said = capsys.readouterr().err
    assert "the database stopped answering (server closed the connection unexpectedly)" in said
    assert len(said.splitlines()) == 1


def test_help_of_a_command_has_examples(capsys):
    assert main(["sql", "--help"]) == 0
    assert "Examples:" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.path.insert(0, 'plugins')\n"
        "from marketlake.cli import main; main(['run', '--help'])\n"
        "heavy = {'pandas', 'polars', 'pyarrow', 'ccxt', 'pyspark', 'great_expectations', 'duckdb', 'psycopg'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(("name", "value"), [("LOG_LEVEL", "INFO"), ("MARKETLAKE__LOGGING__LEVEL", "Debug")])
def test_the_level_of_the_log_is_the_settings(capsys, home, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    monkeypatch.setattr("marketlake.lake.sql.run_query", lambda root, sql: {}["x"])
    assert main(["sql", "select 1"]) == 1
    assert logging.getLevelName(logging.getLogger("marketlake").level) == value.upper()


def test_an_unknown_level_of_the_log_is_refused_with_the_known_ones(capsys, home, monkeypatch):
    monkeypatch.setenv("LOG_LEVEL", "loud")
    assert main(["sql", "select 1"]) == 2
    assert "logging.level: Input should be 'debug', 'info', 'warning' or 'error'" in capsys.readouterr().err
