"""Breakout in open-loop rollouts: errors of paddle and ball, missing balls, bricks that return.

When there must be a ball is decided by a rule from 200 games recorded in the emulator at frame skip 4, in
which it holds without exception: a ball that is lost was last seen on or below line 182 and is then away for
more than two frames; a ball in play is never hidden for more than two frames in a row (and in 0.4 % of its
frames); FIRE does nothing until the seventh frame after a ball was last seen, and then shows one in the next.

Dimensions: T frames of a rollout, the start first; S rollouts.
"""

from dataclasses import dataclass

import numpy as np

from ghostpad.games.base import RolloutStates
from ghostpad.games.breakout.memory import (
    BALL_HEIGHT,
    BALL_WIDTH,
    FIELD_LEFT,
    FIELD_RIGHT,
    PADDLE_ROWS,
    PADDLE_WIDTHS,
)
from ghostpad.games.elements import GameState, Metric
from ghostpad.sums import Sums, as_floats, ratio

LOST_BELOW = 182
"""First line on which a ball is last seen before it is lost."""
MAX_BLINK = 2
"""Most frames in a row in which a ball in play may be hidden."""
SERVE_PAUSE = 7
"""Frames from the last frame with a lost ball to the first in which FIRE is sure to serve another."""
MAX_ERROR_PX = FIELD_RIGHT - FIELD_LEFT - PADDLE_WIDTHS[0]
"""Error of a paddle that is not detected: the largest possible one."""
PADDLE_HORIZON, BALL_HORIZONS = 100, (10, 30, 100)

_SHARE = "share of frames"
METRICS: dict[str, Metric] = {
    "paddle_error_px_100": Metric(
        "pixels",
        "mean distance of the paddle's edge from the emulator's, frames 1 to 100",
        "paddle error over 100 frames",
    ),
    "paddle_found_100": Metric(
        _SHARE, f"with a paddle; one that is not detected counts as {MAX_ERROR_PX} pixels off"
    ),
    "single_ball_share_500": Metric(
        _SHARE, "between launch and loss in the imagined frames, with one ball", "frames with one ball"
    ),
    "emulator_single_ball_share_500": Metric(_SHARE, "the same for the emulator's frames: an upper bound"),
    "single_ball_share_of_emulator_500": Metric(_SHARE, "with one ball, of those with one in the emulator"),
    "one_ball_share_500": Metric(_SHARE, "with exactly one ball, of all frames"),
    "emulator_one_ball_share_500": Metric(_SHARE, "the same for the emulator"),
    "two_balls_frames": Metric("frames", "with more than one ball"),
    "balls_lost": Metric("balls", "that passed below the paddle"),
    "emulator_balls_lost": Metric("balls", "the same in the emulator"),
    "balls_forgotten": Metric("balls", "that vanished at the paddle instead of bouncing"),
    "bricks_back": Metric("bricks", "that appeared again after they were gone", "bricks that came back"),
    **{
        f"ball_error_px_{n}": Metric(
            "pixels", f"larger of the distances in x and y, mean over frames 1 to {n} with a ball in both"
        )
        for n in BALL_HORIZONS
    },
    **{
        f"ball_found_{n}": Metric(_SHARE, f"1 to {n} with a ball, of those with one in the emulator")
        for n in BALL_HORIZONS
    },
}


def score_rollouts(rollouts: RolloutStates) -> Sums:
    """Sums over the frames of each rollout, (S,) each; the start, which is given, does not count."""
    predicted, true, num = rollouts.predicted, rollouts.true, rollouts.valid.shape[1]
    fires = rollouts.controls == rollouts.control_names.index("FIRE")
    frame = np.arange(len(rollouts.valid))[:, None]
    counted = rollouts.valid & (frame > 0)
    there, found = true["paddle_x"] >= 0, predicted["paddle_x"] >= 0
    error = np.where(found, np.abs(predicted["paddle_x"].astype(int) - true["paddle_x"]), MAX_ERROR_PX)
    frames = counted & there & (frame <= PADDLE_HORIZON)
    sums: Sums = {"frames": counted.sum(0), "paddle": frames.sum(0), "paddle_found": (frames & found).sum(0)}
    sums["paddle_error"] = (frames * error).sum(0)
    both = (true["num_balls"] > 0) & (predicted["num_balls"] > 0)
    distance = np.maximum(
        *(np.abs(predicted[axis].astype(int) - true[axis]) for axis in ("ball_x", "ball_y"))
    )
    for horizon in BALL_HORIZONS:
        frames = counted & (frame <= horizon)
        sums[f"ball_there_{horizon}"] = (frames & (true["num_balls"] > 0)).sum(0)
        sums[f"ball_both_{horizon}"] = (frames & both).sum(0)
        sums[f"ball_error_{horizon}"] = (distance * (frames & both)).sum(0)
    one, true_one = predicted["num_balls"] == 1, true["num_balls"] == 1
    sums |= {"one": (counted & one).sum(0), "true_one": (counted & true_one).sum(0)}
    sums["one_of_true"] = (counted & one & true_one).sum(0)
    sums["two"] = (counted & (predicted["num_balls"] > 1)).sum(0)
    for prefix, state in (("", predicted), ("true_", true)):
        plays = [
            ball_in_play({name: c[:, n] for name, c in state.items()}, fires[:, n], rollouts.lives[n])
            for n in range(num)
        ]
        expected = counted & np.stack([play.expected for play in plays], 1)
        sums[f"{prefix}expected"] = expected.sum(0)
        sums[f"{prefix}single"] = (expected & (state["num_balls"] == 1)).sum(0)
        sums[f"{prefix}lost"] = (counted & np.stack([play.lost for play in plays], 1)).sum(0)
        sums[f"{prefix}forgotten"] = (counted & np.stack([play.forgotten for play in plays], 1)).sum(0)
    back = predicted["bricks"][1:] & ~predicted["bricks"][:-1] & counted[1:, :, None, None]
    sums["bricks_back"] = back.sum((0, 2, 3))
    return as_floats(sums)


def summarize_rollouts(sums: Sums) -> Sums:
    """The numbers of `METRICS`, from sums over rollouts."""
    metrics = {
        "paddle_error_px_100": ratio(sums["paddle_error"], sums["paddle"]),
        "paddle_found_100": ratio(sums["paddle_found"], sums["paddle"]),
        "single_ball_share_500": ratio(sums["single"], sums["expected"]),
        "emulator_single_ball_share_500": ratio(sums["true_single"], sums["true_expected"]),
        "single_ball_share_of_emulator_500": ratio(sums["one_of_true"], sums["true_one"]),
        "one_ball_share_500": ratio(sums["one"], sums["frames"]),
        "emulator_one_ball_share_500": ratio(sums["true_one"], sums["frames"]),
        "two_balls_frames": sums["two"],
        "balls_lost": sums["lost"],
        "emulator_balls_lost": sums["true_lost"],
        "balls_forgotten": sums["forgotten"],
        "bricks_back": sums["bricks_back"],
    }
    for horizon in BALL_HORIZONS:
        both = sums[f"ball_both_{horizon}"]
        metrics[f"ball_error_px_{horizon}"] = ratio(sums[f"ball_error_{horizon}"], both)
        metrics[f"ball_found_{horizon}"] = ratio(both, sums[f"ball_there_{horizon}"])
    return metrics


@dataclass(frozen=True)
class InPlay:
    """When there must be a ball.

    Attributes:
        expected: (T,) bool, frames between launch and loss.
        lost: (T,) bool, first frames without a ball that passed below the paddle.
        forgotten: (T,) bool, first frames without a ball that vanished at the paddle instead of bouncing.
    """

    expected: np.ndarray
    lost: np.ndarray
    forgotten: np.ndarray


def ball_in_play(state: GameState, fires: np.ndarray, lives: int) -> InPlay:
    """When there must be a ball: from launch to loss, both as these frames show them.

    A ball is launched in the first frame that shows one, or that FIRE led to after the game's pause, while
    lives are left. It is lost in the first frame without it after it was last seen at the bottom, if it stays
    away for longer than a blink and was not about to reach the paddle. A ball that vanishes anywhere else is
    not lost: it is expected until the frames show one again.

    Args:
        state: detected in T frames of one rollout.
        fires: (T,) bool, frames that FIRE was held on the way to.
        lives: left at the start.
    """
    visible = state["num_balls"] > 0
    lost, forgotten = np.zeros((2, len(visible)), bool)
    for first, end in _gaps(visible):
        long = end - first > MAX_BLINK or end == len(visible)
        if first and long and state["ball_y"][first - 1] >= LOST_BELOW:
            forgotten[first] = _reaches_paddle(state, first)
            lost[first] = not forgotten[first]
    expected, playing, last_seen = np.zeros(len(visible), bool), False, 0
    for frame in range(len(visible)):
        launches = fires[frame] and frame - 1 - last_seen >= SERVE_PAUSE
        last_seen = frame if visible[frame] else last_seen
        if lost[frame]:
            playing = False
            lives -= 1
        elif lives > 0 and (visible[frame] or launches):
            playing = True
        expected[frame] = playing
    return InPlay(expected, lost, forgotten)


def _gaps(visible: np.ndarray) -> list[tuple[int, int]]:
    """First frame of each run without a ball, and the first frame after it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], visible, [True]]).astype(int)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def _reaches_paddle(state: GameState, gone: int) -> bool:
    """Whether a ball of constant velocity would stay above the paddle all the way through its rows."""
    if gone < 2 or state["num_balls"][gone - 2] == 0:
        return False
    ball_x, ball_y, paddle_x, width = (
        state[name].astype(float) for name in ("ball_x", "ball_y", "paddle_x", "paddle_width")
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
