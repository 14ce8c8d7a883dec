"""Detects ball, paddle and bricks in frames of Breakout, true and predicted alike.

Works on single frames, gray or RGB, crisp or blurred, from pixels alone; `benchmarks/detector.py` compares it
with the emulator's memory. Nothing here is learned: the layout is fixed by the game.

Dimensions: N frames, C colour channels (1 or 3), H W picture (210 × 160).
"""

import numpy as np

from ghostpad.games.breakout.memory import (
    BALL_HEIGHT,
    BALL_WIDTH,
    BRICK_COLUMNS,
    BRICK_HEIGHT,
    BRICK_ROWS,
    BRICK_WIDTH,
    BRICKS_BOTTOM,
    BRICKS_TOP,
    FIELD_BOTTOM,
    FIELD_LEFT,
    FIELD_RIGHT,
    FIELD_TOP,
    HEIGHT,
    PADDLE_ROWS,
    PADDLE_WIDTHS,
    WIDTH,
)
from ghostpad.games.elements import GameState
from ghostpad.games.matching import (
    NOT_FOUND,
    color_of,
    find_bar,
    find_box,
    has_colors,
    likeness_to,
)

BALL_RGB = (200, 72, 72)
WALL_RGB = (142, 142, 142)
BRICK_RGB = ((200, 72, 72), (198, 108, 58), (180, 122, 48), (162, 162, 42), (72, 160, 72), (66, 72, 200))


def applies(frames_NCHW: np.ndarray) -> bool:
    """Whether the walls of Breakout are where they belong."""
    walls = (np.s_[:, :, 20:30, :], np.s_[:, :, 40:180, 1:7], np.s_[:, :, 40:180, 153:159])
    return has_colors(frames_NCHW, (HEIGHT, WIDTH), [(wall, WALL_RGB) for wall in walls])


def detect(frames_NCHW: np.ndarray) -> GameState:
    """Detect ball, paddle and bricks.

    Returns:
        Columns named as in `truth.npz`, and two more. `ball_x`, `ball_y` (N,) int16: top-left pixel of the
        best match, `NOT_FOUND` without one; a partly hidden ball is placed where its hidden part must be.
        `ball_pixels` (N,) int16: how many of its 8 pixels are visible. `num_balls` (N,) int8: 0, 1, or 2 for
        more than one. `paddle_x` (N,) int16: left column or `NOT_FOUND`; `paddle_width` (N,) int16: 16 or 8,
        less what the right wall, of the same colour, covers. `bricks` (N, 6, 18) bool: which are present.
    """
    bricks = _find_bricks(frames_NCHW)
    likeness = _field_likeness(frames_NCHW)
    paddle_x, paddle_width = _find_paddle(likeness)
    open_field = _open_field(bricks, paddle_x, paddle_width)
    balls = find_box(likeness, (BALL_HEIGHT, BALL_WIDTH), open_field)
    return {
        **balls.columns("ball", FIELD_LEFT, FIELD_TOP),
        "paddle_x": paddle_x,
        "paddle_width": paddle_width,
        "bricks": bricks,
    }


def ball_visible(true: GameState) -> np.ndarray:
    """(N,) bool: frames in which at least half of the ball is visible, by their true state."""
    there = true["ball_x"] >= 0
    field = np.zeros((len(there), HEIGHT, WIDTH), bool)
    inside = _open_field(true["bricks"], true["paddle_x"], true["paddle_width"])
    field[:, FIELD_TOP:FIELD_BOTTOM, FIELD_LEFT:FIELD_RIGHT] = inside
    rows = np.clip(true["ball_y"].astype(int)[:, None, None] + np.arange(BALL_HEIGHT)[:, None], 0, HEIGHT - 1)
    columns = np.clip(true["ball_x"].astype(int)[:, None, None] + np.arange(BALL_WIDTH), 0, WIDTH - 1)
    pixels = field[np.arange(len(there))[:, None, None], rows, columns].sum((1, 2))
    return there & (2 * pixels >= BALL_WIDTH * BALL_HEIGHT)


def _find_bricks(frames_NCHW: np.ndarray) -> np.ndarray:
    """(N, 6, 18): a brick is present where the mean of its pixels is closer to its colour than to black."""
    num, channels = frames_NCHW.shape[:2]
    area = frames_NCHW[:, :, BRICKS_TOP:BRICKS_BOTTOM, FIELD_LEFT:FIELD_RIGHT]
    cells = area.reshape(num, channels, BRICK_ROWS, BRICK_HEIGHT, BRICK_COLUMNS, BRICK_WIDTH)
    means = cells.mean((3, 5), dtype=np.float32) / (255 if area.dtype == np.uint8 else 1)
    colors = np.stack([color_of(rgb, channels) for rgb in BRICK_RGB])
    share = np.einsum("ncrk,rc->nrk", means, colors) / (colors**2).sum(1)[:, None]
    return share > 0.5


def _find_paddle(likeness_NHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left column and width."""
    rows = slice(PADDLE_ROWS.start - FIELD_TOP, PADDLE_ROWS.stop - FIELD_TOP)
    column, width = find_bar(likeness_NHW[:, rows].mean(1), PADDLE_WIDTHS, PADDLE_WIDTHS[1])
    return np.where(column >= 0, column + FIELD_LEFT, NOT_FOUND).astype(np.int16), width


def _open_field(bricks: np.ndarray, paddle_x: np.ndarray, paddle_width: np.ndarray) -> np.ndarray:
    """(N, 164, 144) bool: where a ball would be visible: not on bricks or paddle, which have its colour."""
    field = np.ones((len(bricks), FIELD_BOTTOM - FIELD_TOP, FIELD_RIGHT - FIELD_LEFT), bool)
    wall = bricks.repeat(BRICK_HEIGHT, 1).repeat(BRICK_WIDTH, 2)
    field[:, BRICKS_TOP - FIELD_TOP : BRICKS_BOTTOM - FIELD_TOP] = ~wall
    column = np.arange(FIELD_LEFT, FIELD_RIGHT)
    covered = (column >= paddle_x[:, None]) & (column < (paddle_x + paddle_width)[:, None])
    field[:, PADDLE_ROWS.start - FIELD_TOP : PADDLE_ROWS.stop - FIELD_TOP] &= ~covered[:, None]
    return field


def _field_likeness(frames_NCHW: np.ndarray) -> np.ndarray:
    """(N, 164, 144) in 0…1: how much a pixel of the playing field looks like the ball.

    The console draws the ball in the colour of the brick rows while it is among them, else in the paddle's.
    """
    field = frames_NCHW[:, :, FIELD_TOP:FIELD_BOTTOM, FIELD_LEFT:FIELD_RIGHT]
    likeness = likeness_to(field, BALL_RGB)
    for row, rgb in enumerate(BRICK_RGB):
        if rgb != BALL_RGB:
            top = BRICKS_TOP + row * BRICK_HEIGHT - FIELD_TOP
            rows = slice(top, top + BRICK_HEIGHT)
            likeness[:, rows] = likeness_to(field[:, :, rows], rgb)
    return likeness
