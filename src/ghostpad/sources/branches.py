"""Branches: the next frame under every control, from one and the same state of the emulator.

A recording shows what one control did. Branches show what each of the others would have done, which is the
truth that controllability and ceilings are measured against. Written by the recorder, kept by frame stores.

Dimensions: n branched frames, A controls, H W frame.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.sources.emulator import Emulator

_DIFFERS = (
    "--branches: a copy of the environment does not continue like the original; record without --branches"
)


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
        """Read what `save` wrote.

        Raises:
            Exception: of many kinds, where the file is damaged; ValueError, where it has another form.
        """
        with np.load(path, allow_pickle=False) as archive:
            branches = cls(archive["frame_index"].astype(np.int64), archive["next_frames"])
        count, frames = len(branches.frame_index), branches.next_frames
        if frames.shape != (count, *frames.shape[1:4], 3) or frames.dtype != np.uint8:
            raise ValueError("next_frames are not (n, A, H, W, 3) uint8")
        if branches.frame_index.shape != (count,) or np.any(np.diff(branches.frame_index) <= 0):
            raise ValueError("frame_index is not ascending")
        return branches

    def part(self, start: int, num_frames: int) -> "Branches":
        """The branches of `num_frames` consecutive frames from `start`, counted from there."""
        index = self.frame_index - start
        inside = (index >= 0) & (index < num_frames - 1)
        return Branches(index[inside], self.next_frames[inside])


class BranchSampler:
    """Draws the frames of an episode to branch while its length is unknown, and branches them at its end.

    Reservoir sampling (Vitter 1985, algorithm R): every frame is equally likely, and few states are kept.
    """

    def __init__(self, num_frames: int, rng: np.random.Generator) -> None:
        self._num_frames, self._rng = num_frames, rng
        self._states: list[tuple[int, Any]] = []

    def offer(self, frame_index: int, emulator: Emulator) -> None:
        """Perhaps keep the state behind a frame; call it for each frame in order, before the next step."""
        place = frame_index if frame_index < self._num_frames else int(self._rng.integers(frame_index + 1))
        if place < self._num_frames:
            self._states[place : place + 1] = [(frame_index, emulator.save_state())]

    def branches(self, emulator: Emulator, controls: list[int], folder: Path) -> Branches:
        """Step from each kept state with each control; the state of the emulator is lost.

        Args:
            emulator: the one that was offered.
            controls: held from each frame of the episode to the next.
            folder: holds the recorded frames.

        Raises:
            UserError: the recorded control does not lead to the recorded next frame.
        """
        found: dict[int, np.ndarray] = {}
        for frame_index, state in sorted(self._states, key=lambda kept: kept[0]):
            frames = self._next_frames(emulator, state)
            if frame_index < len(controls) and frames is not None:
                with Image.open(folder / f"{frame_index + 1}.png") as recorded:
                    if not np.array_equal(frames[controls[frame_index]], np.asarray(recorded)):
                        raise UserError(f"{_DIFFERS} (frame {frame_index})")
                found[frame_index] = frames
        with Image.open(folder / "0.png") as first:
            none = np.empty((0, len(emulator.control_names), first.height, first.width, 3), np.uint8)
        return Branches(np.array(list(found), np.int64), np.stack([*found.values()]) if found else none)

    def _next_frames(self, emulator: Emulator, state: Any) -> np.ndarray | None:
        """The next frame under each control, (A, H, W, 3); None if the episode ends and one is not shown."""
        frames = []
        for control in range(len(emulator.control_names)):
            try:
                emulator.restore_state(state)
                emulator.step(control)
                frames.append(emulator.frame())
            except Exception as error:  # some environments become new ones when they are copied
                raise UserError(f"{_DIFFERS} ({type(error).__name__})") from None
        return None if any(frame is None for frame in frames) else np.stack(frames)  # type: ignore[arg-type]
