"""Branches the frames of an episode that the recorder plays: keeps states, steps them with each control."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.sources.branches import Branches
from ghostpad.sources.emulator import Emulator

_DIFFERS = (
    "--branches: a copy of the environment does not continue like the original; record without --branches"
)


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

        `controls` were held from each frame of the episode to the next, and `folder` holds the recorded
        frames.

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
