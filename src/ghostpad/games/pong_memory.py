"""Pong: what the console's memory says about a frame.

The addresses were found by comparing memory with pixels; the tests compare them again. Places are exact to
one pixel: the console draws some lines one lower than memory has them.
"""

import numpy as np

FIELD_TOP, FIELD_BOTTOM = 34, 194
"""First row of the playing field and the first below it."""
BALL_WIDTH, BALL_HEIGHT = 2, 4
PADDLE_HEIGHT = 16
OPPONENT_LEFT, PADDLE_LEFT, PADDLE_WIDTH = 16, 140, 4


def truth_from_ram(ram: np.ndarray) -> dict[str, np.ndarray]:
    """Read the state of the game out of memory.

    Args:
        ram: (N, 128) uint8, one row per frame.

    Returns:
        `ball_x`, `ball_y` int16 (N,): top-left pixel of the 2×4 ball, -1 when no part of it is in the field;
        `paddle_y`, `paddle_height`, `opponent_y`, `opponent_height` int16 (N,): first row and number of rows
        of the part of each paddle that is in the field, -1 and 0 when none is (the player is on the right);
        `score`, `opponent_score` int16 (N,).
    """
    values = ram.astype(np.int16)
    ball_x, ball_y = values[:, 49] - 49, values[:, 54] - 14
    # Between points the ball rests at column 0 or right of the field, and its row is 0.
    there = (values[:, 54] != 0) & (values[:, 49] != 0) & (ball_y > FIELD_TOP - BALL_HEIGHT)
    truth = {
        "ball_x": np.where(there, ball_x, -1).astype(np.int16),
        "ball_y": np.where(there, ball_y, -1).astype(np.int16),
        "score": values[:, 14],
        "opponent_score": values[:, 13],
    }
    for name, row in (("paddle", values[:, 51] - 13), ("opponent", values[:, 50] - 15)):
        top, bottom = np.maximum(row, FIELD_TOP), np.minimum(row + PADDLE_HEIGHT, FIELD_BOTTOM)
        height = np.maximum(bottom - top, 0).astype(np.int16)
        truth[f"{name}_y"] = np.where(height > 0, top, -1).astype(np.int16)
        truth[f"{name}_height"] = height
    return truth
