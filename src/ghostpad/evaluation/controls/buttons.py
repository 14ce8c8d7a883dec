"""The buttons that `ghostpad controls` maps: those of a world, or the column `button` of a labels folder.

Dimensions: T transitions, K buttons, h w grid of codes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from ghostpad.errors import UserError
from ghostpad.evaluation.inference import infer_codes
from ghostpad.frames.pairs import Transitions
from ghostpad.labels.folder import Labels
from ghostpad.world.likelihood import transition_nll
from ghostpad.world.world_model import WorldModel


@dataclass(frozen=True)
class ButtonSource:
    """Buttons and codes of transitions, each a function of `Transitions` and the rows in question.

    Attributes:
        stride: frames from a frame to its next frame.
        posteriors: P(button | transition), (T, K) float32.
        codes: (T, h, w).
    """

    stride: int
    posteriors: Callable[[Transitions, np.ndarray], np.ndarray]
    codes: Callable[[Transitions, np.ndarray], np.ndarray]


def world_buttons(world: WorldModel, num_workers: int = 1) -> ButtonSource:
    """Buttons of a world: Bayes' rule with a uniform prior."""
    model = world.latent_action_model
    return ButtonSource(
        model.stride,
        lambda transitions, rows: softmax(-transition_nll(world, transitions, rows, num_workers), axis=1),
        lambda transitions, rows: infer_codes(model, transitions, rows),
    )


def extracted_buttons(labels: Labels) -> ButtonSource:
    """Buttons that `ghostpad extract --buttons` wrote (a UserError if none); posteriors are one-hot."""
    if not labels.has_buttons:
        raise UserError(
            f"{labels.path} has no buttons; infer them with: ghostpad extract --buttons --out {labels.path}"
        )
    parts = map(labels.buttons, labels.shards)
    buttons = np.concatenate([part for part in parts if part is not None])
    codes = np.concatenate([labels.codes(shard) for shard in labels.shards])
    # Labels hold the transitions of all episodes in order.
    counts = [episode["num_transitions"] for episode in labels.manifest["episodes"]]
    starts, one_hot = np.cumsum([0, *counts]), np.eye(buttons.max() + 1, dtype=np.float32)

    def places(transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        return starts[transitions.episode_index[rows]] + transitions.frame_index[rows]

    return ButtonSource(
        labels.origin.stride,
        lambda transitions, rows: one_hot[buttons[places(transitions, rows)]],
        lambda transitions, rows: codes[places(transitions, rows)],
    )
