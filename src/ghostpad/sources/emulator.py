"""What the recorder plays: an Atari game or an environment, stepped by numbered controls."""

from typing import Any, Protocol

import numpy as np


class Emulator(Protocol):
    """A running game."""

    control_names: list[str]
    """By number of the control."""

    @property
    def is_over(self) -> bool:
        """Whether the episode has ended."""
        ...

    @property
    def observation(self) -> Any:
        """What a policy is given."""
        ...

    @property
    def memory(self) -> np.ndarray | None:
        """Console memory (128,) uint8; None for games without."""
        ...

    @property
    def lives(self) -> int | None:
        """Lives left; None for games without."""
        ...

    def step(self, control: int) -> float:
        """Hold a control for one recorded frame; returns the reward."""
        ...

    def frame(self) -> np.ndarray | None:
        """The current frame, (H, W, 3) uint8 RGB; None if nothing is shown after the end of an episode."""
        ...

    def save_state(self) -> Any:
        """A copy of the whole state, random generators included."""
        ...

    def restore_state(self, state: Any) -> None:
        """Continue from a saved state, which stays as it is."""
        ...

    def close(self) -> None:
        """Release what the game holds."""
        ...
