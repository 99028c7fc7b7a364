"""The yardstick: start a Spark session as every job does, count to ten, and end."""

from __future__ import annotations

from marketlake.settings import load_settings
from spark_jobs.lib.session import build_session

if __name__ == "__main__":
    session = build_session("bare start", load_settings())
    assert session.range(10).count() == 10
    session.stop()
