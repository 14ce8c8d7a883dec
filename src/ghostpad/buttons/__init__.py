"""Buttons: the few discrete actions behind the codes.

While a world trains they are inferred without labels from the motion of a tracked object (`discovery`) or
from the likelihood of the codes (`assignment`, `selection`). On any game, without a world, they are inferred
from what lasts in its motion (`persistence`), and `labelling` writes them into the labels. Few labels tie
buttons to real controls (`control_map`, `control_labels`).
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
from ghostpad.buttons.persistence import (
    ButtonClassifier,
    PersistenceConfig,
    fit_button_classifier,
)
from ghostpad.buttons.selection import buttons_needed

__all__ = [
    "ButtonClassifier",
    "ButtonFinder",
    "ControlMap",
    "Controllable",
    "InferredButtons",
    "LabelFile",
    "PersistenceConfig",
    "buttons_needed",
    "find_controllable",
    "fit_button_classifier",
    "fit_control_map",
    "infer_buttons",
    "read_labels",
    "recognize_buttons",
]
