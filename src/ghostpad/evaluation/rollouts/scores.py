"""The numbers of a world that was watched beside the emulator; `KEYS` says what each one means.

Dimensions: T frames with the start first, N worlds side by side, one for each start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostpad.evaluation.reconstruction import psnr_db
from ghostpad.games.breakout import detector as breakout
from ghostpad.games.breakout.ball_in_play import ball_in_play
from ghostpad.games.elements import Found, as_floats
from ghostpad.games.sums import Sums, ratio

PADDLE_FRAMES, BALL_FRAMES, PICTURE_FRAMES = 100, (10, 30, 100), (1, 10, 100)
FARTHEST_PX = breakout.FIELD_RIGHT - breakout.FIELD_LEFT - breakout.PADDLE_WIDTHS[0]
"""What a paddle counts that cannot be found: the farthest that one can be off."""

_SHARE = "share of frames"
KEYS: dict[str, tuple[str, str]] = {
    "num_starts": ("starts", "held-out frames that world and emulator went on from"),
    "num_frames": (
        "frames",
        "that were compared: less than the steps of all starts where the emulator's game was over",
    ),
    "paddle_error_px_100": (
        "pixels",
        "mean distance of the paddle's edge from the emulator's, frames 1 to 100",
    ),
    "paddle_found_100": (
        _SHARE,
        f"in which a paddle is found; where it is not, it counts {FARTHEST_PX} pixels",
    ),
    "single_ball_share_500": (_SHARE, "between launch and loss, in the world's own pictures, with one ball"),
    "emulator_single_ball_share_500": (_SHARE, "the same for the emulator's pictures: what is possible"),
    "single_ball_share_of_emulator_500": (_SHARE, "in which the emulator shows one ball, with one ball"),
    "one_ball_share_500": (_SHARE, "with exactly one ball, of all frames"),
    "emulator_one_ball_share_500": (_SHARE, "the same for the emulator"),
    "two_balls_frames": ("frames", "that show more than one ball"),
    "balls_lost": ("balls", "that passed below the paddle"),
    "emulator_balls_lost": ("balls", "the same in the emulator"),
    "balls_forgotten": ("balls", "that vanished on the paddle instead of bouncing"),
    "bricks_back": ("bricks", "that stood again after they were gone"),
    **{
        f"ball_error_px_{n}": (
            "pixels",
            f"larger of the distances in x and y, mean over frames 1 to {n} with a ball in both",
        )
        for n in BALL_FRAMES
    },
    **{
        f"ball_found_{n}": (_SHARE, f"1 to {n} in which the emulator shows a ball, with a ball in the world")
        for n in BALL_FRAMES
    },
    **{f"psnr_db_{n}": ("dB", f"PSNR at frame {n}, MSE pooled over the starts") for n in PICTURE_FRAMES},
    **{f"copy_psnr_db_{n}": ("dB", f"the same for showing the start for {n} frames") for n in PICTURE_FRAMES},
}


@dataclass(frozen=True)
class Watched:
    """What was seen of N worlds and of the emulators beside them.

    Attributes:
        drawn: columns of the detector for the worlds, (T, N, …).
        true: the same for the emulators.
        fires: (T, N) bool, frames that FIRE was held on the way to.
        valid: (T, N) bool, frames of games that are not over.
        squared: by number of frames (N,) sums of squared errors over the values of a picture, in [0, 1]².
        copy_squared: the same for showing the start.
        num_values: of a picture.
    """

    drawn: Found
    true: Found
    fires: np.ndarray
    valid: np.ndarray
    squared: dict[int, np.ndarray]
    copy_squared: dict[int, np.ndarray]
    num_values: int


def score(watched: Watched, lives: Sequence[int]) -> Sums:
    """Sums for each start, (N,) each; the start itself, which is given, counts nowhere.

    Args:
        watched: what was seen.
        lives: left at each start.
    """
    drawn, true, num = watched.drawn, watched.true, watched.valid.shape[1]
    after = np.arange(len(watched.valid))[:, None]
    counted = watched.valid & (after > 0)
    sums: dict[str, np.ndarray] = {}
    there, found = true["paddle_x"] >= 0, drawn["paddle_x"] >= 0
    off = np.where(found, np.abs(drawn["paddle_x"].astype(int) - true["paddle_x"]), FARTHEST_PX)
    frames = counted & there & (after <= PADDLE_FRAMES)
    sums |= {"paddle": frames.sum(0), "paddle_found": (frames & found).sum(0)}
    sums["paddle_error"] = (frames * off).sum(0)
    both = (true["num_balls"] > 0) & (drawn["num_balls"] > 0)
    gaps = [np.abs(drawn[axis].astype(int) - true[axis]) for axis in ("ball_x", "ball_y")]
    for limit in BALL_FRAMES:
        frames = counted & (after <= limit)
        sums[f"ball_there_{limit}"] = (frames & (true["num_balls"] > 0)).sum(0)
        sums[f"ball_both_{limit}"] = (frames & both).sum(0)
        sums[f"ball_error_{limit}"] = (np.maximum(*gaps) * (frames & both)).sum(0)
    one, true_one = drawn["num_balls"] == 1, true["num_balls"] == 1
    sums |= {"frames": counted.sum(0), "one": (counted & one).sum(0), "true_one": (counted & true_one).sum(0)}
    sums["one_of_true"] = (counted & one & true_one).sum(0)
    sums["two"] = (counted & (drawn["num_balls"] > 1)).sum(0)
    for prefix, columns in (("", drawn), ("true_", true)):
        plays = [
            ball_in_play({name: c[:, n] for name, c in columns.items()}, watched.fires[:, n], lives[n])
            for n in range(num)
        ]
        expected = counted & np.stack([play.expected for play in plays], 1)
        sums[f"{prefix}expected"] = expected.sum(0)
        sums[f"{prefix}single"] = (expected & (columns["num_balls"] == 1)).sum(0)
        sums[f"{prefix}lost"] = (counted & np.stack([play.lost for play in plays], 1)).sum(0)
        sums[f"{prefix}forgotten"] = (counted & np.stack([play.forgotten for play in plays], 1)).sum(0)
    back = drawn["bricks"][1:] & ~drawn["bricks"][:-1] & counted[1:, :, None, None]
    sums["bricks_back"] = back.sum((0, 2, 3))
    for step, squared in watched.squared.items():
        running = watched.valid[step]
        sums[f"values_{step}"] = running * watched.num_values
        sums[f"squared_{step}"] = running * squared
        sums[f"copy_squared_{step}"] = running * watched.copy_squared[step]
    return as_floats(sums)


def summarize(sums: Sums, num_frames: int) -> Sums:
    """The numbers of `KEYS` of sums over starts, without those that want more than `num_frames` frames."""
    metrics = {
        "num_frames": sums["frames"],
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
    for limit in BALL_FRAMES:
        metrics[f"ball_error_px_{limit}"] = ratio(sums[f"ball_error_{limit}"], sums[f"ball_both_{limit}"])
        metrics[f"ball_found_{limit}"] = ratio(sums[f"ball_both_{limit}"], sums[f"ball_there_{limit}"])
    for step in PICTURE_FRAMES:
        if f"values_{step}" in sums:
            for prefix in ("", "copy_"):
                squared = sums[f"{prefix}squared_{step}"]
                metrics[f"{prefix}psnr_db_{step}"] = psnr_db(ratio(squared, sums[f"values_{step}"]))
    return {name: value for name, value in metrics.items() if reach(name) <= num_frames}


def reach(name: str) -> int:
    """Frames that a number of `KEYS` wants, by its name."""
    last = name.rpartition("_")[2]
    return int(last) if last.isdigit() else 0
