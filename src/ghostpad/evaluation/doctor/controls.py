"""Verdicts on recorded controls: the stride that shows them best, their alignment, the labels that help.

A quick classifier names the control of held-out transitions from their motion alone, without a model.

Dimensions: N transitions, E control changes, F features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ghostpad.errors import UserError
from ghostpad.evaluation.doctor.motion import classifier_features, shrink
from ghostpad.evaluation.doctor.verdict import Verdict, unknown
from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.probes import label_budget, scores
from ghostpad.evaluation.report.format import count
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.splits import SPLITS
from ghostpad.frames.store import FrameStore

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

TRAIN_TRANSITIONS, HELD_OUT_TRANSITIONS = 1024, 384
"""Transitions to fit on; and to score on, from each of validation and test."""
CHANGES, HELD_OUT_CHANGES = 800, 400
"""Changes of the control to fit and to score on, drawn from `MOST_EPISODES` each."""
MOST_EPISODES, FEWEST_CHANGES = 60, 30
VISIBLE_GAIN = 0.1
"""(accuracy - chance) / (1 - chance) below which controls do not show in the motion: at least 0.3 in Pong,
Breakout, Doom, Crafter and CoinRun; about 0 in Ms. Pac-Man, who turns at junctions only."""
BETTER_STRIDE = 0.08
"""Gain by which a longer stride must be better: twice the standard error, as neighbours are correlated."""
STEADIER = 0.1
"""The same for the share of steady motion, as a share of the best."""
CLEAR_JUMP = 0.1
"""Rise of the accuracy where a new control begins to show: 0.18 to 0.6 in the same games, 0.05 in
Ms. Pac-Man."""
OFFSETS = range(2, -4, -1)
"""Action offsets, from controls of the future to controls of the past."""
BUDGETS = (16, 64, 256, 1024)
FLAT_GAIN = 0.03
"""Accuracy that four times as many labels must add to be worth their while."""
_BLOCK = 32


@dataclass(frozen=True)
class LabelledMotion:
    """Motion features (N, F) and controls (N,) of transitions to fit on and of held-out ones."""

    train: np.ndarray
    train_controls: np.ndarray
    held_out: np.ndarray
    held_out_controls: np.ndarray

    def gain(self, seed: int) -> tuple[float, float]:
        """Accuracy on held-out transitions, and (accuracy - chance) / (1 - chance)."""
        answers = classify(self.train, self.train_controls, self.held_out, seed)
        accuracy = scores(answers, self.held_out_controls)["accuracy"]
        return accuracy, (accuracy - self.chance) / max(1 - self.chance, 1e-9)

    @property
    def chance(self) -> float:
        """Accuracy of always naming the most frequent control."""
        return float((self.held_out_controls == np.bincount(self.train_controls).argmax()).mean())


def classify(features: np.ndarray, labels: np.ndarray, held_out: np.ndarray, seed: int = 0) -> np.ndarray:
    """Name the controls of held-out transitions."""
    return control_forest(seed).fit(features, labels).predict(held_out)


def control_forest(seed: int) -> "ExtraTreesClassifier":
    """An unfitted classifier of controls by motion; a forest needs no scaling of the features."""
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(60, min_samples_leaf=3, max_features="sqrt", random_state=seed, n_jobs=1)


def labelled_motion(store: FrameStore, stride: int, seed: int) -> LabelledMotion | str:
    """Motion and controls of drawn transitions, or why there are none."""
    parts = {}
    for split in SPLITS:
        try:
            transitions = Transitions(store, split, stride)
        except UserError:
            continue  # the split is empty, or its episodes are too short for the stride
        most = TRAIN_TRANSITIONS if split == "train" else HELD_OUT_TRANSITIONS
        rows = draw_blocks(len(transitions), most, seed, _BLOCK)
        controls = read_controls(transitions, rows)
        if controls is None:
            return "the controls were not recorded"
        known = controls[0] >= 0
        if known.any():
            parts[split] = _motion(transitions, rows[known]), controls[0][known]
    held_out = [parts[split] for split in SPLITS[1:] if split in parts]
    if "train" not in parts or not held_out or len(parts["train"][1]) < BUDGETS[0]:
        return "there are too few transitions with controls for training and held-out episodes"
    if len(np.unique(parts["train"][1])) < 2:
        return "there is only one control"
    return LabelledMotion(*parts["train"], *(np.concatenate(part) for part in zip(*held_out, strict=True)))


def best_stride(
    steady: Mapping[int, float], labelled: Mapping[int, LabelledMotion | str], shifted: bool, seed: int
) -> Verdict:
    """The stride at which controls show best; if they do not or are shifted, where motion is steadiest."""
    shown = {stride: part.gain(seed) for stride, part in labelled.items() if not isinstance(part, str)}
    gains = {stride: gain for stride, (_, gain) in shown.items()}
    motion = {stride: float(np.nan_to_num(share)) for stride, share in steady.items()}
    by_control = not shifted and max(gains.values(), default=0.0) >= VISIBLE_GAIN
    clarity = gains if by_control else motion
    highest = max(clarity.values())
    if highest == 0:
        return unknown("best stride", "nothing moves at any stride")
    margin = BETTER_STRIDE if by_control else STEADIER * highest
    best = min(stride for stride, value in clarity.items() if value >= highest - margin)
    finding = "; ".join(
        f"stride {stride}: {motion[stride]:.0%} steady motion"
        + (f", controls named {shown[stride][0]:.0%}" if stride in shown else "")
        for stride in steady
    )
    status, setting = ("ok", "") if best == 1 else ("warning", f"--stride {best}")
    return Verdict("best stride", status, finding, best, count(best, "frame"), "1 frame", setting)


def alignment(store: FrameStore, seed: int, obstacle: str = "") -> Verdict:
    """Whether the control of each transition is the one that was recorded for it.

    Names the new control after each change from the motion around it. Before the control takes effect, motion
    says nothing about it, so the first rise of at least half the largest is where it begins to show. A later
    one may be larger, where objects have inertia.

    Args:
        store: the recording.
        seed: of the draws.
        obstacle: why it cannot be measured, if it cannot.
    """
    name = "controls shifted"
    if obstacle:
        return unknown(name, obstacle)
    drawn = _control_changes(store, seed)
    if isinstance(drawn, str):
        return unknown(name, drawn)
    (features, controls), (held_out, truth) = drawn
    accuracies = [
        scores(classify(features[:, place], controls, held_out[:, place], seed), truth)["accuracy"]
        for place in range(len(OFFSETS))
    ]
    jumps = np.diff(accuracies)
    listed = ", ".join(f"{o:+d}: {value:.0%}" for o, value in zip(OFFSETS, accuracies, strict=True))
    found = f"new controls named from the motion by action offset: {listed}"
    if jumps.max() < CLEAR_JUMP:
        return unknown(name, f"controls do not show in the motion within three frames; {found}")
    offset = OFFSETS[int((jumps >= jumps.max() / 2).argmax()) + 1]
    direction = "start" if offset > 0 else "end"
    setting = f"move `controls` in each episode.json by {abs(offset)} towards the {direction}"
    status, setting = ("problem", setting) if offset else ("ok", "")
    return Verdict(name, status, found, offset, f"{offset:+d} frames", "0 frames", setting)


def _control_changes(
    store: FrameStore, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | str:
    """Motion (E, offsets, F) around control changes, and the new controls (E,): to fit on, and held out."""
    rng, transitions, chosen = np.random.default_rng(seed), Transitions(store, None), []
    for splits, most in ((SPLITS[:1], CHANGES), (SPLITS[1:], HELD_OUT_CHANGES)):
        every = [index for index, episode in enumerate(store.episodes) if episode.split in splits]
        drawn = rng.permutation(every)[:MOST_EPISODES]
        parts = [changes_of(transitions, episode, -(-most // len(drawn)), rng) for episode in drawn]
        parts = [part for part in parts if part is not None]
        if not parts:
            return "no control changes are recorded"
        chosen.append(tuple(np.concatenate(part) for part in zip(*parts, strict=True)))
    if min(len(part[1]) for part in chosen) < FEWEST_CHANGES or len(np.unique(chosen[0][1])) < 2:
        return f"fewer than {FEWEST_CHANGES} control changes are recorded"
    return chosen[0], chosen[1]


def changes_of(
    transitions: Transitions, episode: int, most: int, rng: np.random.Generator, offsets: range = OFFSETS
) -> tuple[np.ndarray, np.ndarray] | None:
    """Motion (E, offsets, F) around at most `most` control changes of an episode, and the new controls (E,).

    `offsets` go from the future to the past, as `OFFSETS`. None without control changes.
    """
    rows = np.flatnonzero(transitions.episode_index == episode)
    read = read_controls(transitions, rows) if len(rows) else None
    if read is None:
        return None
    controls = read[0]
    changes = np.flatnonzero((controls[1:] != controls[:-1]) & (controls[1:] >= 0) & (controls[:-1] >= 0)) + 1
    # The motion at t - offset is paired with the control that begins at t.
    changes = changes[(changes >= offsets[0]) & (changes - offsets[-1] < len(controls))]
    changes = np.sort(rng.permutation(changes)[:most])
    if not len(changes):
        return None
    wanted, places = np.unique(changes[:, None] - np.array(offsets), return_inverse=True)
    features = _motion(transitions, rows[wanted])
    return features[places.reshape(len(changes), -1)], controls[changes]


def _motion(transitions: Transitions, rows: np.ndarray) -> np.ndarray:
    """Motion features (N, F) of transitions, read in blocks to save memory."""
    parts = []
    for start in range(0, len(rows), _BLOCK):
        pair = transitions.read(rows[start : start + _BLOCK], grayscale=True)
        parts.append(classifier_features(*(shrink(frames[:, 0]) for frames in pair)))
    return np.concatenate(parts)


def labels_needed(labelled: LabelledMotion | str, seed: int) -> Verdict:
    """The number of labelled transitions from which more of them add little."""
    name = "labels needed"
    if isinstance(labelled, str):
        return unknown(name, labelled)
    accuracy, gain = labelled.gain(seed)
    if gain < VISIBLE_GAIN:
        return unknown(name, f"motion names {accuracy:.0%} of the controls, chance {labelled.chance:.0%}")
    curve = label_budget(
        lambda features, labels, held_out: classify(features, labels, held_out, seed),
        labelled.train,
        labelled.train_controls,
        labelled.held_out,
        labelled.held_out_controls,
        seed,
        BUDGETS,
    )
    means = {int(budget): values["mean"] for budget, values in curve.items()}
    budgets = list(means)
    flat = (few for few, many in pairwise(budgets) if means[many] - means[few] < FLAT_GAIN)
    enough = next(flat, budgets[-1])
    listed = ", ".join(f"{budget} labels: {mean:.0%}" for budget, mean in means.items())
    finding = f"motion alone names controls with {listed}; chance {labelled.chance:.0%}"
    more = " or more" if enough == budgets[-1] else ""
    return Verdict(name, "ok", finding, enough, f"{count(enough, 'label')}{more}")
