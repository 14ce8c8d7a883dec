"""Which control of the game each button stands for, and which button to press for each control.

Dimensions: T labelled transitions, K buttons, C controls.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.io import write_json

CONTROLS_FILE = "controls.json"
REST = ("noop", "stay", "still")
"""How names end that mean: nothing is pressed."""
_DOUBT = 2.0
"""Labels' worth of belief, for each button, that it is used like all the others."""
_SEEN = 0.1
"""Labels' worth of a button below which nothing is known of it."""
_LEAST_LIFT = 1.5
"""How much more often than usual a control must be held with the button that stands for it."""


@dataclass(frozen=True)
class ControlMap:
    """Buttons of a world and controls of its game."""

    control_names: tuple[str, ...]
    """Names of the real controls, or of what the buttons do when nobody labelled anything."""
    control_given_button: tuple[tuple[float, ...], ...]
    """(K, C) P(control | button); rows sum to 1."""
    button_for_control: tuple[int, ...]
    """(C,) the button to press for each control."""
    num_labels: int
    """Labelled transitions that this was learned from; 0 when the names are those of what buttons do."""

    @classmethod
    def read(cls, folder: Path) -> "ControlMap | None":
        """Read the map that lies in a world's folder, None when there is none.

        Raises:
            UserError: the file is damaged.
        """
        path = Path(folder) / CONTROLS_FILE
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            found = cls(
                tuple(map(str, plain["control_names"])),
                tuple(tuple(map(float, row)) for row in plain["control_given_button"]),
                tuple(map(int, plain["button_for_control"])),
                int(plain["num_labels"]),
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: damaged; write it again with ghostpad controls") from None
        num_buttons, num_controls = len(found.control_given_button), len(found.control_names)
        fits = len(found.button_for_control) == num_controls > 0
        fits &= all(len(row) == num_controls for row in found.control_given_button)
        if not fits or not all(0 <= button < num_buttons for button in found.button_for_control):
            raise UserError(f"{path}: its parts do not fit; write it again with ghostpad controls")
        return found

    def write(self, folder: Path, report: dict[str, Any] | None = None) -> Path:
        """Write the map, and how well it does, into a world's folder: whole or not at all."""
        path = Path(folder) / CONTROLS_FILE
        write_json(path, asdict(self) | ({"report": report} if report else {}))
        return path

    def to_button(self, control: str | int) -> int:
        """The button to press for a control, by its name (in any case) or number.

        Raises:
            UserError: there is no such control.
        """
        numbers = {name.lower(): number for number, name in enumerate(self.control_names)}
        number = numbers.get(control.lower(), -1) if isinstance(control, str) else control
        if not 0 <= number < len(self.control_names):
            raise UserError(f"there is no control {control!r}; there are {', '.join(self.control_names)}")
        return self.button_for_control[number]


def fit_control_map(names: list[str], buttons_TK: np.ndarray, controls_T: np.ndarray) -> ControlMap:
    """Learn the map from labelled transitions.

    P(control | button) counts each transition in part for every button that may explain it, and shrinks
    towards how often each control is held at all, which is what a button that was never seen keeps.

    Args:
        names: of the C controls.
        buttons_TK: (T, K) P(button | transition).
        controls_T: (T,) number of the control held, 0…C-1.
    """
    counts_KC = buttons_TK.T.astype(np.float64) @ np.eye(len(names))[controls_T]
    usual_C = (counts_KC.sum(0) + 1) / (counts_KC.sum() + len(names))
    given_KC = (counts_KC + _DOUBT * usual_C) / (counts_KC.sum(1, keepdims=True) + _DOUBT)
    used_K = (counts_KC.sum(1) + 1) / (counts_KC.sum() + len(counts_KC))
    return ControlMap(
        tuple(names),
        tuple(tuple(map(float, row)) for row in given_KC),
        _buttons_to_press(names, given_KC, used_K, usual_C, counts_KC.sum(1) >= _SEEN),
        len(controls_T),
    )


def _buttons_to_press(
    names: list[str], given_KC: np.ndarray, used_K: np.ndarray, usual_C: np.ndarray, seen_K: np.ndarray
) -> tuple[int, ...]:
    """For each control the button that tells most of it, each button that was ever seen for one control.

    A control that no button stands for, because none is used much oftener with it or because its button
    means another control far more, is played as if nothing were pressed: so FIRE where it does nothing.
    """
    from scipy.optimize import linear_sum_assignment

    lift_KC = given_KC / usual_C
    told_KC = used_K[:, None] * given_KC * np.log2(lift_KC)
    rest = rest_of(names, usual_C)
    buttons = np.full(len(names), -1)
    seen = np.flatnonzero(seen_K)
    for control, place in zip(*linear_sum_assignment(told_KC[seen].T, maximize=True), strict=True):
        button = seen[place]
        lift = lift_KC[button, control]
        if control == rest or (lift >= _LEAST_LIFT and 2 * lift >= lift_KC[button].max()):
            buttons[control] = button
    if buttons[rest] < 0:  # more controls than buttons
        buttons[rest] = seen[given_KC[seen, rest].argmax()]
    return tuple(int(button) for button in np.where(buttons < 0, buttons[rest], buttons))


def rest_of(names: list[str], usual_C: np.ndarray) -> int:
    """Number of the control that means that nothing is pressed; without such a name the usual one."""
    still = [number for number, name in enumerate(names) if name.lower().endswith(REST)]
    return still[0] if still else int(usual_C.argmax())
