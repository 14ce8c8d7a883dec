"""The control map: which controls of the game a button stands for, and which button plays each control.

Dimensions: T labelled transitions, K buttons, C controls.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ghostpad.errors import UserError
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.io import read_json, write_json

CONTROLS_FILE = "controls.json"
NOOP_NAMES = ("noop", "stay", "still")  # how the names of controls end that press nothing
_PSEUDO_COUNT = 2.0  # labels of a button, distributed like all labels, that the prior is worth
_MIN_COUNT = 0.1  # labels of a button, to press it at all
_MIN_LIFT = 1.5  # P(control | button) / P(control), for the button to stand for the control


@dataclass(frozen=True)
class ControlMap:
    """Buttons of a world and controls of its game; ValueError if the parts do not fit together."""

    control_names: tuple[str, ...]
    """(C,) names of the real controls, or of the effects of the buttons where there are no labels."""
    control_given_button: tuple[tuple[float, ...], ...]
    """(K, C) P(control | button); rows sum to 1."""
    button_for_control: tuple[int, ...]
    """(C,) the button to press for each control."""
    num_labels: int
    """Labelled transitions that this was fitted to; 0 where the names are those of effects."""

    def __post_init__(self) -> None:
        num_buttons, num_controls = len(self.control_given_button), len(self.control_names)
        widths = {len(self.button_for_control), *map(len, self.control_given_button)}
        if widths != {num_controls} or not {*self.button_for_control} <= {*range(num_buttons)}:
            raise ValueError("its parts do not fit together")

    @classmethod
    def read(cls, folder: Path) -> "ControlMap | None":
        """Read the map in a world's folder, None where there is none; a UserError if it is damaged."""
        path = Path(folder) / CONTROLS_FILE
        try:
            plain = read_json(path)
            return cls(
                tuple(map(str, plain["control_names"])),
                tuple(tuple(map(float, row)) for row in plain["control_given_button"]),
                tuple(map(int, plain["button_for_control"])),
                int(plain["num_labels"]),
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path} is damaged: write it again with ghostpad controls") from None

    def write(self, folder: Path, report: dict[str, Any] | None = None) -> Path:
        """Write the map, and the report on it, into a world's folder: whole or not at all."""
        path = Path(folder) / CONTROLS_FILE
        write_json(path, asdict(self) | ({"report": report} if report else {}))
        return path

    def to_button(self, control: str | int) -> int:
        """The button for a control, by its name in any case, or number; a UserError if there is none."""
        numbers = {name.lower(): number for number, name in enumerate(self.control_names)}
        number = numbers.get(control.lower(), -1) if isinstance(control, str) else control
        if not 0 <= number < len(self.control_names):
            raise UserError(f"there is no control {control!r}; there are {', '.join(self.control_names)}")
        return self.button_for_control[number]

    def recorded_buttons(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray | None:
        """The buttons for the recorded controls of transitions, shaped as `rows`; None if one is unknown."""
        found = read_controls(transitions, rows.ravel(), directions=False)
        if found is None or (found[0] < 0).any():
            return None
        # Of controls that are never held the map may know nothing.
        held, place = np.unique(found[0], return_inverse=True)
        return np.array([self.to_button(found[1][number]) for number in held])[place].reshape(rows.shape)


def fit_control_map(names: Sequence[str], buttons_TK: np.ndarray, controls_T: np.ndarray) -> ControlMap:
    """Fit the map to T labelled transitions: their P(button | transition), and numbers of controls.

    P(control | button) comes from soft counts: each transition is shared among buttons that may explain it. A
    Dirichlet prior shrinks it towards P(control), which is all that is known of an unseen button.
    """
    counts_KC = buttons_TK.T.astype(np.float64) @ np.eye(len(names))[controls_T]
    marginal_C = (counts_KC.sum(0) + 1) / (counts_KC.sum() + len(names))
    given_KC = (counts_KC + _PSEUDO_COUNT * marginal_C) / (counts_KC.sum(1, keepdims=True) + _PSEUDO_COUNT)
    usage_K = (counts_KC.sum(1) + 1) / (counts_KC.sum() + len(counts_KC))
    seen = np.flatnonzero(counts_KC.sum(1) >= _MIN_COUNT)
    return ControlMap(
        tuple(names),
        tuple(tuple(map(float, row)) for row in given_KC),
        _buttons_to_press(names, given_KC, usage_K, marginal_C, seen),
        len(controls_T),
    )


def _buttons_to_press(
    names: Sequence[str], given_KC: np.ndarray, usage_K: np.ndarray, marginal_C: np.ndarray, seen: np.ndarray
) -> tuple[int, ...]:
    """The linear assignment of controls to seen buttons that has the most mutual information.

    A button means a control that is held with it well above average, and not far less so than another. A
    control whose own button does not mean it is played by another that does, as RIGHTFIRE by that of RIGHT,
    and as the no-op where none does, as FIRE without effect.
    """
    lift_KC = given_KC / marginal_C
    bits_KC = usage_K[:, None] * given_KC * np.log2(lift_KC)
    means_KC = (lift_KC >= _MIN_LIFT) & (2 * lift_KC >= lift_KC.max(1, keepdims=True))
    noop = noop_control(names, marginal_C)
    buttons = np.full(len(names), -1)
    for control, place in zip(*linear_sum_assignment(bits_KC[seen].T, maximize=True), strict=True):
        if control == noop or means_KC[seen[place], control]:
            buttons[control] = seen[place]
    if buttons[noop] < 0:  # more controls than buttons
        buttons[noop] = seen[given_KC[seen, noop].argmax()]
    for control in np.flatnonzero(buttons < 0):
        shared = seen[(lift_KC * means_KC)[seen, control].argmax()]
        buttons[control] = shared if means_KC[shared, control] else buttons[noop]
    return tuple(map(int, buttons))


def noop_control(names: Sequence[str], frequency_C: Sequence[float] | np.ndarray = (1.0,)) -> int:
    """Number of the control that presses nothing, by its name; else of the most frequent, or first, one."""
    named = [number for number, name in enumerate(names) if name.lower().endswith(NOOP_NAMES)]
    return named[0] if named else int(np.argmax(frequency_C))
