"""Labels as training data: (frame, codes, next_frame), for world models and other downstream training.

Dimensions: k transitions of a window, n frames or transitions, C colour channels, H W frame, h w grid.
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
from ghostpad.frames.store import FrameStore
from ghostpad.labels.folder import Labels
from ghostpad.labels.shards import Shard
from ghostpad.luma import to_channels

# Codes of this many shards stay in memory: up to 65,536 transitions each, a few MB.
_SHARDS_KEPT = 256
_GROUPS_KEPT = 8


class LatentActionDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Transitions with their latent actions.

    `dataset[i]` gives `(frame, codes, next_frame)`: frames float32 (C, H, W) in [0, 1], codes int64 (h, w).
    With `window=k`, i stands for k consecutive transitions of one episode and each tensor gets a leading
    dimension k: `next_frame[j]` is `frame[j + 1]`.

    The workers of a `DataLoader` may use it, however they are started: every process opens its own files.
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
            grayscale: one channel instead of three; None for the channels of the model.
            store: frame store, when it has moved; not needed when the labels hold their frames.

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
            self._store_path = self.labels.open_store(store).path.resolve()
        self.episode_index, self.frame_index = self._windows(split, step)
        self._reader: LabelReader | None = None

    def _windows(self, split: str | None, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return episode and first frame of every window, both int32."""
        reach = (self.window - 1) * self.labels.origin.stride
        episodes = self.labels.manifest["episodes"]
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
        index = range(len(self))[index]
        episode, first = int(self.episode_index[index]), int(self.frame_index[index])
        indices = first + self.labels.origin.stride * np.arange(self.window + 1)
        if self._reader is None or self._reader.process != os.getpid():
            self._reader = LabelReader(self.labels, self._store_path)
        codes = torch.from_numpy(self._reader.codes(episode, indices[:-1]).astype(np.int64))
        if self.window == 1:
            frame, next_frame = torch.from_numpy(self._reader.pair(episode, first, self.grayscale))
            return frame, codes[0], next_frame
        frames = torch.from_numpy(self._reader.frames(episode, indices, self.grayscale) / np.float32(255))
        return frames[:-1], codes, frames[1:]

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind when sent to another process."""
        return {**vars(self), "_reader": None}


class LabelReader:
    """Random access to labels and their frames, for one process: another one must open its own."""

    def __init__(self, labels: Labels, store_path: Path | None) -> None:
        """Read frames from the store at `store_path`, or, when it is None, from the labels themselves."""
        self.process = os.getpid()
        self.labels = labels
        self.store = None if store_path is None else FrameStore.open(store_path)
        self.lengths = np.array([episode["num_transitions"] for episode in labels.manifest["episodes"]])
        self.first_rows = np.concatenate([[0], np.cumsum(self.lengths)])
        self.shard_ends = np.array([shard.end_episode for shard in labels.shards])
        self._read_codes = lru_cache(_SHARDS_KEPT)(labels.codes)
        self._read_controls = lru_cache(1)(labels.controls)
        self._read_buttons = lru_cache(1)(labels.buttons)
        self._open = lru_cache(_SHARDS_KEPT)(self._open_file)
        self._group = lru_cache(_GROUPS_KEPT)(self._read_group)

    def codes(self, episode: int, frames_n: np.ndarray) -> np.ndarray:
        """Codes (n, h, w) of the transitions of an episode that start at `frames_n`."""
        shard, first_row = self._place(episode)
        return self._read_codes(shard)[first_row + frames_n]

    def controls(self, episode: int) -> np.ndarray:
        """Controls (T,) of all transitions of an episode, −1 where they were not recorded."""
        shard, first_row = self._place(episode)
        return self._read_controls(shard)[first_row : first_row + self.lengths[episode]]

    def buttons(self, episode: int) -> np.ndarray | None:
        """Buttons (T,) of all transitions of an episode; None where none were inferred."""
        shard, first_row = self._place(episode)
        buttons = self._read_buttons(shard)
        return None if buttons is None else buttons[first_row : first_row + self.lengths[episode]]

    def frames(self, episode: int, frames_n: np.ndarray, grayscale: bool) -> np.ndarray:
        """Frames (n, C, H, W) uint8 of an episode; may be read-only."""
        if self.store is not None:
            return self.store.read(episode, frames_n, grayscale)
        rgb_nHWC = np.stack([self._decode_frame(episode, int(frame)) for frame in frames_n])
        return to_channels(rgb_nHWC, grayscale)

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

    def _decode_frame(self, episode: int, frame: int) -> np.ndarray:
        """Decode a frame of the labels to RGB uint8 (H, W, 3)."""
        shard, row = self._place(episode)
        column = "frame"
        if frame >= self.lengths[episode]:
            # The last frames of an episode are next frames only.
            column, frame = "next_frame", frame - self.labels.origin.stride
        _, starts = self._open(shard)
        group = int(np.searchsorted(starts, row + frame, side="right")) - 1
        png = self._group(shard, group)[column][row + frame - int(starts[group])].as_py()
        with Image.open(io.BytesIO(png)) as image:
            return np.asarray(image.convert("RGB"))

    def _open_file(self, shard: Shard) -> tuple[pq.ParquetFile, np.ndarray]:
        """Return the file of a shard and the first row of each of its row groups."""
        file = pq.ParquetFile(self.labels.path / shard.file_name)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        return file, np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def _read_group(self, shard: Shard, group: int) -> pa.Table:
        file, _ = self._open(shard)
        # Threads of the parent do not survive a fork.
        return file.read_row_group(group, columns=["frame", "next_frame"], use_threads=False)
