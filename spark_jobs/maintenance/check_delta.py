"""Write three rows to a Delta table and read them back: what `marketlake doctor` asks of Spark."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from marketlake.settings import load_settings
from spark_jobs.lib.session import build_session

ROWS = 3


def run(path: str) -> None:
    """Append to the table at `path` and raise when what is read back differs."""
    spark = build_session("doctor", load_settings())
    spark.range(ROWS).write.format("delta").mode("append").save(path)
    found = spark.read.format("delta").load(path).count()
    if found != ROWS:
        raise RuntimeError(f"wrote {ROWS} rows to {path} and read {found}")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="of a table that does not exist yet")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv).path)


if __name__ == "__main__":
    main()
