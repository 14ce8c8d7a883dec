"""Breakout in a world's own pictures: from when to when there must be one ball.

The rule comes from 200 recorded games of the emulator at frame skip 4, in which it holds without exception: a
ball that is lost was last seen on or below line 182 and is then away for more than two frames; one that is in
play is never unseen for more than two frames in a row, and in 0.4 % of its frames; FIRE does nothing until
the seventh frame after a ball was last seen, and from then on a ball shows in the very next one.

Dimensions: T frames of one world, the start first.
"""

from dataclasses import dataclass

import numpy as np

from ghostpad.games.breakout.detector import BALL_HEIGHT, BALL_WIDTH, PADDLE_ROWS
from ghostpad.games.elements import Found

LOW = 182
"""First line on which a ball is last seen before it is lost."""
BLINK = 2
"""Frames for which a ball in play may be unseen, at most."""
PAUSE = 7
"""Frames from the last sight of a lost ball to the first in which FIRE surely launches another."""


@dataclass(frozen=True)
class InPlay:
    """When there must be a ball.

    Attributes:
        expected: (T,) bool, frames between launch and loss.
        lost: (T,) bool, first frames without a ball that passed below the paddle.
        forgotten: (T,) bool, first frames without a ball that vanished on the paddle instead of bouncing.
    """

    expected: np.ndarray
    lost: np.ndarray
    forgotten: np.ndarray


def ball_in_play(found: Found, fires: np.ndarray, lives: int) -> InPlay:
    """Tell when there must be a ball: from launch to loss, both as this world shows them.

    A ball is launched in the first frame that shows one, or that FIRE led to (after the pause that the game
    makes), while lives are left: a world that launches none owes it. It is lost in the first frame that lacks
    it after it was last seen at the bottom, if it stays away for longer than a blink and was not about to
    meet the paddle. A ball that vanishes anywhere else has not been lost, and stays owed until the world
    shows one again.

    Args:
        found: columns of the detector, T rows.
        fires: (T,) bool, frames that FIRE was held on the way to.
        lives: that were left at the start.
    """
    seen = found["num_balls"] > 0
    lost, forgotten = np.zeros((2, len(seen)), bool)
    for first, end in _unseen(seen):
        long = end - first > BLINK or end == len(seen)
        if first and long and found["ball_y"][first - 1] >= LOW:
            forgotten[first] = _meets_paddle(found, first)
            lost[first] = not forgotten[first]
    expected, playing, last_seen = np.zeros(len(seen), bool), False, 0
    for frame in range(len(seen)):
        launches = fires[frame] and frame - 1 - last_seen >= PAUSE
        last_seen = frame if seen[frame] else last_seen
        if lost[frame]:
            playing = False
            lives -= 1
        elif lives > 0 and (seen[frame] or launches):
            playing = True
        expected[frame] = playing
    return InPlay(expected, lost, forgotten)


def _unseen(seen: np.ndarray) -> list[tuple[int, int]]:
    """First frame of each run without a ball, and the first frame after it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], seen, [True]]).astype(int)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def _meets_paddle(found: Found, gone: int) -> bool:
    """Whether a ball, going on as before, would be on the paddle all the way through its rows."""
    if gone < 2 or found["num_balls"][gone - 2] == 0:
        return False
    ball_x, ball_y, paddle_x, width = (
        found[name].astype(float) for name in ("ball_x", "ball_y", "paddle_x", "paddle_width")
    )
    last = gone - 1
    speed_x, speed_y = ball_x[last] - ball_x[last - 1], ball_y[last] - ball_y[last - 1]
    if speed_y <= 0 or paddle_x[last] < 0:
        return False
    # Its top line, from where its lower end has reached the paddle to the paddle's last row.
    lines = np.arange(PADDLE_ROWS.start + 1 - BALL_HEIGHT, PADDLE_ROWS.stop)
    when = (lines - ball_y[last]) / speed_y
    left = ball_x[last] + speed_x * when
    paddle = np.interp(when, [-1, 0, 1], paddle_x[last - 1 : last + 2])
    return bool(((left + BALL_WIDTH > paddle + 1) & (left < paddle + width[last] - 1)).all())
