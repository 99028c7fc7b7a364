"""Tests for `spark_jobs.lib.causes`: one line out of pages of stack traces."""

from __future__ import annotations

import errno

import pytest

from marketlake.errors import DataError
from spark_jobs.lib.causes import cause_of

JAVA = """An error occurred while calling o123.save.
: org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing rows to file:/lake/bronze/ohlcv.
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.taskFailedWhileWritingRowsError(QueryExecutionErrors.scala:774)
\tat java.base/java.lang.Thread.run(Thread.java:833)
Caused by: java.io.UncheckedIOException: closing
\tat org.apache.spark.sql.Something
Caused by: java.io.IOException: {inner}
\tat java.base/java.io.FileOutputStream.writeBytes(Native Method)
\t... 14 more
"""
PYTHON = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/lake/landed_rows.py", line 90, in typed_batches
    yield _typed(dataset, source, raw)
{inner}
"""


def test_our_own_error_is_told_as_it_is() -> None:
    assert cause_of(DataError("bronze.ohlcv holds load l1"), where="/lake") == "bronze.ohlcv holds load l1"


def test_of_a_java_error_the_innermost_cause_is_told_without_frames() -> None:
    error = RuntimeError(JAVA.format(inner="Mkdirs failed to create file:/lake/bronze/ohlcv/exchange=binance"))

    told = cause_of(error, where="/lake")

    assert told == "java.io.IOException: Mkdirs failed to create file:/lake/bronze/ohlcv/exchange=binance"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(JAVA.format(inner="No space left on device")),
        RuntimeError(PYTHON.format(inner="OSError: [Errno 28] No space left on device: '/tmp/spill'")),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_a_full_disk_says_where_and_what_to_do(error: Exception) -> None:
    told = cause_of(error, where="/lake")

    assert told.startswith("no space left on the disk of /lake: free some, then run the same command again")


def test_what_our_code_raised_in_an_executor_is_told_in_its_own_words() -> None:
    error = RuntimeError(PYTHON.format(inner="marketlake.errors.DataError: a.zip is held: row 24 has time x"))

    assert cause_of(error, where="/lake") == "a.zip is held: row 24 has time x"


def test_a_plain_error_keeps_its_name_and_first_line() -> None:
    assert cause_of(KeyError("x"), where="/lake") == "KeyError: 'x'"
    assert cause_of(ValueError("odd\nmore"), where="/lake") == "ValueError: odd"
