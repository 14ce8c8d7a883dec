"""Replay buffers of Dopamine, as in the DQN Replay Dataset: `$store$_observation_ckpt.N.gz` and the like.

A file holds a million frames; it is decompressed as it is read, and never as a whole in memory.
"""

import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.sources.arrays import BLOCK_BYTES, ArrayFile, ArraySource
from ghostpad.sources.base import IngestLog, Unit
from ghostpad.sources.npy import read_npy_blocks, read_npy_header

_NAME = re.compile(r"(\$store\$_)?([a-z_]+)_ckpt\.(\d+)\.gz")
_ARRAYS = ("observation", "action", "terminal")


class ReplayFile(ArrayFile):
    """The observations, actions and terminals of one checkpoint of a buffer."""

    def __init__(self, path: Path) -> None:
        """Read the headers; errors as for `read_npy_header`."""
        name = _NAME.fullmatch(path.name)
        assert name is not None
        files = {array: path.with_name(f"$store$_{array}_ckpt.{name[3]}.gz") for array in _ARRAYS}
        self._files = {array: file for array, file in files.items() if file.is_file()}
        self.attributes, self.shapes = {}, {}
        for array, file in self._files.items():
            with gzip.open(file) as stream:
                shape, _, dtype = read_npy_header(stream)  # type: ignore[arg-type]
            self.shapes[array] = shape, dtype

    def blocks(self, key: str) -> Iterator[np.ndarray]:
        """An array from its file."""
        with gzip.open(self._files[key]) as stream:
            yield from read_npy_blocks(stream, BLOCK_BYTES)  # type: ignore[arg-type]

    def close(self) -> None:
        """Nothing to close: files are open only while they are read."""


class DqnReplay(ArraySource):
    """A folder of checkpoints of a replay buffer."""

    name = "DQN replay"
    layout = "a folder (`replay_logs`) with `$store$_observation_ckpt.N.gz`, `…action…` and `…terminal…`"
    becomes = "an episode between terminals, and its actions"
    options = ("scene_cut", "fps", "episode_seconds")
    rank = 0
    opener = ReplayFile
    suffixes = (".gz",)

    def recognizes(self, path: Path) -> bool:
        """Whether `path` is a file of a buffer."""
        return _NAME.fullmatch(path.name) is not None

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """A unit for a file of observations; the files beside it hold no frames."""
        name = _NAME.fullmatch(path.name)
        is_observation = name is not None and name[2] == "observation"
        return super().list_units(path, options, log) if is_observation else []
