"""Finds ball and paddles in pictures of Pong, true and predicted alike, and says what happens.

The second row of the table of games: nothing but that table knows of this file.

Dimensions: N pictures, C colour channels (1 or 3), H W picture (210 × 160).
"""

import numpy as np

from ghostpad.games.breakout.detector import MIN_EVIDENCE, ball_columns
from ghostpad.games.breakout.events import first_of_two, turn
from ghostpad.games.pong_memory import (
    BALL_HEIGHT,
    BALL_WIDTH,
    FIELD_BOTTOM,
    FIELD_TOP,
    OPPONENT_LEFT,
    PADDLE_HEIGHT,
    PADDLE_LEFT,
    PADDLE_WIDTH,
)
from ghostpad.games.shapes import color_of, find_bar, find_box, likeness_to, to_unit

HEIGHT, WIDTH = 210, 160
GROUND_RGB, WALL_RGB, BALL_RGB = (144, 72, 17), (236, 236, 236), (236, 236, 236)
PADDLE_RGB, OPPONENT_RGB = (92, 186, 92), (213, 130, 74)
_MIN_ROWS = 2
"""Rows of a paddle that must be in the field."""


def applies(pictures_NCHW: np.ndarray, tolerance: float = 0.08) -> bool:
    """Whether these are pictures of Pong: walls and ground have their colours, on average."""
    if pictures_NCHW.shape[2:] != (HEIGHT, WIDTH) or not len(pictures_NCHW):
        return False
    channels = pictures_NCHW.shape[1]
    places = (
        (np.s_[:, :, 25:33], WALL_RGB),
        (np.s_[:, :, 196:208], WALL_RGB),
        (np.s_[:, :, 36:192, 30:130], GROUND_RGB),
    )
    off = (to_unit(pictures_NCHW[place]).mean((0, 2, 3)) - color_of(rgb, channels) for place, rgb in places)
    return bool(max(np.abs(part).max() for part in off) < tolerance)


def detect(pictures_NCHW: np.ndarray) -> dict[str, np.ndarray]:
    """Find ball and paddles.

    Args:
        pictures_NCHW: (N, C, 210, 160), uint8 in 0…255 or float in 0…1, C 1 (luma) or 3.

    Returns:
        Columns named as in `truth.npz`; those of the ball are described at `breakout.detect`. `paddle_y`,
        `paddle_height`, `opponent_y`, `opponent_height` (N,) int16: first row and rows in the field.
    """
    field = pictures_NCHW[:, :, FIELD_TOP:FIELD_BOTTOM]
    ball = likeness_to(field, BALL_RGB, GROUND_RGB)
    balls = find_box(ball, np.ones(ball.shape, bool), (BALL_HEIGHT, BALL_WIDTH), MIN_EVIDENCE)
    found = ball_columns(balls, 0, FIELD_TOP)
    for name, left, rgb in (("paddle", PADDLE_LEFT, PADDLE_RGB), ("opponent", OPPONENT_LEFT, OPPONENT_RGB)):
        bar = field[:, :, :, left : left + PADDLE_WIDTH]
        profile = likeness_to(bar, rgb, GROUND_RGB).mean(2)
        row, height = find_bar(profile, (PADDLE_HEIGHT,), least=_MIN_ROWS, over_the_start=True)
        found[f"{name}_y"] = np.where(row >= 0, row + FIELD_TOP, row).astype(np.int16)
        found[f"{name}_height"] = height
    return found


def ball_visible(table: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: frames that show the ball; nothing hides it."""
    return table["ball_x"] >= 0


def events(table: dict[str, np.ndarray], stride: int) -> dict[str, np.ndarray]:
    """What happens in each transition of one episode: (N - stride,) bool by event.

    Args:
        table: columns of N frames, from the emulator's memory or from `detect`.
        stride: frames from a frame to its next frame.
    """
    now, then = slice(None, -stride), slice(stride, None)
    # The end that stays in the field tells how a paddle goes that is partly out of it.
    end = table["paddle_y"].astype(int) + table["paddle_height"]
    seen = (table["paddle_y"][now] >= 0) & (table["paddle_y"][then] >= 0)
    start = table["paddle_y"].astype(int)
    moved = np.where(seen, np.sign(start[then] - start[now] + end[then] - end[now]), 0)
    there = table["ball_x"] >= 0
    turns_x, past_x, _ = turn(table["ball_x"].astype(int), there, stride)
    turns_y, past_y, _ = turn(table["ball_y"].astype(int), there, stride)
    vanishes, place = there[now] & ~there[then], table["ball_x"][now]
    happens = {
        "paddle_up": moved < 0,
        "paddle_down": moved > 0,
        "paddle_still": (moved == 0) & seen,
        "bounce_paddle": first_of_two((turns_x < 0) & (past_x > PADDLE_LEFT - BALL_WIDTH), stride),
        "bounce_opponent": first_of_two((turns_x > 0) & (past_x < OPPONENT_LEFT + PADDLE_WIDTH), stride),
        "bounce_wall": first_of_two((turns_y > 0) & (past_y < FIELD_TOP), stride)
        | first_of_two((turns_y < 0) & (past_y > FIELD_BOTTOM - BALL_HEIGHT), stride),
        "ball_launched": ~there[now] & there[then],
        "point_won": vanishes & (place < WIDTH // 2),
        "point_lost": vanishes & (place >= WIDTH // 2),
    }
    return {name: np.asarray(column) for name, column in happens.items()}
