"""The numbers of a world that was watched beside the emulator; `KEYS` says what each one means.

Dimensions: T frames with the start first, N worlds side by side, one for each start.
"""

from dataclasses import dataclass

import numpy as np

from ghostpad.evaluation.reconstruction import psnr_db
from ghostpad.games import Game, RolloutStates
from ghostpad.sums import Sums, as_floats, ratio

PICTURE_FRAMES = (1, 10, 100)

KEYS: dict[str, tuple[str, str]] = {
    "num_starts": ("starts", "held-out frames that world and emulator went on from"),
    "num_frames": (
        "frames",
        "that were compared: less than the steps of all starts where the emulator's game was over",
    ),
    **{f"psnr_db_{n}": ("dB", f"PSNR at frame {n}, MSE pooled over the starts") for n in PICTURE_FRAMES},
    **{f"copy_psnr_db_{n}": ("dB", f"the same for showing the start for {n} frames") for n in PICTURE_FRAMES},
}


@dataclass(frozen=True)
class Watched:
    """What was seen of N worlds and of the emulators beside them.

    Attributes:
        states: detected in the frames of the worlds and of the emulators.
        squared: by number of frames (N,) sums of squared errors over the values of a picture, in [0, 1]².
        copy_squared: the same for showing the start.
        num_values: of a picture.
    """

    states: RolloutStates
    squared: dict[int, np.ndarray]
    copy_squared: dict[int, np.ndarray]
    num_values: int


def score(watched: Watched, game: Game) -> Sums:
    """Sums for each start, (N,) each; the start itself, which is given, counts nowhere."""
    valid = watched.states.valid
    sums = {"frames": valid[1:].sum(0), **game.score_rollouts(watched.states)}
    for step, squared in watched.squared.items():
        running = valid[step]
        sums[f"values_{step}"] = running * watched.num_values
        sums[f"squared_{step}"] = running * squared
        sums[f"copy_squared_{step}"] = running * watched.copy_squared[step]
    return as_floats(sums)


def summarize(sums: Sums, game: Game, num_frames: int) -> Sums:
    """The numbers of `KEYS` of sums over starts, without those that want more than `num_frames` frames."""
    metrics = {"num_frames": sums["frames"], **game.summarize_rollouts(sums)}
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
