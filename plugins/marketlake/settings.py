"""Settings: typed, frozen, validated at start. Precedence: environment > file > default.

`load_settings` reads one YAML file (`CONFIG_FILE`, default `config/local.yaml` where it exists), replaces `${NAME}`
from the environment, applies the short variables of `SHORT_VARIABLES` and then `MARKETLAKE__SECTION__KEY`, and reports
every problem at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from marketlake.errors import ConfigError
from marketlake.live_settings import Health, Streaming, Vendors
from marketlake.setting_types import (
    Fraction,
    HttpAddress,
    InstantText,
    Length,
    LowerCase,
    OptionalHttpAddress,
    OptionalStreamAddress,
    Section,
    Timeframe,
)
from marketlake.settings_tree import config_path, lay_over, put_variables, read_file

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
    "FEEDER_PORT": "health.feeder_port",
    "FEATURE_UPDATE_INTERVAL": "streaming.feature_update_seconds",
    "GAP_DETECTION_THRESHOLD": "streaming.gap_threshold_seconds",
    "GAP_HANDLER_URL": "streaming.gap_handler_url",
    "ALPHA_VANTAGE_API_KEY": "vendors.alpha_vantage_api_key",
    "OANDA_API_KEY": "vendors.oanda_api_key",
}
# Never shown: neither in a problem's text nor where settings are printed.
_SECRETS = frozenset({"password", "reader_password", "webhook_url", "alpha_vantage_api_key", "oanda_api_key"})
_LOCAL_MASTER = re.compile(r"local(\[[^\]]+\])?")


class Aws(Section):
    """Where the cloud's services are."""

    region: str = "us-east-1"
    s3_bucket: str = "bitcoin-data-lake"
    endpoint_url: HttpAddress | None = None


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
    processing_interval: Length = "1h"
    silver_layer_retention_days: int | None = Field(default=None, ge=1)
    gold_layer_retention_days: int | None = Field(default=None, ge=1)
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
    trades: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")


class Exchange(Section):
    """One exchange: where it is, what is kept of it, how hard it may be asked.

    `coinm_rest_url`, `ws_url` and `fallback_enabled` are read by parts that are not there yet. `priority`, 1 for the
    best, is read by nothing: while one exchange delivers, a candle has one candidate. Of several, silver takes the
    first in the list of the quote asset, `exchange_priority` in `dbt_project.yml` (ING-19).
    """

    enabled: bool = True
    rest_url: HttpAddress
    futures_rest_url: OptionalHttpAddress = ""
    coinm_rest_url: OptionalHttpAddress = ""
    archive_url: OptionalHttpAddress = ""
    ws_url: OptionalStreamAddress = ""
    symbols: Symbols = Symbols()
    timeframes: tuple[Timeframe, ...] = ("1m", "5m", "15m", "1h", "4h", "1d")
    priority: int = 1
    fallback_enabled: bool = False
    weight_ceiling: Fraction = 0.8
    archive_workers: int = Field(default=8, ge=1, le=64)
    request_timeout_seconds: float = Field(default=30.0, gt=0)
    retry_base_seconds: float = Field(default=1.0, ge=0)
    first_instant: InstantText = "2017-08-17"


BINANCE = Exchange(
    rest_url="https://api.binance.com",
    futures_rest_url="https://fapi.binance.com",
    coinm_rest_url="https://dapi.binance.com",
    archive_url="https://data.binance.vision",
    ws_url="wss://stream.binance.com:9443/ws",
)


class PriceBound(Section):
    """Prices of one symbol outside (low, high) are rejected from `valid_from` on."""

    symbol: str
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    valid_from: InstantText = "2009-01-03"
    valid_to: InstantText | None = None


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
    master: str = Field(default="local[2]", validate_default=True)
    driver_memory: str = "2g"
    emr_application_id: str | None = None
    emr_execution_role_arn: str | None = None
    emr_artifacts_uri: str | None = None

    @field_validator("master")
    @classmethod
    def _fits_the_backend(cls, master: str, info: ValidationInfo) -> str:
        backend = info.data.get("backend")
        if backend == "standalone" and not master.startswith("spark://"):
            raise ValueError("must be spark://host:port where spark.backend is standalone")
        if backend == "local" and not _LOCAL_MASTER.fullmatch(master):
            raise ValueError("must be local or local[cores] where spark.backend is local; a cluster's is standalone")
        return master


class Publish(Section):
    """What Postgres holds of bronze; no limit by default."""

    history_days: int | None = Field(default=None, ge=1)


class Dbt(Section):
    """How dbt runs."""

    threads: int = Field(default=2, ge=1)
    target: str = "local"


class Alerts(Section):
    """Where alerts go."""

    webhook_url: HttpAddress | None = Field(default=None, repr=False)


class Logging(Section):
    """How much is said on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], LowerCase] = "info"


class Settings(Section):
    """All settings of one deployment."""

    profile: Literal["local", "dev", "staging", "prod"] = "local"
    home: Path
    aws: Aws = Aws()
    delta_lake: DeltaLake = DeltaLake()
    database: Database = Database()
    etl: Etl = Etl()
    orchestration: Orchestration = Orchestration()
    exchanges: dict[str, Exchange] = Field(default={"binance": BINANCE})
    symbol_aliases: dict[str, str] = Field(default={})
    clock: ClockSettings = ClockSettings()
    quality: Quality = Quality()
    spark: Spark = Spark()
    publish: Publish = Publish()
    dbt: Dbt = Dbt()
    alerts: Alerts = Alerts()
    streaming: Streaming = Streaming()
    health: Health = Health()
    vendors: Vendors = Vendors()
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
    path = config_path(config_file, environ)
    problems: list[str] = []
    tree: dict[str, Any] = {"exchanges": {"binance": BINANCE.model_dump()}}
    if path:
        tree = lay_over(tree, read_file(path, environ, problems))
    put_variables(tree, environ, SHORT_VARIABLES, problems)
    if "home" in tree:
        # What runs before the settings are read, such as bin/marketlake, has to know the home too.
        problems.append("- home: is set by the variable MARKETLAKE_HOME alone; take it out here")
    tree["home"] = Path(environ.get("MARKETLAKE_HOME") or "data").absolute()
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += [_problem(item) for item in error.errors()]
    if problems:
        where = f"{path} and the environment" if path else "the environment"
        raise ConfigError("\n".join([f"{len(problems)} problem(s) in the settings ({where}):", *problems]))
    return settings


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] == "extra_forbidden":
        return f"- {where}: unknown key; look for a misspelling"
    said = item["msg"].removeprefix("Value error, ")
    if _SECRETS & set(item["loc"]):
        return f"- {where}: {said}; its value is not shown"
    given = repr(item["input"])
    return f"- {where}: {said}" if given in said else f"- {where}: {said}; was {given}"
