"""What a table of speeds means: where the limit is, and which setting to change."""

from typing import Literal

import numpy as np

from ghostpad.training.pace import in_words
from ghostpad.training.speed import Speed

# From these shares of a step on, data or fixed costs are called the limit.
DATA_SHARE, FIXED_SHARE = 0.15, 0.3
# A GPU less busy than this waits for launches; cores less busy than this work for others.
BUSY_SHARE, OTHERS_SHARE = 0.7, 0.5


def fixed_share(speeds: list[Speed], like: Speed) -> float | None:
    """Share of a step that does not grow with the batch: launches, Python, the optimizer. None if unknown.

    A straight line through the step times of all batch sizes with the same precision and compile mode.
    """
    alike = [
        s for s in speeds if (s.precision, s.compile) == (like.precision, like.compile) and not s.failure
    ]
    if len({speed.batch_size for speed in alike}) < 2:
        return None
    times = [speed.resident_seconds for speed in alike]
    slope, fixed = np.polyfit([speed.batch_size for speed in alike], times, 1)
    return float(np.clip(fixed / max(fixed + slope * like.batch_size, 1e-12), 0, 1))


def limit_of(speed: Speed, fixed: float | None, on_gpu: bool) -> Literal["data", "launches", "arithmetic"]:
    """What a step waits for most."""
    if 1 - speed.resident_seconds / speed.step_seconds > DATA_SHARE:
        return "data"
    idle = on_gpu and speed.busy is not None and speed.busy < BUSY_SHARE
    return "launches" if idle or (fixed or 0) > FIXED_SHARE else "arithmetic"


def conclusions(best: Speed, own: Speed, speeds: list[Speed], steps: int, on_gpu: bool) -> list[str]:
    """Say which setting is best, what the limit is at the preset's batch size, and what to change.

    Args:
        best: the fastest setting of all.
        own: the fastest with the preset's batch size.
        speeds: all that worked.
        steps: steps of the preset's training.
        on_gpu: whether it ran on a GPU.
    """
    fixed = fixed_share(speeds, own)
    limit = limit_of(own, fixed, on_gpu)
    waiting = max(0.0, 1 - own.resident_seconds / own.step_seconds)
    advice = {
        "data": "more frames on the GPU (--frames-budget-gb), or a store on a faster disk",
        "launches": f"--batch-size {max(best.batch_size, 2 * own.batch_size)}"
        + (", or --compile graphs" if on_gpu else ""),
        "arithmetic": "less of it: --downsample 2, a smaller preset, or a faster device",
    }[limit]
    known = "" if fixed is None else f", {100 * fixed:.0f} % does not grow with the batch"
    others = not on_gpu and own.busy is not None and own.busy < OTHERS_SHARE
    lines = [
        f"Fastest: {options_of(best)}: {best.pairs_per_second:.3g} pairs a second.",
        f"With the preset's batch of {own.batch_size}: {options_of(own)}: {own.pairs_per_second:.3g} pairs a "
        f"second; its {steps} steps take about {in_words(steps * own.step_seconds)}.",
        f"The limit is {limit}: {100 * waiting:.0f} % of a step waits for data{known}. What helps: {advice}.",
    ]
    if others:
        lines.append(
            "Other work kept the cores from this for much of the time: measure again on an idle machine."
        )
    return lines


def options_of(speed: Speed) -> str:
    """The setting as options of `ghostpad train`."""
    compiled = "" if speed.compile == "no" else f" --compile {speed.compile}"
    return f"--batch-size {speed.batch_size} --precision {speed.precision}{compiled}"
