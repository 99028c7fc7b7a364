"""A world of its own for a test: a sandbox exchange, an empty home, a database, and the command line to act on them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from marketlake import ledger
from marketlake.sandbox import Sandbox
from marketlake.settings import Settings, load_settings
from tests.digests import delta_digests, dlq_file_records, postgres_digests

REPOSITORY = Path(__file__).resolve().parents[1]
COMMAND = REPOSITORY / "bin" / "marketlake"


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


@dataclass
class World:
    """A sandbox and a lake that reads it. `environ` is what every command of this world is started with."""

    sandbox: Sandbox
    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings that the commands of this world see."""
        return load_settings(environ=self.environment)

    @property
    def root(self) -> Path:
        """The lake's storage root."""
        return Path(self.settings.lake_root)

    def command(self, *arguments: str, environ: dict[str, str] | None = None, timeout: float = 600) -> Done:
        """Run `marketlake …` and return what it left, whatever its exit code."""
        done = subprocess.run(
            [str(COMMAND), *arguments],
            env=self._environment(environ or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def succeed(self, *arguments: str, environ: dict[str, str] | None = None) -> Any:
        """Run `marketlake … --json`, expect exit code 0 and no warning, and return the document."""
        done = self.command(*arguments, "--json", environ=environ)
        assert done.code == 0, f"exit code {done.code}\n{done.out[-2000:]}\n{done.err[-4000:]}"
        document = done.json
        assert not (isinstance(document, dict) and document.get("warnings")), document["warnings"]
        return document

    def load(self, symbol: str, timeframe: str | None, start: str, end: str, *more: str) -> Any:
        """Run plan to publish over a window of one market; no timeframe means funding rates."""
        dataset = ["--dataset", "ohlcv", "--timeframe", timeframe] if timeframe else ["--dataset", "funding_rates"]
        window = ["--start", start, "--end", end]
        return self.succeed("run", *dataset, "--exchange", "binance", "--symbol", symbol, *window, *more)

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection to this world's database."""
        with ledger.connect(self.settings) as connection:
            yield connection

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query on Postgres."""
        with self.database() as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]  # the tests' own text

    def bronze_versions(self) -> dict[str, int]:
        """Return the newest version of each bronze Delta table."""
        logs = self.root.glob("bronze/*/_delta_log")
        return {log.parent.name: max(int(path.stem) for path in log.glob("*.json")) for log in logs}

    def digests(self) -> dict[str, Any]:
        """Return the digests of every layer, and the DLQ files' records."""
        with self.database() as connection:
            in_postgres = postgres_digests(connection, ("bronze", "silver", "gold"))
        return {**delta_digests(self.root), **in_postgres, "dlq files": dlq_file_records(self.home / "dlq")}

    @property
    def environment(self) -> dict[str, str]:
        """All variables that a command of this world is started with."""
        return self._environment({})

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "MARKETLAKE_HOME": str(self.home), **self.environ, **more}


def world_of(sandbox: Sandbox, home: Path, **environ: str) -> World:
    """Return a world whose lake under `home` is fed by the sandbox and follows its clock."""
    exchange = "MARKETLAKE__EXCHANGES__BINANCE__"
    urls = {f"{exchange}{name}": sandbox.url for name in ("REST_URL", "FUTURES_REST_URL", "ARCHIVE_URL")}
    patience = {f"{exchange}RETRY_BASE_SECONDS": "0.05", "MARKETLAKE__CLOCK__SOURCE": "exchange"}
    return World(sandbox, home, {**urls, **patience, **environ})
