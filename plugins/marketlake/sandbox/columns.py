"""NumPy integers as Arrow columns and back, by their buffers.

`pa.array`, `pa.scalar` and `to_numpy` import pandas where it is installed, which doubles the time of a start.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.sandbox.noise import Ints


def integers(values: Ints) -> Any:
    """Return an int64 array over the same memory."""
    whole = np.ascontiguousarray(values, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def numbers(column: Any) -> Ints:
    """Return the values of an int64 column without nulls."""
    parts = [np.frombuffer(part.buffers()[1], dtype=np.int64)[part.offset :][: len(part)] for part in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def integer_texts(values: Ints) -> Any:
    """Return whole numbers as texts."""
    return pc.cast(integers(values), pa.string())


def text(value: str) -> Any:
    """Return a string scalar."""
    encoded = value.encode()
    ends = np.array([0, len(encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(ends), pa.py_buffer(encoded)])[0]


def repeated(value: str, count: int) -> Any:
    """Return a string column that says the same in every row."""
    return pa.repeat(text(value), count)


def joined(columns: list[Any], separator: str) -> Any:
    """Return the rows' texts with a separator between them."""
    return pc.binary_join_element_wise(*columns, text(separator))


def chosen(values: Any, no: str, yes: str) -> Any:
    """Return `yes` where a value is true, `no` elsewhere."""
    both = pa.concat_arrays([repeated(no, 1), repeated(yes, 1)])
    return both.take(integers(values.astype(np.int64)))
