"""What happens in Breakout from frame to frame: bounces, bricks, lives, and the paddle.

Dimensions: N frames of one episode.
"""

import numpy as np

from ghostpad.games.breakout.detector import (
    BALL_HEIGHT,
    BRICKS_BOTTOM,
    FIELD_LEFT,
    FIELD_RIGHT,
    FIELD_TOP,
    PADDLE_ROWS,
)


def events(table: dict[str, np.ndarray], stride: int) -> dict[str, np.ndarray]:
    """What happens in each transition of one episode.

    Args:
        table: columns of N frames, from the emulator's memory or from `detect`.
        stride: frames from a frame to its next frame.

    Returns:
        (N - stride,) bool by event. A bounce is a turn of the ball between the transition before and the one
        after, in the transition in which it would otherwise have passed what it bounces from.
    """
    now, then = slice(None, -stride), slice(stride, None)
    paddle, seen = table["paddle_x"].astype(int), table["paddle_x"] >= 0
    moved = np.where(seen[now] & seen[then], paddle[then] - paddle[now], 0)
    broken = (table["bricks"][now] & ~table["bricks"][then]).any((1, 2))
    there = table["ball_x"] >= 0
    turns_x, past_x, _ = turn(table["ball_x"].astype(int), there, stride)
    turns_y, past_y, around_y = turn(table["ball_y"].astype(int), there, stride)
    lost, launched = _lost_and_launched(table, stride)
    happens = {
        "paddle_left": moved < 0,
        "paddle_right": moved > 0,
        "paddle_still": (moved == 0) & seen[now] & seen[then],
        "bounce_paddle": first_of_two((turns_y < 0) & (past_y > PADDLE_ROWS.start - BALL_HEIGHT), stride),
        "bounce_wall": first_of_two((turns_x > 0) & (past_x < FIELD_LEFT - 1), stride)
        | first_of_two((turns_x < 0) & (past_x > FIELD_RIGHT - 1), stride)
        | first_of_two((turns_y > 0) & (past_y < FIELD_TOP), stride),
        "bounce_brick": broken & around_y,
        "brick_broken": broken,
        "ball_launched": launched,
        "life_lost": lost,
    }
    return {name: np.asarray(column) for name, column in happens.items()}


def turn(place: np.ndarray, there: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How a ball turns along one axis, for each transition.

    Returns:
        The direction after a turn (0: none); where the ball would have been without one; and whether it moves
        otherwise after the transition than before, be the turn in it or beside it.
    """
    num = len(place) - stride
    turned, past = np.zeros(num, int), np.zeros(num, int)
    inner = np.arange(stride, num - stride)
    before = place[inner] - place[inner - stride]
    after = place[inner + 2 * stride] - place[inner + stride]
    known = there[inner - stride] & there[inner] & there[inner + stride] & there[inner + 2 * stride]
    kept_on = place[inner + stride] - place[inner] == before
    around = np.zeros(num, bool)
    around[inner] = known & (np.sign(before) * np.sign(after) < 0)
    turned[inner] = np.where(around[inner] & ~kept_on, np.sign(after), 0)
    past[inner] = place[inner] + before
    return turned, past, around


def first_of_two(happens: np.ndarray, stride: int) -> np.ndarray:
    """The first of two: a turn within a transition slows it down and so shows in the next one too."""
    happens = happens.copy()
    happens[stride:] &= ~happens[:-stride]
    return happens


def _lost_and_launched(table: dict[str, np.ndarray], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Balls that are lost and launched; without lives, by where they vanish and appear."""
    now, then = slice(None, -stride), slice(stride, None)
    there = table["ball_x"] >= 0
    below_bricks = table["ball_y"] >= BRICKS_BOTTOM
    launched = ~there[now] & there[then] & below_bricks[then]
    if "lives" in table:
        return table["lives"][then] < table["lives"][now], launched
    near_the_end = table["ball_y"][now] > (BRICKS_BOTTOM + PADDLE_ROWS.start) // 2
    return there[now] & ~there[then] & near_the_end, launched
