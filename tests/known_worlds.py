"""Worlds whose every number is known beforehand: emulators in disguise, and what is drawn over them."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ghostpad.buttons.control_map import ControlMap
from ghostpad.evaluation.rollouts.open_loop import Start
from ghostpad.frames.replay import replay
from ghostpad.frames.store import FrameStore
from ghostpad.luma import luma

CONTROLS = ("NOOP", "FIRE", "RIGHT", "LEFT")
SAME = ControlMap(CONTROLS, tuple(map(tuple, np.eye(4))), (0, 1, 2, 3), 0)
"""Buttons that are the controls."""


@dataclass
class KnownState:
    emulators: list[Any]
    step: int
    pictures: np.ndarray


class KnownWorld:
    """An emulator for each start, in the order of `starts`; buttons are controls.

    `change(pictures, step)` draws over what they show, (N, 210, 160, 3) uint8.
    """

    history = 2
    num_buttons = 4
    device = torch.device("cpu")
    latent_action_model = SimpleNamespace(stride=1)

    def __init__(
        self,
        store: FrameStore,
        starts: list[Start],
        change: Callable[[np.ndarray, int], np.ndarray] = lambda pictures, step: pictures,
        grayscale: bool = False,
    ):
        self.store, self.starts, self.change, self.grayscale = store, list(starts), change, grayscale
        self.num_channels = 1 if grayscale else 3

    def start(self, frames):
        own, self.starts = self.starts[: len(frames)], self.starts[len(frames) :]
        emulators = [replay(self.store, start.episode_index, start.frame_index) for start in own]
        state = KnownState(emulators, 0, self._show(emulators))
        channels = 1 if self.grayscale else 3
        assert (state.pictures[..., :channels].transpose(0, 3, 1, 2) == frames[:, -1]).all()
        return state

    def step(self, state, buttons, temperature=0.0, generator=None):
        for emulator, button in zip(state.emulators, buttons, strict=True):
            emulator.act(emulator.getMinimalActionSet()[button])
        pictures = self.change(self._show(state.emulators), state.step + 1)
        return KnownState(state.emulators, state.step + 1, pictures), None

    def _show(self, emulators):
        screens = np.stack([emulator.getScreenRGB() for emulator in emulators])
        return np.repeat(luma(screens)[..., None], 3, -1) if self.grayscale else screens
