"""The one file that Airflow's plugin scanner executes; the plugin itself is in `marketlake_airflow`."""

from __future__ import annotations

from marketlake_airflow.plugin import MarketlakePlugin

__all__ = ["MarketlakePlugin"]
