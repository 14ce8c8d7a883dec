"""Breakout: what the console's memory says about a frame, and a player that follows the ball.

The addresses were found by comparing memory with pixels, and the tests compare them again. Memory and screen
belong to the same frame: there is no lag between them.
"""

import numpy as np

BRICK_ROWS, BRICK_COLUMNS = 6, 18
BRICK_TOP, BRICK_LEFT, BRICK_HEIGHT, BRICK_WIDTH = 57, 8, 6, 8
FIELD_LEFT, FIELD_RIGHT, FIELD_TOP, FIELD_BOTTOM = 8, 152, 32, 195
PADDLE_TOP, PADDLE_HEIGHT = 189, 4
BALL_WIDTH, BALL_HEIGHT = 2, 4

# Bricks are the console's playfield: six bytes per register (bottom row first), two bits per brick. For each
# of the 18 columns: the first byte of its register and the bit that is set while the brick stands.
_BRICK_BITS = (
    [(30, 7)]
    + [(24, bit) for bit in (7, 5, 3, 1)]
    + [(18, bit) for bit in (1, 3, 5, 7)]
    + [(12, bit) for bit in (5, 7)]
    + [(6, bit) for bit in (7, 5, 3, 1)]
    + [(0, bit) for bit in (1, 3, 5)]
)
# From this line down the ball is drawn where memory has it; above, among the bricks, one line higher. A ball
# that hangs over the line is drawn five pixels tall.
_BALL_SEAM = 94


def truth_from_ram(ram: np.ndarray) -> dict[str, np.ndarray]:
    """Read the state of the game, as the picture shows it, out of memory.

    Args:
        ram: (N, 128) uint8, one row per frame.

    Returns:
        `ball_x`, `ball_y` int16 (N,): top-left pixel of the 2×4 ball, −1 when none of its pixels can be seen
        (no ball in play, outside the field, or wholly inside a brick of its own colour);
        `paddle_x`, `paddle_width` int16 (N,): left pixel and visible width (16, or 12 once shrunk; less where
        the right wall covers its end);
        `bricks` bool (N, 6, 18): which bricks stand, top row first; `score` int32 (N,); `lives` int16 (N,).
    """
    values = ram.astype(np.int16)
    bricks = _bricks(ram)
    ball_x, ball_y = values[:, 99] - 49, values[:, 101] + 9
    ball_y -= ball_y < _BALL_SEAM
    seen = (values[:, 101] != 0) & _ball_seen(ball_x, ball_y, bricks)
    paddle_x = values[:, 72] - 47
    return {
        "ball_x": np.where(seen, ball_x, -1).astype(np.int16),
        "ball_y": np.where(seen, ball_y, -1).astype(np.int16),
        "paddle_x": paddle_x,
        "paddle_width": np.minimum(2 * values[:, 108], FIELD_RIGHT - paddle_x).astype(np.int16),
        "bricks": bricks,
        "score": (_decimal(values[:, 76]) * 100 + _decimal(values[:, 77])).astype(np.int32),
        "lives": values[:, 57],
    }


def _bricks(ram: np.ndarray) -> np.ndarray:
    rows = np.arange(BRICK_ROWS)
    columns = [ram[:, base + BRICK_ROWS - 1 - rows] >> bit & 1 for base, bit in _BRICK_BITS]
    return np.stack(columns, axis=-1).astype(bool)


def _ball_seen(ball_x: np.ndarray, ball_y: np.ndarray, bricks: np.ndarray) -> np.ndarray:
    """Whether any pixel of the ball is inside the field and not on a brick, which has the ball's colour."""
    rows, columns = np.mgrid[0 : BALL_HEIGHT + 1, 0:BALL_WIDTH].reshape(2, -1)
    y, x = ball_y[:, None] + rows, ball_x[:, None] + columns
    drawn = (rows < BALL_HEIGHT) | ((y == _BALL_SEAM - 1) & (ball_y[:, None] < _BALL_SEAM - 1))
    row, column = (y - BRICK_TOP) // BRICK_HEIGHT, (x - BRICK_LEFT) // BRICK_WIDTH
    on_wall = (row >= 0) & (row < BRICK_ROWS) & (column >= 0) & (column < BRICK_COLUMNS)
    frames = np.arange(len(bricks))[:, None]
    covered = on_wall & bricks[frames, row.clip(0, BRICK_ROWS - 1), column.clip(0, BRICK_COLUMNS - 1)]
    in_field = (y >= FIELD_TOP) & (y < FIELD_BOTTOM) & (x >= FIELD_LEFT) & (x < FIELD_RIGHT)
    return (drawn & in_field & ~covered).any(axis=1)


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
        self._offset = 0

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
            self._offset = int(self._rng.integers(-2, 18))
        distance = ball_x - (paddle_x + self._offset)
        if abs(distance) <= int(self._rng.integers(1, 6)):
            return self.NOOP
        return self.RIGHT if distance > 0 else self.LEFT

    def _steps(self, low: int, high: int) -> int:
        """Draw a time of `low` to `high` frames of the console, in controls, at least one."""
        return max(1, int(self._rng.integers(low, high)) // self._frame_skip)
