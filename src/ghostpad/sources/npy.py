"""Arrays in NumPy's own format, read from any stream a few rows at a time; pickled objects are refused."""

from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from ghostpad.sources.base import BadInput


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type; BadInput for Python objects, ValueError for no array."""
    version = npy_format.read_magic(file)  # type: ignore[arg-type]
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, by_columns, dtype = read(file)  # type: ignore[arg-type]
    if dtype.hasobject:
        raise BadInput("holds pickled Python objects, which are never loaded; save plain arrays instead")
    return shape, by_columns, dtype


def read_npy_blocks(file: IO[bytes], num_bytes: int) -> Iterator[np.ndarray]:
    """An array in blocks of about `num_bytes`; BadInput if it ends early or holds Python objects."""
    shape, by_columns, dtype = read_npy_header(file)
    row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    total = shape[0] if shape else 1
    rows = total if by_columns or not shape else max(2, num_bytes // max(1, row))
    for start in range(0, total, max(1, rows)):
        count = min(rows, total - start)
        data = file.read(count * row)
        if len(data) < count * row:
            raise BadInput(f"ends after {start + len(data) // max(1, row)} of {total} rows")
        values = np.frombuffer(data, dtype)
        yield values.reshape(shape, order="F") if by_columns else values.reshape(count, *shape[1:])
