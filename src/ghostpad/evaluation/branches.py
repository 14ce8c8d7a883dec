"""What branches say: how far a control can be told from its next frame, and whether the codes name it.

Branches hold the next frame under every control from one state of the emulator (`sources/branches.py`).
Controls with equal next frames cannot be distinguished, so they form one class.

Dimensions: n branched states, A controls, D directions (classes of controls), h w grid of codes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ghostpad.evaluation.inference import Model, batches, to_numpy
from ghostpad.evaluation.probes import linear_probe, one_hot
from ghostpad.frames.controls import control_classes
from ghostpad.frames.store import FrameStore
from ghostpad.luma import luma
from ghostpad.progress import progress
from ghostpad.sums import Sums, as_floats, bootstrap, ratio, total

NO_BRANCHES = "the recording has no branches; ghostpad record --branches N stores them"
BRANCH_KEYS = ("branch_ceiling", "branch_identifiable", "num_branched")
"""Of `branch_ceiling`, under `agreement` in `metrics.json`."""
ONE_FRAME = "branches are one frame ahead, the model's stride is longer"


def outcomes(next_frames_nAHWC: np.ndarray) -> np.ndarray:
    """(n, A) class of the next frame under each control: the first control that leads to an equal frame."""
    classes = np.empty(next_frames_nAHWC.shape[:2], np.int64)
    for state, frames in enumerate(next_frames_nAHWC):
        first: dict[bytes, int] = {}
        classes[state] = [first.setdefault(frame.tobytes(), control) for control, frame in enumerate(frames)]
    return classes


def best_guess(outcomes_nA: np.ndarray, policy_A: np.ndarray, directions_A: np.ndarray) -> dict[str, float]:
    """How well directions can be named from one next frame at best.

    Args:
        outcomes_nA: class of the next frame under each control.
        policy_A: P(control) of the player, whatever the state.
        directions_A: direction of each control.

    Returns:
        `branch_ceiling`, the expected accuracy of naming, in each class, the direction that the policy holds
        most often; `branch_identifiable`, the share of states and controls whose class has one direction.
    """
    num_controls = len(policy_A)
    members_nAA = outcomes_nA[:, :, None] == np.arange(num_controls)  # by control and class
    weights_nAD = np.einsum("sac,a,ad->scd", members_nAA, policy_A, np.eye(num_controls)[directions_A])
    same_nAA = outcomes_nA[:, :, None] == outcomes_nA[:, None]
    alike_AA = directions_A[:, None] == directions_A
    return {
        "branch_ceiling": float(weights_nAD.max(2).sum(1).mean()),
        "branch_identifiable": float((~same_nAA | alike_AA).all(2).mean()),
    }


def branch_ceiling(store: FrameStore, names: Sequence[str], held: np.ndarray) -> dict[str, float] | str:
    """`best_guess` over the branches of all episodes, or why there is none.

    Args:
        store: a recording, with branches or without.
        names: of the controls.
        held: (T,) controls of the transitions that are scored, −1 where unknown: the policy.
    """
    found = []
    for episode in range(len(store.episodes)):
        branches = store.branches(episode)
        if branches is not None and len(branches) and store.control_names(episode) == list(names):
            found.append(outcomes(branches.next_frames))
    if not found:
        return NO_BRANCHES
    policy = np.bincount(held[held >= 0], minlength=len(names)) / max(1, (held >= 0).sum())
    numbers = best_guess(np.concatenate(found), policy, control_classes(names)[1])
    return numbers | {"num_branched": sum(map(len, found))}


def controllability(
    model: Model, store: FrameStore, split: str, most: int, seed: int
) -> tuple[dict[str, Any], dict[str, tuple[float, float]]] | str:
    """How well codes name the control of a branch, every control being equally frequent.

    Args:
        model: gives the codes.
        store: a recording with branches.
        split: whose branches are scored; a linear probe is fitted to those of training episodes.
        most: branches of each split that are encoded at most.
        seed: of the bootstrap.

    Returns:
        The keys of `controllability` in `metrics.json` and their intervals, or why they are missing.
    """
    if split == "train":
        return "the probe is fitted on the training episodes and cannot be scored on them"
    if int(getattr(model, "stride", 1)) != 1:
        return ONE_FRAME
    train, test = (_encode_branches(model, store, part, most) for part in ("train", split))
    if train is None or test is None or train[1].shape[1] != test[1].shape[1]:
        return NO_BRANCHES
    (_, fitted, _), (episodes, codes, classes) = train, test
    num_states, num_controls = codes.shape[:2]
    features, held_out = one_hot(*(part.reshape(-1, *part.shape[2:]) for part in (fitted, codes)))
    labels, truth = (np.tile(np.arange(num_controls), len(part)) for part in (fitted, codes))
    right = linear_probe(features, labels, held_out, 0) == truth
    sums = {"right": right.reshape(num_states, -1).mean(1), "states": np.ones(num_states)}
    sums |= {"outcomes": (classes == np.arange(num_controls)).mean(1)} | _equal_codes(codes)

    def summarize(sums: Sums) -> Sums:
        return {
            "accuracy": ratio(sums["right"], sums["states"]),
            "upper_bound": ratio(sums["outcomes"], sums["states"]),
            **{key: ratio(sums[key], sums["states"]) for key in _KEYS if num_states > 1},
        }

    numbers = {key: float(value) for key, value in summarize(total(sums)).items()}
    numbers |= {"chance": 1 / num_controls, "num_train": labels.size, "num_test": truth.size}
    return numbers, bootstrap(as_floats(sums), episodes, summarize, seed)


_KEYS = ("equal_codes", "equal_codes_other_control", "equal_cells", "equal_cells_other_control")


def _encode_branches(
    model: Model, store: FrameStore, split: str, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Episode (n,), codes (n, A, h, w) and outcomes (n, A) of states spread evenly over a split."""
    episodes = [index for index, episode in enumerate(store.episodes) if episode.split == split]
    parts = []
    for episode in progress(episodes, what="encode branches", unit="episodes"):
        branches = store.branches(episode)
        if branches is None or not len(branches):
            continue
        num, num_controls = branches.next_frames.shape[:2]
        kept = np.linspace(0, num - 1, min(num, max(1, most // num_controls // len(episodes)))).astype(int)
        next_frames = branches.next_frames[kept]
        frames = store.read(episode, branches.frame_index[kept], model.grayscale)
        flat = next_frames.reshape(-1, *next_frames.shape[2:])
        seen = luma(flat)[:, None] if model.grayscale else np.ascontiguousarray(flat.transpose(0, 3, 1, 2))
        before = np.repeat(frames, num_controls, 0)
        codes = [to_numpy(model.encode(before[rows], seen[rows])) for rows in batches(model, len(seen))]
        codes = np.concatenate(codes).reshape(len(kept), num_controls, *model.grid)
        parts.append((np.full(len(kept), episode), codes, outcomes(next_frames)))
    if not parts or len({part[1].shape[1] for part in parts}) > 1:
        return None
    owners, codes, classes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return owners, codes, classes


def _equal_codes(codes_nAhw: np.ndarray) -> Sums:
    """Of each state, how often its branches and those of other states have equal codes, by `_KEYS`, (n,)."""
    num_states, num_controls = codes_nAhw.shape[:2]
    cells = codes_nAhw.reshape(num_states, num_controls, -1)
    same = np.eye(num_controls, dtype=bool)
    found = np.zeros((num_states, len(_KEYS)))
    for state in range(num_states):
        others = np.delete(cells, state, 0)
        equal_AnAc = cells[state][:, None, None] == others
        for place, equal_AnA in ((0, equal_AnAc.all(3)), (2, equal_AnAc.mean(3))):
            by_pair_AA = equal_AnA.mean(1) if len(others) else np.zeros_like(same, float)
            found[state, place : place + 2] = by_pair_AA[same].mean(), by_pair_AA[~same].mean()
    return dict(zip(_KEYS, found.T, strict=True))
