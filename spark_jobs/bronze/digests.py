"""A row's digest: `v1:` and 32 hex digits over its values by name, nulls left out. Equal digests are equal values.

Decimals are written without zeros at their end, instants as microseconds since 1970, cut to milliseconds: archives and
REST state the same instant in different units. Runs inside Spark's executors, on whole columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.datasets import Column, ColumnType, Dataset

VERSION = "v1:"
_BYTES = 16
_LENGTH = len(VERSION) + 2 * _BYTES


def digests(dataset: Dataset, columns: Mapping[str, pa.Array], written: Mapping[str, pa.Array]) -> pa.Array:
    """Return the digests of typed columns; `written` has the decimals among them as their shortest text."""
    parts: list[pa.Array | str] = []
    for column in dataset.value_columns:
        text = written[column.name] if column.name in written else _written(column, columns[column.name])
        name = f"|{column.name}="
        if text.null_count:
            parts.append(pc.fill_null(pc.binary_join_element_wise(name, text, ""), ""))
        else:
            parts += [name, text]
    # The separator before the first value that is there.
    if isinstance(parts[0], str):
        return _hashed(pc.binary_join_element_wise(parts[0][1:], *parts[1:], ""))
    return _hashed(pc.binary_replace_slice(pc.binary_join_element_wise(*parts, ""), 0, 1, ""))


def _written(column: Column, values: pa.Array) -> pa.Array:
    if column.type is ColumnType.INSTANT:
        counts = values.cast(pa.int64())
        microseconds = np.asarray(pc.fill_null(counts, 0)) // 1_000 * 1_000
        return pc.if_else(pc.is_valid(counts), pa.array(microseconds), None).cast(pa.string())
    return values.cast(pa.string())


def _hashed(texts: pa.Array) -> pa.Array:
    if not len(texts):
        return pa.array([], pa.string())
    sums = b"".join([sha256(text).digest() for text in texts.cast(pa.binary()).to_pylist()])
    kept = np.frombuffer(sums, dtype=np.uint8).reshape(len(texts), -1)[:, :_BYTES]
    letters = np.empty((len(texts), _LENGTH), dtype=np.uint8)
    letters[:, : len(VERSION)] = np.frombuffer(VERSION.encode(), dtype=np.uint8)
    letters[:, len(VERSION) :] = np.frombuffer(kept.tobytes().hex().encode(), dtype=np.uint8).reshape(len(texts), -1)
    offsets = np.arange(0, letters.size + 1, _LENGTH, dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(letters))
