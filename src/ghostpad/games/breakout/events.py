"""Events of Breakout: motion of the paddle, bounces, bricks broken, balls launched and lost.

Dimensions: N frames of one episode.
"""

import numpy as np

from ghostpad.games.breakout.memory import (
    BALL_HEIGHT,
    BRICKS_BOTTOM,
    FIELD_LEFT,
    FIELD_RIGHT,
    FIELD_TOP,
    PADDLE_ROWS,
)
from ghostpad.games.elements import GameState
from ghostpad.games.trajectories import first_of_two, turn


def events(state: GameState, stride: int) -> dict[str, np.ndarray]:
    """Events of each transition of one episode.

    Returns:
        (N - stride,) bool by event. A bounce is a turn of the ball between the transition before and the one
        after, in the transition in which it would otherwise have passed what it bounces from.
    """
    now, then = slice(None, -stride), slice(stride, None)
    paddle, seen = state["paddle_x"].astype(int), state["paddle_x"] >= 0
    moved = np.where(seen[now] & seen[then], paddle[then] - paddle[now], 0)
    broken = (state["bricks"][now] & ~state["bricks"][then]).any((1, 2))
    there = state["ball_x"] >= 0
    turns_x, past_x, _ = turn(state["ball_x"].astype(int), there, stride)
    turns_y, past_y, around_y = turn(state["ball_y"].astype(int), there, stride)
    lost, launched = _lost_and_launched(state, stride)
    columns = {
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
    return {name: np.asarray(column) for name, column in columns.items()}


def _lost_and_launched(state: GameState, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Balls lost and launched; where lives are unknown, by where balls vanish and appear."""
    now, then = slice(None, -stride), slice(stride, None)
    there = state["ball_x"] >= 0
    below_bricks = state["ball_y"] >= BRICKS_BOTTOM
    launched = ~there[now] & there[then] & below_bricks[then]
    if "lives" in state:
        return state["lives"][then] < state["lives"][now], launched
    near_the_end = state["ball_y"][now] > (BRICKS_BOTTOM + PADDLE_ROWS.start) // 2
    return there[now] & ~there[then] & near_the_end, launched
