"""Settings: typed, frozen, validated at start. Precedence: environment > file > default.

`load_settings` reads one YAML file (`CONFIG_FILE`, default `config/local.yaml` where it exists), replaces `${NAME}`
from the environment, applies the short variables of `SHORT_VARIABLES` and then `MARKETLAKE__SECTION__KEY`, and reports
every problem at once.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marketlake.errors import ConfigError

PREFIX = "MARKETLAKE__"
# Short names that people know, beside the MARKETLAKE__ form, which wins over them.
SHORT_VARIABLES = {
    "AWS_REGION": "aws.region",
    "DB_HOST": "database.host",
    "DB_PORT": "database.port",
    "DB_NAME": "database.database",
    "DB_USER": "database.username",
    "DB_PASSWORD": "database.password",
    "LOG_LEVEL": "logging.level",
    "ALERT_WEBHOOK_URL": "alerts.webhook_url",
    "BINANCE_STREAM_URL": "exchanges.binance.ws_url",
}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Never shown: neither in a problem's text nor where settings are printed.
_SECRETS = frozenset({"password", "reader_password", "webhook_url"})
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen part of the settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Aws(Section):
    """Where the cloud's services are."""

    region: str = "us-east-1"
    s3_bucket: str = "bitcoin-data-lake"
    endpoint_url: str | None = None


class DeltaLake(Section):
    """Where the lake lies; empty means `<MARKETLAKE_HOME>/delta_lake`."""

    storage_path: str = ""


class Database(Section):
    """Postgres. `embedded`: a server of our own under `<MARKETLAKE_HOME>/postgres`; port 0 picks a free one."""

    embedded: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    database: str = "bitcoin_db"
    username: str = "postgres"
    password: str = Field(default="postgres", repr=False)
    pool_size: int = Field(default=10, ge=1)
    ssl_mode: str | None = None
    reader_password: str = Field(default="reader", repr=False)


class Etl(Section):
    """Batch sizes, workers and retention."""

    batch_size: int = Field(default=10_000, ge=1)
    processing_interval: str = "1h"
    silver_layer_retention_days: int | None = None
    gold_layer_retention_days: int | None = None
    enable_parallel_processing: bool = False
    worker_count: int = Field(default=1, ge=1)


class Orchestration(Section):
    """How Airflow runs things."""

    scheduler_enabled: bool = True
    max_concurrent_jobs: int = Field(default=3, ge=1)
    job_timeout_minutes: int = Field(default=60, ge=1)


class Symbols(Section):
    """The symbols that scheduled runs keep, by dataset; ccxt's unified names."""

    ohlcv: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")
    funding_rates: tuple[str, ...] = ("BTC/USDT:USDT", "ETH/USDT:USDT")


class Exchange(Section):
    """One exchange: where it is, what is kept of it, how hard it may be asked."""

    enabled: bool = True
    rest_url: str
    futures_rest_url: str = ""
    coinm_rest_url: str = ""
    archive_url: str = ""
    ws_url: str = ""
    symbols: Symbols = Symbols()
    timeframes: tuple[str, ...] = ("1m", "5m", "15m", "1h", "4h", "1d")
    priority: int = 1
    fallback_enabled: bool = False
    weight_ceiling: Fraction = 0.8
    archive_workers: int = Field(default=8, ge=1, le=64)
    request_timeout_seconds: float = Field(default=30.0, gt=0)
    retry_base_seconds: float = Field(default=1.0, ge=0)
    first_instant: str = "2017-08-17"


BINANCE = Exchange(
    rest_url="https://api.binance.com",
    futures_rest_url="https://fapi.binance.com",
    coinm_rest_url="https://dapi.binance.com",
    archive_url="https://data.binance.vision",
    ws_url="wss://stream.binance.com:9443",
)


class PriceBound(Section):
    """Prices of one symbol outside (low, high) are rejected from `valid_from` on."""

    symbol: str
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    valid_from: str = "2009-01-03"
    valid_to: str | None = None


class Quality(Section):
    """What the audit tolerates. Shares are fractions of received rows."""

    warning_share: Fraction = 0.01
    refuse_share: Fraction = 0.05
    refuse_from_rows: int = Field(default=100, ge=1)
    stop_on_refused: bool = False
    attempts_before_unfillable: int = Field(default=3, ge=1)
    outage_calendar: bool = True
    outage_calendar_file: str | None = None
    price_bounds: tuple[PriceBound, ...] = (
        PriceBound(symbol="BTC/USDT", low=1_000, high=200_000, valid_from="2018-01-01"),
        PriceBound(symbol="BTC/USD", low=1_000, high=200_000, valid_from="2018-01-01"),
        PriceBound(symbol="BTC/USDT:USDT", low=1_000, high=200_000, valid_from="2018-01-01"),
    )


class ClockSettings(Section):
    """Whose clock a run follows; see design, rule 7. Seconds of deviation that warn and that stop a run."""

    source: Literal["local", "exchange"] = "local"
    warn_seconds: float = Field(default=1.0, gt=0)
    stop_seconds: float = Field(default=30.0, gt=0)


class Spark(Section):
    """How Spark jobs are submitted: a `local` process, `standalone` (`master` = spark://…) or `emr_serverless`."""

    backend: Literal["local", "standalone", "emr_serverless"] = "local"
    master: str = "local[2]"
    driver_memory: str = "2g"
    emr_application_id: str | None = None
    emr_execution_role_arn: str | None = None
    emr_artifacts_uri: str | None = None


class Publish(Section):
    """What Postgres holds of bronze; no limit by default."""

    history_days: int | None = Field(default=None, ge=1)


class Dbt(Section):
    """How dbt runs."""

    threads: int = Field(default=2, ge=1)
    target: str = "local"


class Alerts(Section):
    """Where alerts go."""

    webhook_url: str | None = Field(default=None, repr=False)


class Logging(Section):
    """How much is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """All settings of one deployment."""

    profile: Literal["local", "dev", "staging", "prod"] = "local"
    home: Path
    aws: Aws = Aws()
    delta_lake: DeltaLake = DeltaLake()
    database: Database = Database()
    etl: Etl = Etl()
    orchestration: Orchestration = Orchestration()
    exchanges: dict[str, Exchange] = {"binance": BINANCE}
    symbol_aliases: dict[str, str] = {}
    clock: ClockSettings = ClockSettings()
    quality: Quality = Quality()
    spark: Spark = Spark()
    publish: Publish = Publish()
    dbt: Dbt = Dbt()
    alerts: Alerts = Alerts()
    logging: Logging = Logging()

    @property
    def lake_root(self) -> str:
        """The storage root: a folder's absolute path or an `s3://` prefix."""
        path = self.delta_lake.storage_path
        if not path:
            return str(self.home / "delta_lake")
        return path if "://" in path else str(Path(path).absolute())

    @property
    def dlq_folder(self) -> Path:
        """Where the DLQ's JSON files are written."""
        return self.home / "dlq"

    @property
    def logs_folder(self) -> Path:
        """Where the steps' logs and the data docs lie."""
        return self.home / "logs"


def load_settings(config_file: str | Path | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the file and the environment.

    Raises:
        ConfigError: unknown keys, wrong types, unset variables or an unreadable file; all of them in one text.
    """
    environ = os.environ if environ is None else environ
    path = _config_path(config_file, environ)
    problems: list[str] = []
    tree = _with_variables(_read_file(path), environ, problems, at="") if path else {}
    defaults = {"exchanges": {"binance": BINANCE.model_dump()}}
    tree = _merge(defaults, tree)
    for name, dotted in SHORT_VARIABLES.items():
        if environ.get(name):
            _put(tree, dotted.split("."), environ[name], name)
    for name in sorted(environ):
        if name.startswith(PREFIX):
            _put(tree, name.removeprefix(PREFIX).lower().split("__"), environ[name], name, problems=problems)
    tree["home"] = Path(environ.get("MARKETLAKE_HOME") or "data").absolute()
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += [_problem(item) for item in error.errors()]
    if problems:
        where = f"{path} and the environment" if path else "the environment"
        raise ConfigError("\n".join([f"{len(problems)} problem(s) in the settings ({where}):", *problems]))
    return settings


def _config_path(config_file: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    chosen = config_file or environ.get("CONFIG_FILE")
    if chosen:
        path = Path(chosen)
        if not path.is_file():
            raise ConfigError(f"CONFIG_FILE names {str(chosen)!r}, which is not a file; start from config/local.yaml")
        return path
    folder = Path(__file__).resolve().parents[2] / "config"
    return next((p for p in (folder / "config.local.yaml", folder / "local.yaml") if p.is_file()), None)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from None
    if not isinstance(tree, dict | None):
        raise ConfigError(f"{path} must hold sections like 'database:'; it holds {type(tree).__name__}")
    return tree or {}


def _with_variables(tree: Any, environ: Mapping[str, str], problems: list[str], *, at: str) -> Any:
    if isinstance(tree, dict):
        return {
            key: _with_variables(value, environ, problems, at=f"{at}.{key}" if at else str(key))
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [_with_variables(value, environ, problems, at=at) for value in tree]
    if not isinstance(tree, str):
        return tree
    for name in _VARIABLE.findall(tree):
        if name not in environ:
            problems.append(f"- {at}: the variable {name} is not set")
    return _VARIABLE.sub(lambda match: environ.get(match[1], ""), tree)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _put(tree: dict[str, Any], keys: list[str], text: str, variable: str, *, problems: list[str] | None = None) -> None:
    *sections, last = keys
    for key in sections:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            (problems if problems is not None else []).append(f"- {variable}: {key} is not a section")
            return
        tree = below
    tree[last] = _value(text)


def _value(text: str) -> Any:
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return None if text in ("", "null") else text


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] == "extra_forbidden":
        return f"- {where}: unknown key; look for a misspelling"
    given = "its value is not shown" if _SECRETS & set(item["loc"]) else f"was {item['input']!r}"
    return f"- {where}: {item['msg']}; {given}"
