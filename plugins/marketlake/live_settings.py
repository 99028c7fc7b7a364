"""Settings of the live feeds, their health endpoints and the data vendors, whose parts come later.

They stand here already so that one settings file and one set of variables serve the whole deployment.
"""

from __future__ import annotations

from pydantic import Field

from marketlake.setting_types import HttpAddress, Port, Section


class Streaming(Section):
    """Live feeds and their sinks: names, batches, patience."""

    data_stream: str = "bitcoin-market-data"
    heartbeat_stream: str = "ingestor-heartbeat"
    batch_records: int = Field(default=500, ge=1)
    flush_seconds: float = Field(default=1.0, gt=0)
    retry_attempts: int = Field(default=5, ge=1)
    retry_base_seconds: float = Field(default=0.1, ge=0)
    breaker_failures: int = Field(default=5, ge=1)
    breaker_open_seconds: float = Field(default=30.0, gt=0)
    reconnect_max_delay_s: float = Field(default=60.0, gt=0)
    feeder_reconnect_max_delay_s: float = Field(default=8.0, gt=0)
    channel_items: int = Field(default=1_000, ge=1)
    gap_threshold_seconds: float = Field(default=70.0, gt=0)
    gap_handler_url: HttpAddress | None = None
    feature_update_seconds: float = Field(default=60.0, gt=0)


class Health(Section):
    """Ports and intervals of the live services' health endpoints."""

    feeder_port: Port = 8080
    ingestor_port: Port = 8081
    connector_port: Port = 8083
    gap_handler_port: Port = 8084
    heartbeat_seconds: float = Field(default=30.0, gt=0)
    degraded_after_seconds: float = Field(default=70.0, gt=0)
    unhealthy_after_seconds: float = Field(default=300.0, gt=0)


class Vendors(Section):
    """Keys of data vendors; from the environment alone."""

    alpha_vantage_api_key: str | None = Field(default=None, repr=False)
    oanda_api_key: str | None = Field(default=None, repr=False)
