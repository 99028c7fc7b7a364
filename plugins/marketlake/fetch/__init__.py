"""The fetch step: a run's tasks of one exchange and dataset → landed files and one sealed manifest."""

from __future__ import annotations

from marketlake.fetch.step import fetch
from marketlake.fetch.summary import FetchSummary

__all__ = ["FetchSummary", "fetch"]
