"""Breakout: what the console's memory says about a frame, and a player that follows the ball.

The addresses were found by comparing memory with pixels (and are compared again by the tests). Memory and
screen belong
to the same frame: there is no lag between them.
"""

import numpy as np

BRICK_ROWS, BRICK_COLUMNS = 6, 18
BRICK_TOP, BRICK_LEFT, BRICK_HEIGHT, BRICK_WIDTH = 57, 8, 6, 8
FIELD_LEFT, FIELD_RIGHT, FIELD_TOP, FIELD_BOTTOM = 8, 152, 32, 196
PADDLE_TOP, PADDLE_HEIGHT, PADDLE_WIDTH, PADDLE_WIDTH_SHRUNK = 189, 4, 16, 8
BALL_WIDTH, BALL_HEIGHT = 2, 4

# Bricks are the console's playfield: six bytes per register (bottom row first), two bits per brick. For each
# of the 18
# columns: the first byte of its register and the bit that is set while the brick stands.
_BRICK_BITS = (
    [(30, 7)]
    + [(24, bit) for bit in (7, 5, 3, 1)]
    + [(18, bit) for bit in (1, 3, 5, 7)]
    + [(12, bit) for bit in (5, 7)]
    + [(6, bit) for bit in (7, 5, 3, 1)]
    + [(0, bit) for bit in (1, 3, 5)]
)


def truth_from_ram(ram: np.ndarray) -> dict[str, np.ndarray]:
    """Read the state of the game out of memory.

    Args:
        ram: (N, 128) uint8, one row per frame.

    Returns:
        `ball_x`, `ball_y` int16 (N,): top-left pixel of the 2×4 ball, −1 when no part of it is in the field;
        `paddle_x`, `paddle_width` int16 (N,): left pixel and visible width (the right wall may cover its
        end);
        `bricks` bool (N, 6, 18): which bricks stand, top row first; `score` int32 (N,); `lives` int16 (N,).
    """
    values = ram.astype(np.int16)
    ball_x, ball_y = values[:, 99] - 49, values[:, 101] + 9
    in_field = (
        (values[:, 101] != 0)
        & (ball_x > FIELD_LEFT - BALL_WIDTH)
        & (ball_x < FIELD_RIGHT)
        & (ball_y > FIELD_TOP - BALL_HEIGHT)
        & (ball_y < FIELD_BOTTOM)
    )
    paddle_x = values[:, 72] - 47
    return {
        "ball_x": np.where(in_field, ball_x, -1).astype(np.int16),
        "ball_y": np.where(in_field, ball_y, -1).astype(np.int16),
        "paddle_x": paddle_x,
        "paddle_width": np.minimum(PADDLE_WIDTH, FIELD_RIGHT - paddle_x).astype(np.int16),
        "bricks": _bricks(ram),
        "score": (_decimal(values[:, 76]) * 100 + _decimal(values[:, 77])).astype(np.int32),
        "lives": values[:, 57],
    }


def _bricks(ram: np.ndarray) -> np.ndarray:
    rows = np.arange(BRICK_ROWS)
    columns = [ram[:, base + BRICK_ROWS - 1 - rows] >> bit & 1 for base, bit in _BRICK_BITS]
    return np.stack(columns, axis=-1).astype(bool)


def _decimal(byte: np.ndarray) -> np.ndarray:
    """Binary-coded decimal: one digit per half byte."""
    return (byte >> 4) * 10 + (byte & 15)


class Tracker:
    """Follows the ball with a random offset, lapses now and then, and waits a random time before it fires.

    The offset and the lapses keep the control from being a function of the frame: without them a model could
    name the
    control from the current frame alone.
    """

    NOOP, FIRE, RIGHT, LEFT = range(4)

    def __init__(self, rng: np.random.Generator, frame_skip: int) -> None:
        self._rng = rng
        self._frame_skip = frame_skip
        self._wait = self._steps(4, 80)
        self._lapse = 0
        self._lapse_control = self.NOOP
        self._offset_left = 0
        self._offset = PADDLE_WIDTH // 2

    def __call__(self, ram: np.ndarray) -> int:
        """Choose the control (0–3) for the frame whose memory is `ram` (128,) uint8."""
        if ram[101] == 0:
            return self._serve()
        if self._lapse > 0:
            self._lapse -= 1
            return self._lapse_control
        if self._rng.random() < 0.006 * self._frame_skip:
            self._lapse = self._steps(8, 56)
            self._lapse_control = int(self._rng.choice((self.NOOP, self.RIGHT, self.LEFT)))
        return self._follow(int(ram[99]) - 49, int(ram[72]) - 47)

    def _serve(self) -> int:
        self._wait -= 1
        if self._wait > 0:
            return self.NOOP if self._lapse_control == self.FIRE else self._lapse_control
        self._wait = self._steps(4, 80)
        self._lapse_control = int(self._rng.choice((self.NOOP, self.RIGHT, self.LEFT)))
        return self.FIRE

    def _follow(self, ball_x: int, paddle_x: int) -> int:
        self._offset_left -= 1
        if self._offset_left <= 0:
            self._offset_left = self._steps(40, 240)
            self._offset = int(self._rng.integers(-2, PADDLE_WIDTH + 2))
        distance = ball_x - (paddle_x + self._offset)
        if abs(distance) <= int(self._rng.integers(1, 6)):
            return self.NOOP
        return self.RIGHT if distance > 0 else self.LEFT

    def _steps(self, low: int, high: int) -> int:
        """A random time between `low` and `high` frames of the console, in steps of the policy, at least
        one.
        """
        return max(1, int(self._rng.integers(low, high)) // self._frame_skip)
