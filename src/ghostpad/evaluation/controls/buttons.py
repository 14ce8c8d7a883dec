"""The buttons that `ghostpad controls` maps: those of a world, or the column `button` of a labels folder.

Dimensions: T transitions, K buttons, h w grid of codes.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.special import softmax

from ghostpad.errors import UserError
from ghostpad.evaluation.inference import infer_codes
from ghostpad.frames.pairs import Transitions
from ghostpad.labels.folder import Labels
from ghostpad.world.likelihood import transition_nll
from ghostpad.world.world_model import WorldModel


class Buttons(Protocol):
    """Buttons and codes of transitions."""

    @property
    def stride(self) -> int:
        """Frames from a frame to its next frame."""
        ...

    def posteriors(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        """P(button | transition), (T, K) float32, of the transitions `rows`."""
        ...

    def codes(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        """Codes (T, h, w) of the transitions `rows`."""
        ...


@dataclass(frozen=True)
class WorldButtons:
    """Buttons of a world: Bayes' rule with a uniform prior."""

    world: WorldModel
    num_workers: int = 1

    @property
    def stride(self) -> int:
        """See `Buttons`."""
        return self.world.latent_action_model.stride

    def posteriors(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        """See `Buttons`."""
        return softmax(-transition_nll(self.world, transitions, rows, self.num_workers), axis=1)

    def codes(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        """See `Buttons`."""
        return infer_codes(self.world.latent_action_model, transitions, rows)


@dataclass(frozen=True)
class ExtractedButtons:
    """Buttons that `ghostpad extract --buttons` wrote; posteriors are one-hot."""

    labels: Labels

    @classmethod
    def open(cls, folder: Path) -> "ExtractedButtons":
        """Open a labels folder.

        Raises:
            UserError: it is not a labels folder, or has no buttons.
        """
        labels = Labels.open(folder)
        if not labels.has_buttons:
            raise UserError(
                f"{folder} has no buttons; infer them with: ghostpad extract --buttons --out {folder}"
            )
        return cls(labels)

    @property
    def stride(self) -> int:
        """See `Buttons`."""
        return self.labels.origin.stride

    def posteriors(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        """See `Buttons`."""
        one_hot = np.eye(self._buttons.max() + 1, dtype=np.float32)
        return one_hot[self._buttons[self._label_rows(transitions, rows)]]

    def codes(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        """See `Buttons`."""
        return self._codes[self._label_rows(transitions, rows)]

    def _label_rows(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        """Rows of the labels for `rows` of a split; labels hold the transitions of all episodes in order."""
        counts = [episode["num_transitions"] for episode in self.labels.manifest["episodes"]]
        starts = np.concatenate([[0], np.cumsum(counts)])
        return starts[transitions.episode_index[rows]] + transitions.frame_index[rows]

    @cached_property
    def _buttons(self) -> np.ndarray:
        parts = map(self.labels.buttons, self.labels.shards)
        return np.concatenate([part for part in parts if part is not None])

    @cached_property
    def _codes(self) -> np.ndarray:
        return np.concatenate([self.labels.codes(shard) for shard in self.labels.shards])
