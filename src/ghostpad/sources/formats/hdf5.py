"""HDF5 files of any layout: a group per trajectory, or arrays of many episodes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.sources.arrays import ArrayFile, ArraySource
from ghostpad.sources.base import import_reader


class Hdf5File(ArrayFile):
    """The arrays of an HDF5 file; links to other files are left alone."""

    def __init__(self, path: Path) -> None:
        """List all arrays; a UserError if h5py is missing."""
        self._file = import_reader("h5py", path).File(path, "r")
        self.attributes, self.shapes = dict(self._file.attrs), {}
        self._file.visititems(self._list)

    def _list(self, key: str, node: Any) -> None:
        if hasattr(node, "shape") and node.shape is not None:
            self.shapes[key] = tuple(node.shape), node.dtype

    def blocks(self, key: str) -> Iterator[np.ndarray]:
        """An array, several of its chunks at a time."""
        node = self._file[key]
        rows, chunk = self.rows_at_once(key), node.chunks[0] if node.chunks else 1
        rows = max(chunk, rows // chunk * chunk)
        for start in range(0, len(node), rows):
            yield node[start : start + rows]

    def read(self, key: str) -> np.ndarray:
        """A whole array, also a single number."""
        return np.asarray(self._file[key][()])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Hdf5Arrays(ArraySource):
    """HDF5 files of frames."""

    name = "HDF5 files"
    layout = "`.hdf5`, `.h5` or `.hdf` files: a group per trajectory (robomimic), or arrays of all frames"
    becomes = "an episode per trajectory, or several by done flags, ids or lengths; actions become controls"
    needs = "h5py"
    suffixes = (".hdf5", ".h5", ".hdf")
    opener = Hdf5File
