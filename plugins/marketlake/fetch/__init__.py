"""The fetch step: a run's tasks of one exchange and dataset → landed files and one sealed manifest."""

from __future__ import annotations

from marketlake.fetch.step import FetchSummary, fetch

__all__ = ["FetchSummary", "fetch"]
