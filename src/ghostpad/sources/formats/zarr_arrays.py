"""Zarr folders and `.zarr.zip` files, as diffusion policies are trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ghostpad.sources.arrays import ArrayFile, ArraySource
from ghostpad.sources.base import import_reader

_METADATA = (".zgroup", ".zarray", "zarr.json")


class ZarrFile(ArrayFile):
    """The arrays of a Zarr hierarchy."""

    def __init__(self, path: Path) -> None:
        """List all arrays; a UserError if zarr is missing."""
        zarr = import_reader("zarr", path)
        self._store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else None
        root = zarr.open(self._store or str(path), mode="r")
        nodes = {"frames": root} if isinstance(root, zarr.Array) else dict(root.members(max_depth=None))
        self._arrays = {key: node for key, node in nodes.items() if isinstance(node, zarr.Array)}
        self.attributes = dict(root.attrs)
        self.shapes = {key: (array.shape, np.dtype(array.dtype)) for key, array in self._arrays.items()}

    def blocks(self, key: str) -> Iterator[np.ndarray]:
        """An array, several of its chunks at a time."""
        array = self._arrays[key]
        rows = max(array.chunks[0], self.rows_at_once(key) // array.chunks[0] * array.chunks[0])
        for start in range(0, array.shape[0], rows):
            yield np.asarray(array[start : start + rows])

    def read(self, key: str) -> np.ndarray:
        """A whole array."""
        return np.asarray(self._arrays[key][...])

    def close(self) -> None:
        """Close the archive."""
        if self._store is not None:
            self._store.close()


class ZarrArrays(ArraySource):
    """Zarr hierarchies of frames."""

    name = "Zarr"
    layout = (
        "a `.zarr` folder or `.zarr.zip` file: `data/img`, `data/action`, `meta/episode_ends`; or as HDF5"
    )
    becomes = "an episode per trajectory, or several by `episode_ends`, flags or ids; actions become controls"
    needs = "zarr"
    rank = 0
    suffixes = (".zarr.zip",)
    opener = ZarrFile

    def recognizes(self, path: Path) -> bool:
        """Whether `path` is a folder with the metadata of Zarr, or a zip named so."""
        return any((path / name).is_file() for name in _METADATA) or super().recognizes(path)
