"""The real game, which the same keys play beside the predicted one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.play.keys import held_for


@dataclass(frozen=True)
class RealPicture:
    """What the emulator shows."""

    height: int
    width: int
    pixels: bytes
    """One byte for each, row by row."""
    new_colors: np.ndarray | None
    """(256, 3) uint8, what the bytes stand for, when some of them are seen for the first time."""


class RealGame:
    """An emulator that holds the controls of a world.

    Args:
        emulator: an `ALEInterface` with a game.
        control_names: of the world.
    """

    def __init__(self, emulator: Any, control_names: tuple[str, ...]) -> None:
        self._emulator = emulator
        actions = {held_for(action.name): action for action in emulator.getMinimalActionSet()}
        rest = actions[frozenset()]
        self._actions = [actions.get(held_for(name), rest) for name in control_names]
        self._colors = np.zeros((256, 3), np.uint8)
        self._known = np.zeros(256, bool)

    def act(self, control: int) -> None:
        """Hold a control for one frame; a game that is over begins afresh."""
        if self._emulator.game_over():
            self._emulator.reset_game()
        self._emulator.act(self._actions[control])

    def picture(self) -> RealPicture:
        """The screen as it is now."""
        screen = self._emulator.getScreen()
        new = ~self._known[screen]
        if new.any():
            # The console's palette cannot be asked for, but every pixel shows some of it.
            self._colors[screen[new]] = self._emulator.getScreenRGB()[new]
            self._known[screen[new]] = True
        height, width = screen.shape
        return RealPicture(height, width, screen.tobytes(), self._colors if new.any() else None)
