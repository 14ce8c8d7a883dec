"""Labels as training data: (frame, codes, next_frame), for the world model and whatever else comes after.

Dimensions: k transitions of a window, C colour channels, H W frame, h w grid.
"""

import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ghostpad.errors import UserError
from ghostpad.frames.splits import SPLITS
from ghostpad.frames.store import FrameStore, luma
from ghostpad.labels.folder import Labels
from ghostpad.labels.format import Shard

# Codes of this many shards stay in memory: up to 65,536 transitions each, a few MB.
_SHARDS_KEPT = 256
_GROUPS_KEPT = 8


class LatentActionDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Transitions with their latent actions.

    `dataset[i]` gives `(frame, codes, next_frame)`: frames float32 (C, H, W) in [0, 1], codes int64 (h, w).
    With `window=k`, i stands for k consecutive transitions of one episode and each gets a leading dimension
    k: `next_frame[j]` is `frame[j + 1]`.

    May be used from the workers of a `DataLoader`, however they are started: every process opens its own
    files.
    """

    def __init__(
        self,
        labels: str | Path,
        split: str | None = None,
        window: int = 1,
        step: int = 1,
        grayscale: bool | None = None,
        store: str | Path | None = None,
    ) -> None:
        """Open the labels in the folder `labels`.

        Args:
            labels: folder written by `ghostpad extract`.
            split: `train`, `validation` or `test`; None for all episodes.
            window: transitions per item.
            step: transitions from the start of one window to the start of the next; `window` makes them
                disjoint.
            grayscale: one channel instead of three; None for what the model saw.
            store: frame store, when it has moved; needed by none with frames in the labels.

        Raises:
            UserError: the labels are missing or incomplete, their store has moved or changed, or there is no
                such window.
        """
        self.labels = Labels.open(Path(labels))
        self.window = window
        self.grayscale = self.labels.origin.grayscale if grayscale is None else grayscale
        if split is not None and split not in SPLITS:
            raise UserError(f"split {split!r}: use {', '.join(SPLITS)}, or None for all")
        if window < 1 or step < 1:
            raise UserError(f"window {window} and step {step} must be at least 1")
        self._store_path: Path | None = None
        if not self.labels.origin.with_frames:
            self._store_path = self._find_store(store).path.resolve()
        self.episode_index, self.frame_index = self._windows(split, step)
        self._reader: _Reader | None = None

    def _find_store(self, given: str | Path | None) -> FrameStore:
        if given is None:
            return self.labels.open_store()
        return self.labels.check_store(FrameStore.open(Path(given)))

    def _windows(self, split: str | None, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return episode and first frame of every window, both int32."""
        reach = (self.window - 1) * self.labels.origin.stride
        episodes = self.labels.content["episodes"]
        chosen = [i for i, episode in enumerate(episodes) if split in (None, episode["split"])]
        starts = [np.arange(0, max(0, episodes[i]["num_transitions"] - reach), step) for i in chosen]
        if not sum(map(len, starts)):
            where = f"the {split} episodes" if split else "any episode"
            raise UserError(f"{self.labels.path}: no window of {self.window} transitions in {where}")
        counts = [len(start) for start in starts]
        return np.repeat(np.array(chosen, np.int32), counts), np.concatenate(starts).astype(np.int32)

    def __len__(self) -> int:
        return len(self.frame_index)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read window `index`."""
        index = range(len(self))[index]
        episode = int(self.episode_index[index])
        first = int(self.frame_index[index])
        indices = first + self.labels.origin.stride * np.arange(self.window + 1)
        reader = self._reader_of_this_process()
        frames = torch.from_numpy(reader.frames(episode, indices, self.grayscale))
        codes = torch.from_numpy(reader.codes(episode, indices[:-1]).astype(np.int64))
        if self.window == 1:
            return frames[0], codes[0], frames[1]
        return frames[:-1], codes, frames[1:]

    def _reader_of_this_process(self) -> "_Reader":
        if self._reader is None or self._reader.process != os.getpid():
            self._reader = _Reader(self.labels, self._store_path)
        return self._reader

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind when sent to another process."""
        return {**vars(self), "_reader": None}


class _Reader:
    """The open files of one process."""

    def __init__(self, labels: Labels, store_path: Path | None) -> None:
        self.process = os.getpid()
        self.labels = labels
        self.store = None if store_path is None else FrameStore.open(store_path)
        counts = [episode["num_transitions"] for episode in labels.content["episodes"]]
        self.first_rows = np.concatenate([[0], np.cumsum(counts)])
        self.shard_ends = np.array([shard.end_episode for shard in labels.shards])
        self.read_codes = lru_cache(_SHARDS_KEPT)(labels.codes)
        self.open_file = lru_cache(_SHARDS_KEPT)(self._open_file)
        self.read_group = lru_cache(_GROUPS_KEPT)(self._read_group)

    def codes(self, episode: int, frames_k: np.ndarray) -> np.ndarray:
        """Codes (k, h, w) of the transitions that start at `frames_k`."""
        shard, rows = self._rows(episode, frames_k)
        return self.read_codes(shard)[rows]

    def frames(self, episode: int, frames_k: np.ndarray, grayscale: bool) -> np.ndarray:
        """Frames (k, C, H, W) float32 in [0, 1], the last of which may have no transition of its own."""
        if self.store is not None:
            if len(frames_k) == 2:
                return self.store.read_pair(episode, int(frames_k[0]), int(frames_k[1]), grayscale)
            return self.store.read(episode, frames_k, grayscale) / np.float32(255)
        shard, rows = self._rows(episode, frames_k[:-1])
        pngs = [self._png(shard, int(row), "frame") for row in rows]
        pngs.append(self._png(shard, int(rows[-1]), "next_frame"))
        return np.stack([_decoded(png, grayscale) for png in pngs]) / np.float32(255)

    def _rows(self, episode: int, frames_k: np.ndarray) -> tuple[Shard, np.ndarray]:
        shard = self.labels.shards[int(np.searchsorted(self.shard_ends, episode, side="right"))]
        return shard, self.first_rows[episode] - self.first_rows[shard.first_episode] + frames_k

    def _png(self, shard: Shard, row: int, column: str) -> bytes:
        _, starts = self.open_file(shard)
        group = int(np.searchsorted(starts, row, side="right")) - 1
        return self.read_group(shard, group)[column][row - int(starts[group])].as_py()

    def _open_file(self, shard: Shard) -> tuple[pq.ParquetFile, np.ndarray]:
        """Return the file of a shard and the first row of each of its row groups."""
        file = pq.ParquetFile(self.labels.path / shard.file_name)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        return file, np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def _read_group(self, shard: Shard, group: int) -> pa.Table:
        file, _ = self.open_file(shard)
        # Threads of the parent do not survive a fork.
        return file.read_row_group(group, columns=["frame", "next_frame"], use_threads=False)


def _decoded(png: bytes, grayscale: bool) -> np.ndarray:
    """Decompress a PNG to (C, H, W) uint8."""
    with Image.open(io.BytesIO(png)) as image:
        rgb = np.asarray(image.convert("RGB"))
    return luma(rgb)[None] if grayscale else rgb.transpose(2, 0, 1)
