"""Query the lake through DuckDB, without Spark and without network.

Views: raw_market_data_1m … raw_market_data_1d and raw_funding_rates show current rows; bronze.ohlcv and
bronze.funding_rates every revision; bronze.*_dlq and control.* what their names say. The macros ohlcv_as_of(ts) and
funding_rates_as_of(ts) show what was known at an instant. Filter on symbol and open_time, or on partition_asset_pair
and partition_date, to read little.

Examples:
  marketlake sql "select * from raw_market_data_1h where symbol = 'BTC/USDT' order by open_time desc limit 5"
  marketlake sql "select close from ohlcv_as_of('2025-02-01') where symbol = 'BTC/USDT' and timeframe = '1d'" --json
  marketlake sql - < query.sql
"""

from __future__ import annotations

import argparse
import sys

from marketlake.cli.output import Output
from marketlake.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("query", help="one query; - reads it from standard input")


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print the rows: with --json a list of objects, decimals as exact text."""
    from marketlake.lake.sql import run_query

    query = sys.stdin.read() if arguments.query == "-" else arguments.query
    rows = run_query(load_settings().lake_root, query)
    if out.as_json:
        out.document(rows.to_pylist())
        return 0
    out.table("", rows.column_names, (list(row.values()) for row in rows.to_pylist()))
    out.say(f"{len(rows):,} row(s)")
    return 0
