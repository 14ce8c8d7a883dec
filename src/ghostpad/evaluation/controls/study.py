"""How well buttons name controls: against the number of labels, chance, ceilings, and a probe on the codes.

Dimensions: T transitions, K buttons, C controls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.buttons.control_map import fit_control_map
from ghostpad.evaluation.branches import branch_ceiling
from ghostpad.evaluation.ground_truth import GroundTruth
from ghostpad.evaluation.mutual_information import associate, grouped
from ghostpad.evaluation.probes import (
    BUDGETS,
    Labelled,
    agreement,
    label_budget,
    linear_probe,
    scores,
    share_of_ceiling,
)
from ghostpad.frames.controls import control_classes
from ghostpad.frames.pairs import Transitions

MAP_BUDGETS = tuple(sorted({*BUDGETS, 200}))
WINDOW = (0, 1)
"""Transitions whose buttons name a control together: what is held shows in the next transition too."""
_INVERSE_REGULARIZATION = 1.0
"""Of the probe on the buttons of a window; 0.1 fails with few labels (Breakout)."""


@dataclass(frozen=True)
class Sample:
    """Transitions of the training or the test split.

    Attributes:
        transitions: of the split.
        rows: (T,) which of them.
        controls: (T,) number of the control that was held, -1 where it is not known.
        buttons: (T, K) P(button | transition).
        codes: (T, h, w).
        truth: state and events of the transitions.
    """

    transitions: Transitions
    rows: np.ndarray
    controls: np.ndarray
    buttons: np.ndarray
    codes: np.ndarray
    truth: GroundTruth

    @property
    def controlled(self) -> str | None:
        """Name of the element that the player moves; None in an unknown game."""
        game = self.truth.game
        return game.controlled.name if game and game.controlled else None

    def labelled(self, classes_C: np.ndarray) -> Labelled:
        """The transitions as `agreement` takes them, with classes of controls."""
        classes = np.where(self.controls < 0, -1, classes_C[self.controls])
        return Labelled.of(self.transitions, self.rows, self.codes, classes)

    @property
    def displacement(self) -> np.ndarray | None:
        """(T,) pixels that the controlled element moves, None in an unknown game."""
        element = self.truth.game.controlled if self.truth.game else None
        if element is None:
            return None
        moved, episodes = np.empty(len(self.rows)), self.transitions.episode_index[self.rows]
        for episode, state in self.truth.states.items():
            here, position = episodes == episode, state[element.column].astype(float)
            frames = self.transitions.frame_index[self.rows[here]]
            moved[here] = position[frames + self.transitions.stride] - position[frames]
        return moved


def study_controls(
    train: Sample, test: Sample, names: Sequence[str], ceilings: Mapping[str, float], seed: int
) -> dict[str, Any]:
    """Name the controls of test episodes from labels of training episodes: the keys of `agreement`.

    They are given for buttons, for buttons of a window (`window_…`), and for codes (under `codes`).
    """
    directions, classes_C = control_classes(names)
    sides = (train.labelled(classes_C), test.labelled(classes_C))
    codes, _ = agreement(*sides, len(directions), seed, ceilings)
    shared = ("num_train", "num_test", "chance", "ceiling", "window_chance", "window_ceiling")
    report = {"classes": directions, "codes": codes} | {key: codes[key] for key in shared if key in codes}
    report |= branch_ceiling(test.transitions, names, test.controls)

    def by_map(buttons: np.ndarray, controls: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        given_KC = np.array(fit_control_map(names, buttons, controls).control_given_button)
        return (held_out @ given_KC @ np.eye(len(directions))[classes_C]).argmax(1)

    def by_regression(buttons: np.ndarray, controls: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        return linear_probe(buttons, classes_C[controls], held_out, 0, _INVERSE_REGULARIZATION)

    # A regression names the controls of windows better than a map for each place (Breakout, any budget).
    for prefix, window, probe in (("", (0,), by_map), ("window_", WINDOW, by_regression)):
        fit, score = (side.usable(window) for side in sides)
        if not len(fit) or not len(score):  # transitions that are labelled by hand may have no neighbours
            continue
        features, held_out = (
            sample.buttons[side.window(window)[rows]].reshape(len(rows), -1)
            for sample, side, rows in zip((train, test), sides, (fit, score), strict=True)
        )
        labels, truth = train.controls[fit], sides[1].controls[score]
        answers = probe(features, labels, held_out)
        numbers: dict[str, Any] = {
            **scores(answers, truth),
            "label_budget": label_budget(probe, features, labels, held_out, truth, seed, MAP_BUDGETS),
        }
        if f"{prefix}ceiling" in codes:
            levels = codes[f"{prefix}chance"], codes[f"{prefix}ceiling"]
            numbers["share_of_ceiling"] = share_of_ceiling(numbers["accuracy"], *levels)
        report |= {f"{prefix}{key}": value for key, value in numbers.items()}
    return report


def mutual_information(sample: Sample, seed: int) -> dict[str, dict[str, float]]:
    """Bits that the likeliest button shares with controls and with groups of events; and when shuffled."""
    buttons = sample.buttons.argmax(1)[:, None, None]
    known, events, game = sample.controls >= 0, sample.truth.events, sample.truth.game
    found = {"control": associate(buttons[known], sample.controls[known], seed)} if known.any() else {}
    for group in game.event_groups if game else ():
        found[group] = associate(buttons, grouped(events, group), seed)
    return {name: {"bits": each.bits, "shuffled": each.shuffled_bits} for name, each in found.items()}
