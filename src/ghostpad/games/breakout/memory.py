"""Breakout: the layout of the screen, and the true state of a frame from console memory.

The addresses were found by comparing memory with pixels, and the tests compare them again. Memory and screen
belong to the same frame: there is no lag between them.
"""

import numpy as np

from ghostpad.games.elements import GameState

HEIGHT, WIDTH = 210, 160
FIELD_LEFT, FIELD_RIGHT = 8, 152
"""First column of the playing field and the first right of it."""
FIELD_TOP, FIELD_BOTTOM = 32, 196
"""First row of the playing field and the first below the last that shows the ball."""
BALL_WIDTH, BALL_HEIGHT = 2, 4
PADDLE_ROWS = slice(189, 193)
PADDLE_WIDTHS = (16, 8)
"""Before and after the ball has reached the top wall."""
BRICK_ROWS, BRICK_COLUMNS = 6, 18
BRICKS_TOP, BRICK_HEIGHT, BRICK_WIDTH = 57, 6, 8
BRICKS_BOTTOM = BRICKS_TOP + BRICK_ROWS * BRICK_HEIGHT

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


def truth_from_ram(ram_N128: np.ndarray) -> GameState:
    """Read the state of the game, as the frame shows it, from memory.

    Returns:
        `ball_x`, `ball_y` int16 (N,): top-left pixel of the 2×4 ball, −1 when none of its pixels is visible
        (no ball in play, outside the field, or wholly inside a brick of its own colour);
        `paddle_x`, `paddle_width` int16 (N,): left pixel and visible width (16, or 12 once shrunk; less where
        the right wall covers its end);
        `bricks` bool (N, 6, 18): which bricks stand, top row first; `score` int32 (N,); `lives` int16 (N,).
    """
    values = ram_N128.astype(np.int16)
    bricks = _bricks(ram_N128)
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


def _bricks(ram_N128: np.ndarray) -> np.ndarray:
    rows = np.arange(BRICK_ROWS)
    columns = [ram_N128[:, base + BRICK_ROWS - 1 - rows] >> bit & 1 for base, bit in _BRICK_BITS]
    return np.stack(columns, axis=-1).astype(bool)


def _ball_seen(ball_x: np.ndarray, ball_y: np.ndarray, bricks: np.ndarray) -> np.ndarray:
    """Whether any pixel of the ball is inside the field and not on a brick, which has the ball's colour."""
    rows, columns = np.mgrid[0 : BALL_HEIGHT + 1, 0:BALL_WIDTH].reshape(2, -1)
    y, x = ball_y[:, None] + rows, ball_x[:, None] + columns
    drawn = (rows < BALL_HEIGHT) | ((y == _BALL_SEAM - 1) & (ball_y[:, None] < _BALL_SEAM - 1))
    row, column = (y - BRICKS_TOP) // BRICK_HEIGHT, (x - FIELD_LEFT) // BRICK_WIDTH
    on_wall = (row >= 0) & (row < BRICK_ROWS) & (column >= 0) & (column < BRICK_COLUMNS)
    frames = np.arange(len(bricks))[:, None]
    covered = on_wall & bricks[frames, row.clip(0, BRICK_ROWS - 1), column.clip(0, BRICK_COLUMNS - 1)]
    in_field = (y >= FIELD_TOP) & (y < FIELD_BOTTOM - 1) & (x >= FIELD_LEFT) & (x < FIELD_RIGHT)
    return (drawn & in_field & ~covered).any(axis=1)


def _decimal(byte: np.ndarray) -> np.ndarray:
    """Binary-coded decimal: one digit per half byte."""
    return (byte >> 4) * 10 + (byte & 15)
