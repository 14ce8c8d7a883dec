"""Random access to labels and their frames, for one process.

Dimensions: n frames or transitions asked for, C colour channels, H W frame, h w grid.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.frames.store import FrameStore
from ghostpad.labels.folder import Labels
from ghostpad.labels.format import Shard
from ghostpad.labels.png import to_rgb
from ghostpad.luma import luma

# Codes of this many shards stay in memory: up to 65,536 transitions each, a few MB.
_SHARDS_KEPT = 256
_GROUPS_KEPT = 8


class LabelReader:
    """Open files, which must not be shared with another process: look at `process`."""

    def __init__(self, labels: Labels, store_path: Path | None) -> None:
        """Read frames from the store at `store_path`, or, when it is None, from the labels themselves."""
        self.process = os.getpid()
        self.labels = labels
        self.store = None if store_path is None else FrameStore.open(store_path)
        self.lengths = np.array([episode["num_transitions"] for episode in labels.content["episodes"]])
        self.first_rows = np.concatenate([[0], np.cumsum(self.lengths)])
        self.shard_ends = np.array([shard.end_episode for shard in labels.shards])
        self._read_codes = lru_cache(_SHARDS_KEPT)(labels.codes)
        self._read_controls = lru_cache(1)(labels.controls)
        self._open = lru_cache(_SHARDS_KEPT)(self._open_file)
        self._group = lru_cache(_GROUPS_KEPT)(self._read_group)

    def codes(self, episode: int, frames_n: np.ndarray) -> np.ndarray:
        """Codes (n, h, w) of the transitions of an episode that start at `frames_n`."""
        shard, first_row = self._place(episode)
        return self._read_codes(shard)[first_row + frames_n]

    def controls(self, episode: int) -> np.ndarray:
        """Controls (T,) of all transitions of an episode, −1 where nobody recorded them."""
        shard, first_row = self._place(episode)
        return self._read_controls(shard)[first_row : first_row + self.lengths[episode]]

    def frames(self, episode: int, frames_n: np.ndarray, grayscale: bool) -> np.ndarray:
        """Frames (n, C, H, W) uint8 of an episode; may be read-only."""
        if self.store is not None:
            return self.store.read(episode, frames_n, grayscale)
        rgb_nHWC = np.stack([to_rgb(self._png(episode, int(frame))) for frame in frames_n])
        return luma(rgb_nHWC)[:, None] if grayscale else rgb_nHWC.transpose(0, 3, 1, 2)

    def pair(self, episode: int, frame: int, grayscale: bool) -> np.ndarray:
        """A frame and its next frame as float32 (2, C, H, W) in [0, 1]."""
        next_frame = frame + self.labels.origin.stride
        if self.store is not None:
            return self.store.read_pair(episode, frame, next_frame, grayscale)
        return self.frames(episode, np.array([frame, next_frame]), grayscale) / np.float32(255)

    def _place(self, episode: int) -> tuple[Shard, int]:
        """Return the shard of an episode and its first row there."""
        shard = self.labels.shards[int(np.searchsorted(self.shard_ends, episode, side="right"))]
        return shard, int(self.first_rows[episode] - self.first_rows[shard.first_episode])

    def _png(self, episode: int, frame: int) -> bytes:
        shard, row = self._place(episode)
        column = "frame"
        if frame >= self.lengths[episode]:
            # The last frames start no transition: they are next frames only.
            column, frame = "next_frame", frame - self.labels.origin.stride
        _, starts = self._open(shard)
        group = int(np.searchsorted(starts, row + frame, side="right")) - 1
        return self._group(shard, group)[column][row + frame - int(starts[group])].as_py()

    def _open_file(self, shard: Shard) -> tuple[pq.ParquetFile, np.ndarray]:
        """Return the file of a shard and the first row of each of its row groups."""
        file = pq.ParquetFile(self.labels.path / shard.file_name)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        return file, np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def _read_group(self, shard: Shard, group: int) -> pa.Table:
        file, _ = self._open(shard)
        # Threads of the parent do not survive a fork.
        return file.read_row_group(group, columns=["frame", "next_frame"], use_threads=False)
