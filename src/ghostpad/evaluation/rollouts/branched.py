"""Branches: the next frame that a world predicts under every control, beside the emulator's.

Recordings show what one control did. Branches (`ghostpad record --branches`) show the next frame under each
control from one and the same state, so that a world which ignores its buttons is found out.

Dimensions: n states, A controls, H W frame.
"""

from itertools import combinations
from typing import Any

import numpy as np

from ghostpad.buttons.control_map import ControlMap
from ghostpad.evaluation.reconstruction import psnr_db
from ghostpad.frames.store import FrameStore
from ghostpad.luma import to_channels
from ghostpad.progress import progress
from ghostpad.sums import Measured, Sums, estimate, ratio
from ghostpad.world.world_model import WorldModel

MOST_STATES = 100
KEYS = {
    "branch_psnr_db": ("dB", "PSNR of the next frame under every control of a state, MSE pooled"),
    "branch_copy_psnr_db": ("dB", "the same for copying the current frame"),
    "branch_worst_error_ratio": (
        "ratio",
        "squared error under the control with the largest one, over that under the recorded control",
    ),
    "branch_difference": (
        "share",
        "of the squared difference between the true next frames under two controls that the predicted "
        "difference explains: 0 for a world that ignores its buttons, 1 at best, negative if worse than none",
    ),
    "branch_direction": (
        "share",
        "of pairs of controls with unequal true next frames whose predicted difference has a positive inner "
        "product with the true one",
    ),
    "num_branched": ("states", "of test episodes"),
}
"""Unit and meaning of the numbers of `branched_steps`."""


def branched_steps(world: WorldModel, control_map: ControlMap, store: FrameStore, seed: int = 0) -> Measured:
    """Step the world from branched states of the test split under every control: numbers of `KEYS`.

    Both are empty without branches or with a stride above 1.
    """
    owners, parts = [], []
    episodes = [index for index, episode in enumerate(store.episodes) if episode.split == "test"]
    for episode in progress(episodes, what="branches", unit="episodes"):
        branches, names, held = store.branches(episode), store.control_names(episode), store.controls(episode)
        if world.stride != 1 or branches is None or names is None or held is None:
            continue
        buttons = np.array([control_map.to_button(name) for name in names])
        some = branches.spread(max(1, MOST_STATES // len(episodes)))
        for frame, true in zip(some.frame_index.tolist(), some.next_frames, strict=True):
            past = np.arange(frame + 1 - world.history, frame + 1).clip(0)
            history = store.read(episode, past, world.grayscale)
            true = to_channels(true, world.grayscale)
            parts.append(_sums(world, history, buttons, true, int(held[frame])))
            owners.append(episode)
    numbers, intervals = estimate(parts, owners, _summarize, seed)
    return numbers | ({"num_branched": len(parts)} if parts else {}), intervals


def _sums(
    world: WorldModel, history_kCHW: np.ndarray, buttons_A: np.ndarray, true_ACHW: np.ndarray, held: int
) -> dict[str, Any]:
    """Sums of one state, for `_summarize`."""
    pressed, inverse = np.unique(buttons_A, return_inverse=True)
    state, _ = world.step(world.start(np.repeat(history_kCHW[None], len(pressed), 0)), pressed)
    drawn = state.frames[inverse, -1].astype(np.float64) / 255
    true, current = true_ACHW.astype(np.float64) / 255, history_kCHW[-1].astype(np.float64) / 255
    errors_A = np.square(drawn - true).mean((1, 2, 3))
    pairs = [(true[a] - true[b], drawn[a] - drawn[b]) for a, b in combinations(range(len(true)), 2)]
    pairs = [(wanted, got) for wanted, got in pairs if wanted.any()]
    return {
        **{f"error_{control}": error for control, error in enumerate(errors_A)},
        "recorded": errors_A[held],
        "copied": np.square(current - true).mean(),
        "wanted": sum(np.square(wanted).sum() for wanted, _ in pairs),
        "missed": sum(np.square(wanted - got).sum() for wanted, got in pairs),
        "right": sum(float((wanted * got).sum() > 0) for wanted, got in pairs),
        "pairs": len(pairs),
        "states": 1,
    }


def _summarize(sums: Sums) -> Sums:
    errors_A = np.stack([values for name, values in sums.items() if name.startswith("error_")])
    return {
        "branch_psnr_db": psnr_db(ratio(errors_A.mean(0), sums["states"])),
        "branch_copy_psnr_db": psnr_db(ratio(sums["copied"], sums["states"])),
        "branch_worst_error_ratio": ratio(errors_A.max(0), sums["recorded"]),
        "branch_difference": 1 - ratio(sums["missed"], sums["wanted"]),
        "branch_direction": ratio(sums["right"], sums["pairs"]),
    }
