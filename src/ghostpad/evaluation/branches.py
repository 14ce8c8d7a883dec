"""Branches: how well the next frame identifies a control, and whether codes and buttons name it.

Branches hold the next frame under every control from one state of the emulator (`sources/branches.py`).
Controls with equal next frames cannot be distinguished, so they form one class.

Dimensions: n branched states, A controls, D directions of controls, h w grid of codes, c cells.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ghostpad.buttons.labelling import fit_buttons
from ghostpad.buttons.persistence import PersistenceConfig
from ghostpad.evaluation.inference import Model, batches, to_numpy
from ghostpad.evaluation.probes import linear_probe, one_hot
from ghostpad.frames.controls import control_classes
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.luma import to_channels
from ghostpad.motion import features_of_pairs
from ghostpad.progress import progress
from ghostpad.sources.branches import Branches
from ghostpad.sums import Measured, Sums, estimate, ratio

NO_BRANCHES = (
    "needs branches of training and of other episodes (ghostpad record --branches), and a stride of 1"
)
BRANCH_KEYS = ("branch_ceiling", "branch_identifiable", "num_branched")
"""Of `branch_ceiling`, under `agreement` in `metrics.json`."""
CODE_KEYS = ("equal_codes", "equal_codes_other_control", "equal_cells", "equal_cells_other_control")
BUTTON_KEYS = ("button_accuracy", "equal_buttons", "equal_buttons_other_control")
"""Of `button_controllability`, under `controllability` in `metrics.json`."""
_SHARED_KEYS = ("accuracy", "equal_codes", "equal_codes_other_control")
"""What `BUTTON_KEYS` are for codes."""


def outcomes(next_frames_nAHWC: np.ndarray) -> np.ndarray:
    """(n, A) class of the next frame under each control: the first control that leads to an equal frame."""
    classes = np.empty(next_frames_nAHWC.shape[:2], np.int64)
    for state, frames in enumerate(next_frames_nAHWC):
        first: dict[bytes, int] = {}
        classes[state] = [first.setdefault(frame.tobytes(), control) for control, frame in enumerate(frames)]
    return classes


def branch_ceiling(transitions: Transitions, names: Sequence[str], held: np.ndarray) -> dict[str, float]:
    """How well directions can be named from one next frame at best, by the branches of all episodes.

    The policy is how often each control is held, whatever the state: `held` are the controls (T,) of the
    transitions, −1 where unknown. A player who acts by what is on the screen can be guessed better.

    Returns:
        `branch_ceiling`, the expected accuracy of naming, in each class, the direction that the policy holds
        most often; `branch_identifiable`, the share of states and controls whose class has one direction;
        `num_branched`, the states. Empty without branches.
    """
    store, found = transitions.store, []
    for episode in range(len(store.episodes)):
        branches = store.branches(episode) if transitions.stride == 1 else None
        if branches is not None and len(branches) and store.control_names(episode) == list(names):
            found.append(outcomes(branches.next_frames))
    if not found:
        return {}
    outcomes_nA, directions_A = np.concatenate(found), control_classes(names)[1]
    policy_A = np.bincount(held[held >= 0], minlength=len(names)) / max(1, (held >= 0).sum())
    members_nAA = outcomes_nA[:, :, None] == np.arange(len(names))  # by control and class
    weights_nAD = np.einsum("nac,a,ad->ncd", members_nAA, policy_A, np.eye(len(names))[directions_A])
    other_AA = directions_A[:, None] != directions_A
    confused_nA = ((outcomes_nA[:, :, None] == outcomes_nA[:, None]) & other_AA).any(2)
    numbers = (weights_nAD.max(2).sum(1).mean(), 1 - confused_nA.mean())
    return dict(zip(BRANCH_KEYS, (*map(float, numbers), len(outcomes_nA)), strict=True))


def controllability(model: Model, store: FrameStore, split: str, most: int, seed: int) -> Measured:
    """How well codes name the control of a branch, every control being equally frequent.

    A linear probe is fitted to branches of training episodes and scored on those of `split`, at most `most`
    of each: the keys of `controllability` in `metrics.json`. Empty without branches.
    """
    if int(getattr(model, "stride", 1)) != 1:
        return {}, {}

    def encode(episode: int, branches: Branches) -> np.ndarray:
        num, num_controls = branches.next_frames.shape[:2]
        steps = np.arange(1 - getattr(model, "history", 1), 1)
        indices_nT = (branches.frame_index[:, None] + steps).clip(0)
        read = store.read(episode, indices_nT.ravel(), model.grayscale)
        frames = read.reshape(*indices_nT.shape, *read.shape[1:])
        before = np.repeat(frames if len(steps) > 1 else frames[:, 0], num_controls, 0)
        flat = branches.next_frames.reshape(-1, *branches.next_frames.shape[2:])
        seen = to_channels(flat, model.grayscale)
        codes = [to_numpy(model.encode(before[rows], seen[rows])) for rows in batches(model, len(seen))]
        return np.concatenate(codes).reshape(num, num_controls, *model.grid)

    return _measure(encode, store, split, most, seed)


def button_controllability(store: FrameStore, split: str, most: int, num_buttons: int, seed: int) -> Measured:
    """The same for buttons (`BUTTON_KEYS`): the likeliest one given the motion from a frame to its branch.

    The classifier is that of `extract --buttons`. It is not smoothed over neighbours here: a branch has none
    after it, and those before it say the same of every control.

    Raises:
        UserError: the training episodes are too short for buttons.
    """
    motion, classifier = fit_buttons(store, 1, PersistenceConfig(num_buttons, seed))

    def infer(episode: int, branches: Branches) -> np.ndarray:
        num, num_controls = branches.next_frames.shape[:2]
        frames = store.read(episode, branches.frame_index, False)
        after = to_channels(branches.next_frames.reshape(-1, *branches.next_frames.shape[2:]), False)
        before = np.repeat(frames, num_controls, 0)
        features = features_of_pairs(motion, store, episode, before, after)
        return classifier.posterior(features).argmax(1).reshape(num, num_controls, 1, 1)

    numbers, bounds = (
        {name: part[key] for key, name in zip(_SHARED_KEYS, BUTTON_KEYS, strict=True) if key in part}
        for part in _measure(infer, store, split, most, seed)
    )
    return numbers, bounds


def _measure(
    encode: Callable[[int, Branches], np.ndarray], store: FrameStore, split: str, most: int, seed: int
) -> Measured:
    """Measure codes (n, A, h, w) of branches; the keys of `controllability` and their intervals."""
    if split == "train":
        return {}, {}
    fitted, held_out = (_branched(store, part, most) for part in ("train", split))
    if (
        len({part.next_frames.shape[1] for _, part in (*fitted, *held_out)}) != 1
        or not fitted
        or not held_out
    ):
        return {}, {}
    train, test = (
        np.concatenate([encode(*part) for part in progress(parts, what="encode branches", unit="episodes")])
        for parts in (fitted, held_out)
    )
    num_states, num_controls = test.shape[:2]
    labels, truth = (np.tile(np.arange(num_controls), len(part)) for part in (train, test))
    features, unseen = one_hot(*(part.reshape(-1, *part.shape[2:]) for part in (train, test)))
    right = linear_probe(features, labels, unseen, 0) == truth
    classes = np.concatenate([outcomes(part.next_frames) for _, part in held_out])
    sums = {
        "accuracy": right.reshape(num_states, -1).mean(1),
        "upper_bound": (classes == np.arange(num_controls)).mean(1),
        **(_equal_codes(test) if num_states > 1 else {}),
        "states": np.ones(num_states),
    }

    def means(sums: Sums) -> Sums:
        return {key: ratio(values, sums["states"]) for key, values in sums.items() if key != "states"}

    episodes = np.concatenate([np.full(len(part), episode) for episode, part in held_out])
    numbers, intervals = estimate([sums], episodes, means, seed)
    counts = {"chance": 1 / num_controls, "num_train": labels.size, "num_test": truth.size}
    return numbers | counts, intervals


def _branched(store: FrameStore, split: str, most: int) -> list[tuple[int, Branches]]:
    """Episodes of a split with states spread evenly over them, at most `most` branches in all."""
    episodes = [index for index, episode in enumerate(store.episodes) if episode.split == split]
    found = []
    for episode in episodes:
        branches = store.branches(episode)
        if branches is not None and len(branches):
            num_controls = branches.next_frames.shape[1]
            found.append((episode, branches.spread(max(1, most // num_controls // len(episodes)))))
    return found


def _equal_codes(codes_nAhw: np.ndarray) -> Sums:
    """Of each state, how often its branches and those of other states have equal codes: `CODE_KEYS`, (n,)."""
    num_states, num_controls = codes_nAhw.shape[:2]
    cells, same_AA = codes_nAhw.reshape(num_states, num_controls, -1), np.eye(num_controls, dtype=bool)
    rows = []
    for state in range(num_states):
        equal_AnAc = cells[state][:, None, None] == np.delete(cells, state, 0)
        by_pair = [equal.mean(1) for equal in (equal_AnAc.all(3), equal_AnAc.mean(3))]
        rows.append([pairs_AA[which].mean() for pairs_AA in by_pair for which in (same_AA, ~same_AA)])
    return dict(zip(CODE_KEYS, np.array(rows).T, strict=True))
