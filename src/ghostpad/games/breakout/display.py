"""Reads the number of lives above Breakout's playing field.

Dimensions: N pictures, C colour channels, H W picture (210 × 160).
"""

import numpy as np

from ghostpad.games.breakout.detector import NOT_FOUND, WALL_RGB
from ghostpad.games.shapes import likeness_to

DIGIT_ROWS, LIVES_COLUMNS = slice(5, 15), slice(100, 112)
"""A digit is five cells high and three wide; a cell is two pixels high and four wide."""
MOST_WRONG = 1
"""Cells of a digit that may be unlike it."""
_DIGITS = np.array(
    [
        [cell == "#" for cell in rows.replace(" ", "")]
        for rows in (
            "### #.# #.# #.# ###",
            ".#. .#. .#. .#. .#.",
            "### ..# ### #.. ###",
            "### ..# .## ..# ###",
            "#.# #.# ### ..# ..#",
            "### #.. ### ..# ###",
            "#.. #.. ### #.# ###",
            "### ..# ..# ..# ..#",
            "### #.# ### #.# ###",
            "### #.# ### ..# ..#",
        )
    ]
)


def lives_shown(pictures_NCHW: np.ndarray) -> np.ndarray:
    """(N,) int16 the lives that are displayed, the one in play among them; `NOT_FOUND` where no digit is.

    After a loss the display changes a frame later than the game.

    Args:
        pictures_NCHW: uint8 in 0…255 or float in 0…1, C 1 (luma) or 3.
    """
    digit = likeness_to(pictures_NCHW[:, :, DIGIT_ROWS, LIVES_COLUMNS], WALL_RGB)
    cells = digit.reshape(-1, 5, 2, 3, 4).mean((2, 4)).reshape(-1, 15) > 0.5
    wrong = (cells[:, None] != _DIGITS).sum(2)
    return np.where(wrong.min(1) <= MOST_WRONG, wrong.argmin(1), NOT_FOUND).astype(np.int16)
