"""Verdicts on recorded controls: the stride that shows them best, their alignment, the labels that help.

A quick classifier names the control of held-out transitions from their motion alone, without a model.

Dimensions: N transitions, F features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ghostpad.errors import UserError
from ghostpad.evaluation.action_offset import measure_action_offset
from ghostpad.evaluation.doctor.motion import control_forest, motion_of
from ghostpad.evaluation.doctor.verdict import Verdict, unknown
from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.probes import label_budget, scores
from ghostpad.evaluation.report.format import count
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.splits import SPLITS
from ghostpad.frames.store import FrameStore

TRAIN_TRANSITIONS, HELD_OUT_TRANSITIONS = 1024, 384
"""Transitions to fit on; and to score on, from each of validation and test."""
VISIBLE_GAIN = 0.1
"""(accuracy - chance) / (1 - chance) below which controls do not show in the motion: at least 0.3 in Pong,
Breakout, Doom, Crafter and CoinRun; about 0 in Ms. Pac-Man, who turns at junctions only."""
BETTER_STRIDE = 0.08
"""Gain by which a longer stride must be better: twice the standard error, as neighbours are correlated."""
STEADIER = 0.1  # the same for the share of steady motion, as a share of the best
BUDGETS = (16, 64, 256, 1024)
FLAT_GAIN = 0.03  # accuracy that four times as many labels must add to be worth their while
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
            parts[split] = motion_of(transitions, rows[known]), controls[0][known]
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

    `obstacle` says why that cannot be measured, if it cannot.
    """
    name = "controls shifted"
    if obstacle:
        return unknown(name, obstacle)
    found = measure_action_offset(store, seed)
    if found.offset is None or not found.is_sure:
        return unknown(name, str(found))
    direction = "start" if found.offset > 0 else "end"
    setting = f"move `controls` in each episode.json by {abs(found.offset)} towards the {direction}"
    status, setting = ("problem", setting) if found.offset else ("ok", "")
    return Verdict(name, status, str(found), found.offset, f"{found.offset:+d} frames", "0 frames", setting)


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
