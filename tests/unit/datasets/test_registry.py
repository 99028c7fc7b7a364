"""Tests for ``marketlake.datasets``: what the registry declares must fit together."""

from __future__ import annotations

import duckdb
import pytest

from marketlake.datasets import DATASETS, OHLCV, Dataset, dataset_named
from marketlake.datasets.current import current_rows_sql
from marketlake.errors import UnknownNameError

each_dataset = pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)


@each_dataset
def test_keys_partitions_and_order_are_columns(dataset: Dataset) -> None:
    names = set(dataset.column_names)
    assert len(names) == len(dataset.columns)
    assert {*dataset.key, dataset.time_column, *dataset.partitioned_by, *dataset.sorted_by} <= names
    assert {"partition_date", "partition_asset_pair"} <= names


@each_dataset
def test_keys_and_provenance_stay_out_of_the_digest(dataset: Dataset) -> None:
    values = {column.name for column in dataset.value_columns}
    assert values
    assert not values & {*dataset.key, "source", "source_ref", "load_id", "received_at", "known_at", "revision"}


@each_dataset
def test_every_column_is_described(dataset: Dataset) -> None:
    assert all(column.doc.endswith(".") for column in dataset.columns)


def test_an_unknown_dataset_is_refused_with_the_list() -> None:
    with pytest.raises(UnknownNameError, match="dataset must be one of ohlcv, funding_rates; was 'ohclv'"):
        dataset_named("ohclv")


@pytest.mark.parametrize(
    ("rows", "current"),
    [
        pytest.param([("rest", 1, 0, False, "a"), ("archive", 0, 0, False, "b")], ["b"], id="best source first"),
        pytest.param([("rest", 1, 0, False, "a"), ("rest", 2, 1, False, "b")], ["b"], id="then the latest receipt"),
        pytest.param([("rest", 1, 0, False, "a"), ("rest", 1, 1, False, "b")], ["b"], id="then the highest revision"),
        pytest.param([("rest", 2, 1, False, "a"), ("rest", 1, 2, False, "b")], ["a"], id="receipt before revision"),
        pytest.param([("rest", 9, 0, False, "a"), ("archive", 1, 1, True, "b")], [], id="a retraction hides the key"),
    ],
)
def test_the_current_row_is_the_best_sources_newest(
    rows: list[tuple[str, int, int, bool, str]], current: list[str]
) -> None:
    values = ", ".join(
        f"('{s}', {received}, {revision}, {gone}, '{digest}')" for s, received, revision, gone, digest in rows
    )
    given = {"source", "received_at", "revision", "is_retracted", "digest"}
    others = ", ".join(f"'same' as {name}" for name in OHLCV.column_names if name not in given)
    relation = f"(select *, {others} from (values {values}) as t(source, received_at, revision, is_retracted, digest))"
    found = duckdb.sql(f"select digest from ({current_rows_sql(OHLCV, relation)})").fetchall()
    assert [row[0] for row in found] == current
