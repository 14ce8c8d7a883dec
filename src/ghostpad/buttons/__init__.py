"""Buttons: the few discrete actions behind the codes.

They are inferred without labels, from motion (`discovery`) or from the likelihood of the codes while a world
trains (`assignment`, `selection`), and tied to real controls by few labels (`control_map`, `control_labels`).
"""

from ghostpad.buttons.assignment import ButtonFinder
from ghostpad.buttons.control_labels import LabelFile, read_labels
from ghostpad.buttons.control_map import ControlMap, fit_control_map
from ghostpad.buttons.discovery import (
    Controllable,
    InferredButtons,
    find_controllable,
    infer_buttons,
    recognize_buttons,
)
from ghostpad.buttons.selection import buttons_needed

__all__ = [
    "ButtonFinder",
    "ControlMap",
    "Controllable",
    "InferredButtons",
    "LabelFile",
    "buttons_needed",
    "find_controllable",
    "fit_control_map",
    "infer_buttons",
    "read_labels",
    "recognize_buttons",
]
