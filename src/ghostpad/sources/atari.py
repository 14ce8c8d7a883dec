"""Atari games of the Arcade Learning Environment, as emulators for the recorder and for replays."""

from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.errors import UserError


class AtariEmulator:
    """An Atari game at its start, as an `Emulator` of the recorder."""

    def __init__(self, game: str, seed: int, frame_skip: int = 4, sticky: float = 0.0) -> None:
        """Load a game; arguments and errors as for `open_emulator`."""
        self._ale = open_emulator(game, seed, frame_skip, sticky)
        self._actions = self._ale.getMinimalActionSet()
        self.control_names = [action.name for action in self._actions]

    @property
    def is_over(self) -> bool:
        """Whether the game is over."""
        return self._ale.game_over()

    @property
    def observation(self) -> np.ndarray:
        """The frame."""
        return self.frame()

    @property
    def memory(self) -> np.ndarray:
        """The console's RAM, (128,) uint8."""
        return self._ale.getRAM().copy()

    @property
    def lives(self) -> int:
        """Lives left."""
        return self._ale.lives()

    def step(self, control: int) -> int:
        """Hold a control for `frame_skip` console frames; returns the points that it brings."""
        return int(self._ale.act(self._actions[control]))

    def frame(self) -> np.ndarray:
        """The screen, (210, 160, 3) uint8 RGB."""
        return self._ale.getScreenRGB()

    def save_state(self) -> Any:
        """The state of the console and its random generator, but not the control that stickiness repeats."""
        return self._ale.cloneSystemState()

    def restore_state(self, state: Any) -> None:
        """Return to a saved state; the screen follows with the next step."""
        self._ale.restoreSystemState(state)

    def close(self) -> None:
        """Nothing to release."""


def open_emulator(game: str, seed: int, frame_skip: int = 4, sticky: float = 0.0) -> Any:
    """Return an `ALEInterface` at the start of a game; `sticky` is the probability that it repeats a control.

    Raises:
        UserError: ale-py is missing or has no such game.
    """
    rom = rom_path(game)
    from ale_py import ALEInterface, LoggerMode

    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    emulator.setInt("random_seed", seed)
    emulator.setInt("frame_skip", frame_skip)
    emulator.setFloat("repeat_action_probability", sticky)
    emulator.loadROM(str(rom))
    return emulator


def rom_path(game: str) -> Path:
    """Path of the ROM of a game; errors as for `open_emulator`."""
    try:
        from ale_py import roms
    except ImportError:
        raise UserError('recording needs ale-py; install it with: pip install "ghostpad[atari]"') from None
    path = roms.get_rom_path(game) if game in roms.get_all_rom_ids() else None
    if path is None:
        raise UserError(
            f"--game {game}: the Arcade Learning Environment has no such game; try breakout or pong"
        )
    return path
