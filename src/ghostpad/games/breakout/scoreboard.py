"""Points and lives of Breakout, read from frames, true or imagined.

Dimensions: N games or frames, C colour channels, H W frame (210 × 160).
"""

import numpy as np

from ghostpad.games.breakout.detector import WALL_RGB, detect
from ghostpad.games.breakout.memory import BRICK_COLUMNS, BRICK_ROWS
from ghostpad.games.breakout.rollouts import LOST_BELOW, MAX_BLINK
from ghostpad.games.matching import NOT_FOUND, likeness_to

BRICK_POINTS = (7, 7, 4, 4, 1, 1)
"""Points for a brick of each row, top row first."""

DIGIT_ROWS, LIVES_COLUMNS = slice(5, 15), slice(100, 112)
"""A digit is five cells high and three wide; a cell is two pixels high and four wide."""
MAX_WRONG_CELLS = 1
"""Cells in which a digit may differ from its template."""
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


class BreakoutScoreboard:
    """A brick that vanishes brings points once; a life is lost when the ball is gone for good at the bottom.

    Attributes:
        lives: (N,) lives left, the one in play included.
    """

    def __init__(self, num_games: int) -> None:
        self.lives, self._frames_without_ball = np.zeros((2, num_games), int)
        self._ball_is_low = np.zeros(num_games, bool)
        self._present = np.zeros((num_games, BRICK_ROWS, BRICK_COLUMNS), bool)

    def reset(self, games: np.ndarray, frames_NCHW: np.ndarray) -> None:
        """Restart some games at the first frame of each."""
        state = detect(frames_NCHW)
        self.lives[games] = read_lives(frames_NCHW)
        self._frames_without_ball[games] = 0
        self._ball_is_low[games] = state["ball_y"] >= LOST_BELOW
        self._present[games] = state["bricks"]

    def step(self, frames_NCHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N,) and whether the last life is lost (N,)."""
        state = detect(frames_NCHW)
        visible = state["num_balls"] > 0
        self._frames_without_ball = np.where(visible, 0, self._frames_without_ball + 1)
        self._ball_is_low = np.where(visible, state["ball_y"] >= LOST_BELOW, self._ball_is_low)
        lost = self._ball_is_low & (self._frames_without_ball == MAX_BLINK + 1)
        self.lives -= lost
        return self._points(state["bricks"]), lost & (self.lives == 0)

    def _points(self, bricks: np.ndarray) -> np.ndarray:
        """Points for bricks that vanish for the first time; after the last one, a new wall counts again."""
        cleared = ~self._present.any((1, 2), keepdims=True)
        self._present |= cleared & bricks
        points = ((self._present & ~bricks).sum(2) * BRICK_POINTS).sum(1).astype(np.float64)
        self._present &= bricks
        return points


def read_lives(frames_NCHW: np.ndarray) -> np.ndarray:
    """(N,) int16: the displayed lives, the one in play included; `NOT_FOUND` where there is no digit.

    After a loss the display changes one frame later than the game.
    """
    digit = likeness_to(frames_NCHW[:, :, DIGIT_ROWS, LIVES_COLUMNS], WALL_RGB)
    cells = digit.reshape(-1, 5, 2, 3, 4).mean((2, 4)).reshape(-1, 15) > 0.5
    wrong = (cells[:, None] != _DIGITS).sum(2)
    return np.where(wrong.min(1) <= MAX_WRONG_CELLS, wrong.argmin(1), NOT_FOUND).astype(np.int16)
