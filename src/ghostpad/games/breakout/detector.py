"""Finds ball, paddle and bricks in pictures of Breakout, true and predicted alike.

Works on single pictures, gray or RGB, crisp or blurred, from pixels alone; `benchmarks/detector.py` holds it
against the emulator's memory. Nothing here is learned: the scene's layout is fixed by the game.

Dimensions: N pictures, C colour channels (1 or 3), H W picture (210 × 160).
"""

import numpy as np

from ghostpad.games.shapes import Boxes, color_of, find_bar, find_box, likeness_to, to_unit

HEIGHT, WIDTH = 210, 160
FIELD_LEFT, FIELD_RIGHT = 8, 152
"""First column of the playing field and the first beyond it."""
FIELD_TOP, FIELD_BOTTOM = 32, 196
"""First row of the playing field and the first below the last that shows the ball."""
BALL_WIDTH, BALL_HEIGHT = 2, 4
PADDLE_ROWS = slice(189, 193)
PADDLE_WIDTHS = (16, 8)
BRICK_ROWS, BRICK_COLUMNS = 6, 18
BRICKS_TOP, BRICK_HEIGHT, BRICK_WIDTH = 57, 6, 8
BRICKS_BOTTOM = BRICKS_TOP + BRICK_ROWS * BRICK_HEIGHT
NOT_FOUND = -1
"""Stands for a coordinate that could not be found."""

BALL_RGB = (200, 72, 72)
WALL_RGB = (142, 142, 142)
BRICK_RGB = ((200, 72, 72), (198, 108, 58), (180, 122, 48), (162, 162, 42), (72, 160, 72), (66, 72, 200))
MIN_EVIDENCE = 2.0
"""What a ball must score to be seen: a full one scores 8, less 2 for each pixel that is missing."""


def applies(pictures_NCHW: np.ndarray, tolerance: float = 0.08) -> bool:
    """Whether these are pictures of Breakout: its walls are where they belong, on average."""
    if pictures_NCHW.shape[2:] != (HEIGHT, WIDTH) or not len(pictures_NCHW):
        return False
    wall = color_of(WALL_RGB, pictures_NCHW.shape[1])
    places = (np.s_[:, :, 20:30, :], np.s_[:, :, 40:180, 1:7], np.s_[:, :, 40:180, 153:159])
    parts = [to_unit(pictures_NCHW[place]).mean((0, 2, 3)) for place in places]
    return bool(max(np.abs(part - wall).max() for part in parts) < tolerance)


def detect(pictures_NCHW: np.ndarray) -> dict[str, np.ndarray]:
    """Find ball, paddle and bricks.

    Args:
        pictures_NCHW: (N, C, 210, 160), uint8 in 0…255 or float in 0…1, C 1 (luma) or 3.

    Returns:
        Columns named as in `truth.npz`, and a few more. `ball_x`, `ball_y` (N,) int16: top-left pixel of the
        most evident ball, `NOT_FOUND` where none is seen; a ball that is partly hidden is placed where its
        hidden part must be. `ball_pixels` (N,) int16: how many of its 8 pixels are in the open. `num_balls`
        (N,) int8: 0, 1, or 2 for more than one. `paddle_x` (N,) int16: left column or `NOT_FOUND`;
        `paddle_width` (N,) int16: 16 or 8, less what the right wall, of the same colour, covers. `bricks`
        (N, 6, 18) bool: which stand.
    """
    bricks = _find_bricks(pictures_NCHW)
    likeness = _field_likeness(pictures_NCHW)
    paddle_x, paddle_width = _find_paddle(likeness)
    open_field = _open_field(bricks, paddle_x, paddle_width)
    balls = find_box(likeness, open_field, (BALL_HEIGHT, BALL_WIDTH), MIN_EVIDENCE)
    return {
        **ball_columns(balls, FIELD_LEFT, FIELD_TOP),
        "paddle_x": paddle_x,
        "paddle_width": paddle_width,
        "bricks": bricks,
    }


def ball_columns(balls: Boxes, left: int, top: int) -> dict[str, np.ndarray]:
    """The columns about the ball, for a field that begins at column `left` and row `top`."""
    return {
        "ball_x": np.where(balls.seen, balls.column + left, NOT_FOUND).astype(np.int16),
        "ball_y": np.where(balls.seen, balls.row + top, NOT_FOUND).astype(np.int16),
        "ball_pixels": np.where(balls.seen, balls.pixels, 0).astype(np.int16),
        "num_balls": balls.seen.astype(np.int8) + balls.more.astype(np.int8),
    }


def ball_visible(table: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: frames in which at least half of the ball is in the open, by the columns of a recording."""
    there = table["ball_x"] >= 0
    field = np.zeros((len(there), HEIGHT, WIDTH), bool)
    inside = _open_field(table["bricks"], table["paddle_x"], table["paddle_width"])
    field[:, FIELD_TOP:FIELD_BOTTOM, FIELD_LEFT:FIELD_RIGHT] = inside
    rows = np.clip(
        table["ball_y"].astype(int)[:, None, None] + np.arange(BALL_HEIGHT)[:, None], 0, HEIGHT - 1
    )
    columns = np.clip(table["ball_x"].astype(int)[:, None, None] + np.arange(BALL_WIDTH), 0, WIDTH - 1)
    pixels = field[np.arange(len(there))[:, None, None], rows, columns].sum((1, 2))
    return there & (2 * pixels >= BALL_WIDTH * BALL_HEIGHT)


def _find_bricks(pictures_NCHW: np.ndarray) -> np.ndarray:
    """(N, 6, 18): a brick stands where the mean of its pixels is nearer to its colour than to black."""
    num, channels = pictures_NCHW.shape[:2]
    area = pictures_NCHW[:, :, BRICKS_TOP:BRICKS_BOTTOM, FIELD_LEFT:FIELD_RIGHT]
    cells = area.reshape(num, channels, BRICK_ROWS, BRICK_HEIGHT, BRICK_COLUMNS, BRICK_WIDTH)
    means = cells.mean((3, 5), dtype=np.float32) / (255 if area.dtype == np.uint8 else 1)
    colors = np.stack([color_of(rgb, channels) for rgb in BRICK_RGB])
    share = np.einsum("ncrk,rc->nrk", means, colors) / (colors**2).sum(1)[:, None]
    return share > 0.5


def _find_paddle(likeness_NHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left column and width."""
    rows = slice(PADDLE_ROWS.start - FIELD_TOP, PADDLE_ROWS.stop - FIELD_TOP)
    column, width = find_bar(likeness_NHW[:, rows].mean(1), PADDLE_WIDTHS, least=PADDLE_WIDTHS[1])
    return np.where(column >= 0, column + FIELD_LEFT, NOT_FOUND).astype(np.int16), width


def _open_field(bricks: np.ndarray, paddle_x: np.ndarray, paddle_width: np.ndarray) -> np.ndarray:
    """(N, 164, 144) bool: where a ball would be seen; bricks cover it, the paddle drowns it."""
    field = np.ones((len(bricks), FIELD_BOTTOM - FIELD_TOP, FIELD_RIGHT - FIELD_LEFT), bool)
    wall = bricks.repeat(BRICK_HEIGHT, 1).repeat(BRICK_WIDTH, 2)
    field[:, BRICKS_TOP - FIELD_TOP : BRICKS_BOTTOM - FIELD_TOP] = ~wall
    column = np.arange(FIELD_LEFT, FIELD_RIGHT)
    covered = (column >= paddle_x[:, None]) & (column < (paddle_x + paddle_width)[:, None])
    field[:, PADDLE_ROWS.start - FIELD_TOP : PADDLE_ROWS.stop - FIELD_TOP] &= ~covered[:, None]
    return field


def _field_likeness(pictures_NCHW: np.ndarray) -> np.ndarray:
    """(N, 164, 144) in 0…1: how much a pixel of the playing field looks like the ball.

    The console draws the ball in the colour of the brick rows while it is among them, else in the paddle's.
    """
    field = pictures_NCHW[:, :, FIELD_TOP:FIELD_BOTTOM, FIELD_LEFT:FIELD_RIGHT]
    likeness = likeness_to(field, BALL_RGB)
    for row, rgb in enumerate(BRICK_RGB):
        if rgb != BALL_RGB:
            top = BRICKS_TOP + row * BRICK_HEIGHT - FIELD_TOP
            rows = slice(top, top + BRICK_HEIGHT)
            likeness[:, rows] = likeness_to(field[:, :, rows], rgb)
    return likeness
