"""Labels as training data: (frame, codes, next_frame), for the world model and whatever else comes after.

Dimensions: k transitions of a window, C colour channels, H W frame, h w grid.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ghostpad.errors import UserError
from ghostpad.frames.splits import SPLITS
from ghostpad.frames.store import FrameStore
from ghostpad.labels.folder import Labels
from ghostpad.labels.reader import LabelReader


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
        self._reader: LabelReader | None = None

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
        episode, first = int(self.episode_index[index]), int(self.frame_index[index])
        indices = first + self.labels.origin.stride * np.arange(self.window + 1)
        reader = self._reader_of_this_process()
        codes = torch.from_numpy(reader.codes(episode, indices[:-1]).astype(np.int64))
        if self.window == 1:
            frame, next_frame = torch.from_numpy(reader.pair(episode, first, self.grayscale))
            return frame, codes[0], next_frame
        frames = torch.from_numpy(reader.frames(episode, indices, self.grayscale) / np.float32(255))
        return frames[:-1], codes, frames[1:]

    def _reader_of_this_process(self) -> LabelReader:
        if self._reader is None or self._reader.process != os.getpid():
            self._reader = LabelReader(self.labels, self._store_path)
        return self._reader

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind when sent to another process."""
        return {**vars(self), "_reader": None}
