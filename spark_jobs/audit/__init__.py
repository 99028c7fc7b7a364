"""The judgement of typed rows before anything is committed."""

from __future__ import annotations

from spark_jobs.audit.judge import Judgement, import_audit, judge

__all__ = ["Judgement", "import_audit", "judge"]
