"""Branches: the next frame under every control, from one and the same state of the emulator.

A recording shows what one control did. Branches show what each of the others would have done, which is the
truth that controllability and ceilings are measured against. Written by the recorder, kept by frame stores.

Dimensions: n branched frames, A controls, H W frame.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Branches:
    """The branched frames of one episode.

    Attributes:
        frame_index: (n,) int64, ascending: position in the episode of the frames that were branched.
        next_frames: (n, A, H, W, 3) uint8 RGB: the next frame under each control, by its number. Under the
            recorded control it equals the recorded next frame.
    """

    frame_index: np.ndarray
    next_frames: np.ndarray

    def __len__(self) -> int:
        return len(self.frame_index)

    def save(self, path: Path) -> None:
        """Write a compressed `.npz`."""
        np.savez_compressed(path, frame_index=self.frame_index, next_frames=self.next_frames)

    @classmethod
    def load(cls, path: Path) -> "Branches":
        """Read what `save` wrote; ValueError where it has another form, any error where it is damaged."""
        with np.load(path, allow_pickle=False) as archive:
            branches = cls(archive["frame_index"].astype(np.int64), archive["next_frames"])
        count, frames = len(branches.frame_index), branches.next_frames
        if frames.shape != (count, *frames.shape[1:4], 3) or frames.dtype != np.uint8:
            raise ValueError("next_frames are not (n, A, H, W, 3) uint8")
        if branches.frame_index.shape != (count,) or np.any(np.diff(branches.frame_index) <= 0):
            raise ValueError("frame_index is not ascending")
        return branches

    def spread(self, most: int) -> "Branches":
        """At most so many of them, spread evenly."""
        kept = np.linspace(0, len(self) - 1, min(most, len(self))).astype(int)
        return Branches(self.frame_index[kept], self.next_frames[kept])

    def part(self, start: int, num_frames: int) -> "Branches":
        """The branches of `num_frames` consecutive frames from `start`, counted from there."""
        index = self.frame_index - start
        inside = (index >= 0) & (index < num_frames - 1)
        return Branches(index[inside], self.next_frames[inside])
