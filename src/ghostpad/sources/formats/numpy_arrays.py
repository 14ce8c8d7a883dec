"""NumPy files: `.npz`, a single `.npy`, or a folder with `frames.npy` and `actions.npy`."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ghostpad.sources.array_keys import is_frames_name, plain_name
from ghostpad.sources.arrays import BLOCK_BYTES, ArrayFile, ArraySource
from ghostpad.sources.base import BadInput
from ghostpad.sources.npy import read_npy_blocks, read_npy_header


class NumpyFile(ArrayFile):
    """The arrays of a `.npz`, a `.npy`, or the `.npy` files of a folder."""

    def __init__(self, path: Path) -> None:
        """Read the headers of all arrays; errors as for `read_npy_header`."""
        self._zip = zipfile.ZipFile(path) if path.suffix.lower() == ".npz" else None
        self._files: dict[str, Path] = {}
        if self._zip:
            keys = [name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")]
        else:
            files = path.glob("*.npy") if path.is_dir() else [path]
            self._files = {file.stem: file for file in sorted(files)}
            keys = list(self._files)
        self.attributes, self.shapes = {}, {}
        unread = []
        for key in keys:
            with self._open(key) as file:
                try:
                    shape, _, dtype = read_npy_header(file)
                except BadInput as bad:
                    unread.append((key, bad))
                    continue
            self.shapes[key] = shape, dtype
            if plain_name(key) == "fps" and not shape:
                self.attributes["fps"] = self.read(key).item()
        if unread and not any(len(shape) > 2 for shape, _ in self.shapes.values()):
            raise BadInput(f"{unread[0][1]} ({unread[0][0]})")

    def _open(self, key: str) -> IO[bytes]:
        return self._zip.open(f"{key}.npy") if self._zip else self._files[key].open("rb")

    def blocks(self, key: str) -> Iterator[np.ndarray]:
        """An array from its file or from the archive, which may be compressed."""
        with self._open(key) as file:
            yield from read_npy_blocks(file, BLOCK_BYTES)

    def read(self, key: str) -> np.ndarray:
        """A whole array, also a single number."""
        with self._open(key) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def close(self) -> None:
        """Close the archive."""
        if self._zip:
            self._zip.close()


class NumpyArrays(ArraySource):
    """NumPy files of frames."""

    name = "NumPy files"
    layout = "`.npz` or `.npy` files, or folders with `frames.npy` and `actions.npy`"
    becomes = "an episode per file, or several by done flags, ids or lengths; actions become controls"
    suffixes = (".npz", ".npy")
    opener = NumpyFile

    def recognizes(self, path: Path) -> bool:
        """Whether `path` is a NumPy file, or a folder with an array named like frames."""
        if path.is_dir():
            return any(is_frames_name(file.stem) for file in path.glob("*.npy"))
        return super().recognizes(path)
