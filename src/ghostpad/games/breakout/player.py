"""A scripted player of Breakout, for recordings and for rollouts beside the emulator."""

import numpy as np


class Tracker:
    """Tracks the ball with a random offset and occasional random controls; serves after a random time.

    The randomness keeps the control from being a function of the frame: without it, a model could name the
    control from the current frame alone.
    """

    NOOP, FIRE, RIGHT, LEFT = range(4)

    def __init__(self, rng: np.random.Generator, frame_skip: int) -> None:
        self._rng = rng
        self._frame_skip = frame_skip
        self._wait = self._steps(4, 80)
        self._random_left = 0
        self._random_control = self.NOOP
        self._offset_left = 0
        self._offset = 0

    def __call__(self, ram_128: np.ndarray) -> int:
        """Choose the control (0–3) for the frame whose memory is `ram_128` (128,) uint8."""
        if ram_128[101] == 0:
            return self._serve()
        if self._random_left > 0:
            self._random_left -= 1
            return self._random_control
        if self._rng.random() < 0.006 * self._frame_skip:
            self._random_left = self._steps(8, 56)
            self._random_control = int(self._rng.choice((self.NOOP, self.RIGHT, self.LEFT)))
        return self._follow(int(ram_128[99]) - 49, int(ram_128[72]) - 47)

    def _serve(self) -> int:
        self._wait -= 1
        if self._wait > 0:
            return self.NOOP if self._random_control == self.FIRE else self._random_control
        self._wait = self._steps(4, 80)
        self._random_control = int(self._rng.choice((self.NOOP, self.RIGHT, self.LEFT)))
        return self.FIRE

    def _follow(self, ball_x: int, paddle_x: int) -> int:
        self._offset_left -= 1
        if self._offset_left <= 0:
            self._offset_left = self._steps(40, 240)
            self._offset = int(self._rng.integers(-2, 18))
        distance = ball_x - (paddle_x + self._offset)
        if abs(distance) <= int(self._rng.integers(1, 6)):
            return self.NOOP
        return self.RIGHT if distance > 0 else self.LEFT

    def _steps(self, low: int, high: int) -> int:
        """Draw a time of `low` to `high` frames of the console, in controls, at least one."""
        return max(1, int(self._rng.integers(low, high)) // self._frame_skip)
