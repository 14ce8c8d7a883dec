"""Finds ball, paddle and bricks in pictures of Breakout, true and predicted alike.

Works on single pictures, gray or RGB, crisp or blurred, from pixels alone; `benchmarks/detector.py` holds it
against the emulator's memory. Nothing here is learned: the scene's layout is fixed by the game.

Dimensions: N pictures, C colour channels (1 or 3), H W picture (210 × 160).
"""

import numpy as np

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
    wall = _color(WALL_RGB, pictures_NCHW.shape[1])
    places = (np.s_[:, :, 20:30, :], np.s_[:, :, 40:180, 1:7], np.s_[:, :, 40:180, 153:159])
    parts = [_unit(pictures_NCHW[place]).mean((0, 2, 3)) for place in places]
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
    ball = _find_ball(likeness, open_field)
    return {**ball, "paddle_x": paddle_x, "paddle_width": paddle_width, "bricks": bricks}


def _find_bricks(pictures_NCHW: np.ndarray) -> np.ndarray:
    """(N, 6, 18): a brick stands where the mean of its pixels is nearer to its colour than to black."""
    num, channels = pictures_NCHW.shape[:2]
    area = pictures_NCHW[:, :, BRICKS_TOP:BRICKS_BOTTOM, FIELD_LEFT:FIELD_RIGHT]
    cells = area.reshape(num, channels, BRICK_ROWS, BRICK_HEIGHT, BRICK_COLUMNS, BRICK_WIDTH)
    means = cells.mean((3, 5), dtype=np.float32) / (255 if area.dtype == np.uint8 else 1)
    colors = np.stack([_color(rgb, channels) for rgb in BRICK_RGB])
    share = np.einsum("ncrk,rc->nrk", means, colors) / (colors**2).sum(1)[:, None]
    return share > 0.5


def _find_paddle(likeness_NHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left column and width: the bar that leaves the least squared error over the paddle's rows."""
    rows = slice(PADDLE_ROWS.start - FIELD_TOP, PADDLE_ROWS.stop - FIELD_TOP)
    profile = likeness_NHW[:, rows].mean(1)
    total = np.concatenate([np.zeros((len(profile), 1), np.float32), profile.cumsum(1)], 1)
    width = FIELD_RIGHT - FIELD_LEFT
    left = np.arange(width - PADDLE_WIDTHS[1] + 1)
    # A bar of ones over columns a…b changes the squared error by -Σ(2·profile - 1) over them.
    rights = [np.minimum(left + bar, width) for bar in PADDLE_WIDTHS]
    scores = [2 * (total[:, right] - total[:, left]) - (right - left) for right in rights]
    best = np.concatenate(scores, 1).argmax(1)
    which, column = best // len(left), best % len(left)
    score = np.concatenate(scores, 1)[np.arange(len(best)), best]
    found_width = np.stack(rights)[which, column] - column
    seen = score > 0.25 * found_width
    paddle_x = np.where(seen, column + FIELD_LEFT, NOT_FOUND)
    return paddle_x.astype(np.int16), np.where(seen, found_width, 0).astype(np.int16)


def _open_field(bricks: np.ndarray, paddle_x: np.ndarray, paddle_width: np.ndarray) -> np.ndarray:
    """(N, 164, 144) bool: where a ball would be seen; bricks cover it, the paddle drowns it."""
    field = np.ones((len(bricks), FIELD_BOTTOM - FIELD_TOP, FIELD_RIGHT - FIELD_LEFT), bool)
    wall = bricks.repeat(BRICK_HEIGHT, 1).repeat(BRICK_WIDTH, 2)
    field[:, BRICKS_TOP - FIELD_TOP : BRICKS_BOTTOM - FIELD_TOP] = ~wall
    column = np.arange(FIELD_LEFT, FIELD_RIGHT)
    covered = (column >= paddle_x[:, None]) & (column < (paddle_x + paddle_width)[:, None])
    field[:, PADDLE_ROWS.start - FIELD_TOP : PADDLE_ROWS.stop - FIELD_TOP] &= ~covered[:, None]
    return field


def _find_ball(likeness_NHW: np.ndarray, open_field: np.ndarray) -> dict[str, np.ndarray]:
    """Find the box that explains the picture best, and whether another one is needed.

    A box scores Σ(2·likeness - 1) over its pixels in the open: what it takes off the error of a picture
    without a ball. A box that hangs under a brick or a wall is thus placed by the part that can be seen.
    """
    num = len(likeness_NHW)
    score = _box_sums(np.where(open_field, 2 * likeness_NHW - 1, 0).astype(np.float32))
    height, width = score.shape[1:]
    flat = score.reshape(num, -1)
    best = flat.argmax(1)
    row, column = best // width, best % width
    seen = flat[np.arange(num), best] >= MIN_EVIDENCE
    pixels = _pixels_in_the_open(open_field, row, column)
    # A second ball is one whose box does not touch the first.
    near_rows = np.abs(np.arange(height) - row[:, None]) < BALL_HEIGHT
    near_columns = np.abs(np.arange(width) - column[:, None]) < BALL_WIDTH
    score[near_rows[:, :, None] & near_columns[:, None, :]] = -np.inf
    second = score.reshape(num, -1).max(1) >= MIN_EVIDENCE
    x = np.where(seen, column + FIELD_LEFT - (BALL_WIDTH - 1), NOT_FOUND).astype(np.int16)
    y = np.where(seen, row + FIELD_TOP - (BALL_HEIGHT - 1), NOT_FOUND).astype(np.int16)
    visible = np.where(seen, pixels, 0).astype(np.int16)
    num_balls = seen.astype(np.int8) + (seen & second)
    return {"ball_x": x, "ball_y": y, "ball_pixels": visible, "num_balls": num_balls}


def _box_sums(values_NHW: np.ndarray) -> np.ndarray:
    """Sums over every 2 × 4 box that overlaps the field: (N, H + 3, W + 1)."""
    across, down = BALL_WIDTH - 1, BALL_HEIGHT - 1
    padded = np.pad(values_NHW, ((0, 0), (down, down), (across, across)))
    columns = padded[:, :, :-across] + padded[:, :, across:]
    pairs = columns[:, :-1] + columns[:, 1:]
    return pairs[:, :-2] + pairs[:, 2:]


def _pixels_in_the_open(open_field: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    across, down = BALL_WIDTH - 1, BALL_HEIGHT - 1
    padded = np.pad(open_field, ((0, 0), (down, down), (across, across)))
    picture = np.arange(len(row))[:, None, None]
    rows = row[:, None, None] + np.arange(BALL_HEIGHT)[:, None]
    columns = column[:, None, None] + np.arange(BALL_WIDTH)
    return padded[picture, rows, columns].sum((1, 2))


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


def likeness_to(pictures_NCHW: np.ndarray, rgb: tuple[int, int, int]) -> np.ndarray:
    """(N, H, W) in 0…1: 1 where a pixel has the colour, 0 where it is as far from it as black or farther."""
    color = _color(rgb, pictures_NCHW.shape[1])
    if pictures_NCHW.dtype == np.uint8 and pictures_NCHW.shape[1] == 1:
        table = np.clip(1 - np.abs(np.arange(256, dtype=np.float32) / 255 - color[0]) / color[0], 0, 1)
        return table[pictures_NCHW[:, 0]]
    away = ((_unit(pictures_NCHW) - color[:, None, None]) ** 2).sum(1)
    return np.clip(1 - np.sqrt(away / (color**2).sum()), 0, 1)


def _unit(pictures: np.ndarray) -> np.ndarray:
    return pictures.astype(np.float32) / 255 if pictures.dtype == np.uint8 else pictures.astype(np.float32)


def _color(rgb: tuple[int, int, int], channels: int) -> np.ndarray:
    """An RGB colour as (C,) float32 in 0…1; one channel is luma, rounded as in Pillow."""
    if channels == 1:
        red, green, blue = rgb
        return np.array([((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16) / 255], np.float32)
    return np.array(rgb, np.float32) / 255
