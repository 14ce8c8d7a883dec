"""How well buttons tell the real controls: against the number of labels, chance, the ceiling and raw codes.

Dimensions: T transitions, K buttons, C controls, W transitions of a window.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from ghostpad.buttons.control_map import fit_control_map
from ghostpad.evaluation.agreement import (
    BUDGETS,
    Labelled,
    agreement,
    balanced_accuracy,
    displacement,
    label_budget,
    linear_probe,
    usable,
)
from ghostpad.evaluation.events import associate, grouped
from ghostpad.evaluation.insight import GROUPS, Scene
from ghostpad.frames.controls import control_classes
from ghostpad.frames.pairs import Transitions
from ghostpad.world.likelihood import surprises
from ghostpad.world.world_model import WorldModel

MAP_BUDGETS = tuple(sorted({*BUDGETS, 200}))
NEIGHBOURS = (0, 1)
"""Transitions whose buttons tell of a control together: what is held shows in the next one too."""
_STRENGTH = 1.0
"""Inverse of the regularization of what is linear in neighbours' buttons; 0.1 fails with few labels."""
Probe = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Side:
    """The training or the test episodes' share of the labelled transitions.

    Attributes:
        transitions: of the split.
        rows: (T,) places in it.
        controls: (T,) number of the control held, -1 where nobody said.
        buttons: (T, K) P(button | transition).
        codes: (T, h, w).
        scene: what happens in the transitions.
    """

    transitions: Transitions
    rows: np.ndarray
    controls: np.ndarray
    buttons: np.ndarray
    codes: np.ndarray
    scene: Scene

    def labelled(self, codes: np.ndarray, classes_C: np.ndarray) -> Labelled:
        """The same as evaluation has it: controls as directions, and how far the paddle goes."""
        game, places = self.scene.game, (self.transitions, self.rows)
        moved = displacement(*places, game.paddle, self.scene.known) if game else None
        known = np.where(self.controls < 0, -1, classes_C[self.controls])
        episodes, frames = self.transitions.episode_index[self.rows], self.transitions.frame_index[self.rows]
        return Labelled(episodes, frames, codes, known, moved, self.transitions.stride)


def infer_buttons(
    world: WorldModel, transitions: Transitions, rows: np.ndarray, num_workers: int = 1
) -> np.ndarray:
    """P(button | transition), (T, K) float32, of the transitions `rows`; see `surprises`."""
    return softmax(-surprises(world, transitions, rows, num_workers), axis=1)


def by_map(names: list[str], classes_C: np.ndarray) -> Probe:
    """Name directions by the map of buttons and controls."""

    def probe(buttons: np.ndarray, controls: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        given_KC = np.array(fit_control_map(names, buttons, controls).control_given_button)
        return (held_out @ given_KC @ np.eye(classes_C.max() + 1)[classes_C]).argmax(1)

    return probe


def by_neighbours(classes_C: np.ndarray) -> Probe:
    """Name directions by a linear function of the buttons of neighbouring transitions.

    On recorded Breakout better than a map for each neighbour with any number of labels.
    """

    def probe(buttons: np.ndarray, controls: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        majority = int(np.bincount(classes_C[controls]).argmax())
        return linear_probe(buttons, classes_C[controls], held_out, majority, _STRENGTH)

    return probe


def study_controls(train: Side, test: Side, names: list[str], seed: int) -> dict[str, Any]:
    """Name the controls of test episodes from labels of training episodes, by buttons and by raw codes.

    Returns:
        Keys as those of `agreement` in `metrics.json`: of the buttons, of the buttons of neighbours
        (`window_…`), and of the codes (`codes`).
    """
    directions, classes_C = control_classes(names)
    sides = (train.labelled(train.codes, classes_C), test.labelled(test.codes, classes_C))
    codes, _ = agreement(*sides, len(directions), seed)
    report: dict[str, Any] = {"classes": directions, "codes": codes}
    report |= {key: codes[key] for key in ("num_train", "num_test", "chance", "ceiling") if key in codes}
    report |= {key: codes[key] for key in ("window_chance", "window_ceiling") if key in codes}
    for name, offsets, probe in (
        ("", (0,), by_map(names, classes_C)),
        ("window_", NEIGHBOURS, by_neighbours(classes_C)),
    ):
        fit, score = (usable(side, offsets) for side in sides)
        if not len(fit) or not len(score):  # labels by hand need not be neighbours
            continue
        features, held_out = (
            part.buttons[side.window(offsets)[places]].reshape(len(places), -1)
            for part, side, places in zip((train, test), sides, (fit, score), strict=True)
        )
        controls, truth = train.controls[fit], sides[1].controls[score]
        answers = probe(features, controls, held_out)
        numbers: dict[str, Any] = {
            "accuracy": float((answers == truth).mean()),
            "balanced_accuracy": balanced_accuracy(answers, truth),
            "label_budget": label_budget(probe, features, controls, held_out, truth, seed, MAP_BUDGETS),
        }
        if f"{name}ceiling" in codes:
            room = codes[f"{name}ceiling"] - codes[f"{name}chance"]
            gained = numbers["accuracy"] - codes[f"{name}chance"]
            numbers["share_of_ceiling"] = gained / room if room > 0 else None
        report |= {f"{name}{key}": value for key, value in numbers.items()}
    return report


def informations(side: Side, seed: int) -> dict[str, dict[str, float]]:
    """Mutual information (bits) of the likeliest button with the control and with events; shuffled beside."""
    pressed = side.buttons.argmax(1)[:, None, None]
    told = {}
    if (side.controls >= 0).any():
        known = side.controls >= 0
        told["control"] = associate(pressed[known], side.controls[known], seed)
    for name, beginning in GROUPS.items():
        if any(column.startswith(beginning) for column in side.scene.columns):
            told[name] = associate(pressed, grouped(side.scene.columns, beginning), seed)
    return {name: {"bits": found.bits, "shuffled": found.shuffled_bits} for name, found in told.items()}
