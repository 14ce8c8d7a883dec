"""Action-conditioned motion: how each button moves the controllable object.

A small network predicts its displacement from its past displacements, the button and the button before. At
the edges of its visible range a button may have no effect, or drive it on off-screen, as a knob that
is turned too far. That off-screen overshoot is part of the control state.

Dimensions: n objects, M buttons, R pixels that an object moves at most along each axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.objects.detection import Object

PAST = 7  # newest displacements that the network sees
DISPLACEMENT_SCALE = 16  # pixels by which displacements are divided
MAX_STEP = 32  # pixels R that the object moves in a frame along each axis, at most
OUTLIERS = 1e-3  # share of positions that may lie beyond the edges of its range
FIXED_OUTLIERS = (
    0.05  # share beyond, on either side, of an axis on which it does not move: it is mistaken there
)
MIN_PROBABILITY = 1e-4


@dataclass(frozen=True)
class ControlState:
    """The state of the controllable objects of n worlds that their frames do not show.

    Attributes:
        buttons: (n,) int64 held last, −1 where unknown.
        overshoot: (n, 2) pixels by which they are beyond an edge of their visible range.
    """

    buttons: Tensor
    overshoot: np.ndarray


class ActionMotion(nn.Module):
    """Predicts the displacements of controllable objects under each of M buttons."""

    is_trained: Tensor
    lowest: Tensor
    highest: Tensor
    overshoot_low: Tensor
    overshoot_high: Tensor
    acts_as: Tensor
    rest_button: Tensor

    def __init__(self, num_buttons: int, width: int = 96) -> None:
        super().__init__()
        self.past = nn.Linear(3 * PAST, width)
        # The last entry stands for an unknown button.
        self.previous_button = nn.Embedding(num_buttons + 1, width)
        self.button = nn.Embedding(num_buttons, width)
        layers = nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * (2 * MAX_STEP + 1))
        self.head = nn.Sequential(*layers)
        self.register_buffer("is_trained", torch.zeros((), dtype=torch.bool))
        # The visible range of its position, rows and columns; and how far off-screen it can be driven.
        for name in ("lowest", "highest", "overshoot_low", "overshoot_high"):
            self.register_buffer(name, torch.zeros(2, dtype=torch.int64))
        # The button that does not move it.
        self.register_buffer("rest_button", torch.zeros((), dtype=torch.int64))
        # The button that moves it as each does: one that spawns an object does not move it by itself.
        self.register_buffer("acts_as", torch.arange(num_buttons))

    @property
    def num_buttons(self) -> int:
        """M."""
        return self.button.num_embeddings

    def forward(self, pasts_nF: Tensor, previous_buttons_n: Tensor, buttons_n: Tensor) -> Tensor:
        """Logits (n, 2, 2R + 1) of the displacement along each axis.

        `pasts_nF` are `past_displacements`, all 0 where unknown; unknown buttons are −1.
        """
        known = self.acts_as[previous_buttons_n.clamp_min(0)]
        previous = torch.where(previous_buttons_n < 0, self.num_buttons, known)
        features = self.past(pasts_nF) + self.previous_button(previous) + self.button(self.acts_as[buttons_n])
        return self.head(features).unflatten(1, (2, 2 * MAX_STEP + 1))

    @property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest row and column (2,) of its visible range."""
        return self.lowest.cpu().numpy(), self.highest.cpu().numpy()

    @property
    def overshoot(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (2,) by which it can be driven beyond either edge."""
        return self.overshoot_low.cpu().numpy(), self.overshoot_high.cpu().numpy()

    def overshoot_at(self, position_2: np.ndarray) -> np.ndarray:
        """The largest overshoot (2,) of an object that is seen at a position."""
        (lowest, highest), (low, high) = self.edges, self.overshoot
        at_low, at_high = position_2 <= lowest, position_2 >= highest
        return np.where(lowest < highest, np.where(at_low, -low, np.where(at_high, high, 0)), 0)

    @torch.no_grad()
    def predict(
        self,
        objects: Sequence[Object],
        buttons_n: Tensor,
        control: ControlState | None = None,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[np.ndarray, ControlState]:
        """Positions (n, 2) of objects in the next frame, and their control state there.

        `control` says how they were driven before; unknown when not given. Temperature 0 takes the likeliest
        positions, others sample.
        """
        control = control or ControlState(torch.full_like(buttons_n, -1), np.zeros((len(objects), 2), int))
        logits = self._logits(objects, buttons_n, control.buttons)
        if temperature:
            probabilities = (logits / temperature).softmax(2).flatten(0, 1)
            classes = torch.multinomial(probabilities, 1, generator=generator).view(len(objects), 2)
        else:
            classes = logits.argmax(2)
        positions = np.stack([each.position for each in objects])
        positions = positions + control.overshoot + classes.cpu().numpy() - MAX_STEP
        (lowest, highest), (low, high) = self.edges, self.overshoot
        # At the farthest point it stops, as if no button had been held.
        stopped = ((positions < lowest - low) | (positions > highest + high)).any(1)
        positions = positions.clip(lowest - low, highest + high)
        visible = positions.clip(lowest, highest)
        buttons_n = torch.where(torch.from_numpy(stopped).to(buttons_n.device), self.rest_button, buttons_n)
        return visible, ControlState(buttons_n, positions - visible)

    @torch.no_grad()
    def nll(self, objects: Sequence[Object], displacements_n2: np.ndarray) -> Tensor:
        """Negative log-likelihood (n, M), nats, of displacements (pixels) under each button.

        An object seen at an edge may be off-screen. Where it ends at one, all displacements that lead there
        or beyond count; where it begins at one, those from every overshoot count, all equally likely.
        """
        n, num = len(objects), self.num_buttons
        buttons = torch.arange(num, device=self.lowest.device).repeat(n)
        repeated = [each for each in objects for _ in range(num)]
        logits = self._logits(repeated, buttons, torch.full_like(buttons, -1))
        probabilities = logits.softmax(2).view(n, num, 2, -1).cpu().numpy()
        (lowest, highest), every = self.edges, np.arange(-MAX_STEP, MAX_STEP + 1)
        positions, has_range = np.stack([each.position for each in objects]), lowest < highest
        ends = positions + displacements_n2
        moved = displacements_n2.clip(-MAX_STEP, MAX_STEP)[:, :, None]
        weights = (every == moved).astype(np.float64)
        for edge, overshoot, side in zip((lowest, highest), self.overshoot, (-1, 1), strict=True):
            ended = (has_range & ((ends - edge) * side >= 0))[:, :, None]
            begun = (has_range & ((positions - edge) * side >= 0))[:, :, None]
            outward, farthest = side * (every - moved), overshoot[None, :, None]
            weights = np.where(ended, outward >= 0, weights)
            # From j pixels off-screen it ends at the edge or beyond if it moves inward by at most j.
            rests = ((farthest + 1 + np.minimum(outward, 0)).clip(0) / (farthest + 1)).clip(0, 1)
            leaves = ((outward <= 0) & (outward >= -farthest)) / (farthest + 1)
            weights = np.where(begun, np.where(ended, rests, leaves), weights)
        likelihood = (probabilities * weights[:, None]).sum(3)
        return torch.from_numpy(-np.log(likelihood + MIN_PROBABILITY).sum(2)).float()

    def _logits(self, objects: Sequence[Object], buttons_n: Tensor, previous_buttons_n: Tensor) -> Tensor:
        pasts = past_displacements(objects)
        pasts[at_edge(np.stack([each.position for each in objects]), *self.edges)] = 0
        return self(torch.from_numpy(pasts).to(self.lowest.device), previous_buttons_n, buttons_n)


def past_displacements(objects: Sequence[Object]) -> np.ndarray:
    """Past displacements (n, 3 · PAST) float32, newest first, a 1 after each; 0 where it was not seen."""
    pasts = np.zeros((len(objects), PAST, 3), np.float32)
    for row, each in zip(pasts, objects, strict=True):
        known = np.array(each.displacements[: -PAST - 1 : -1], np.float32).reshape(-1, 2)
        row[: len(known), :2], row[: len(known), 2] = known / DISPLACEMENT_SCALE, 1
    return pasts.reshape(len(objects), -1)


def range_of(positions_n2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest row and column of nearly all positions; one value where most have the same."""
    lowest = np.quantile(positions_n2, OUTLIERS, 0, method="higher")
    highest = np.quantile(positions_n2, 1 - OUTLIERS, 0, method="lower")
    few, most = np.quantile(positions_n2, (FIXED_OUTLIERS, 1 - FIXED_OUTLIERS), 0, method="nearest")
    return np.where(few == most, few, lowest), np.where(few == most, few, highest)


def at_edge(positions_n2: np.ndarray, lowest_2: np.ndarray, highest_2: np.ndarray) -> np.ndarray:
    """Whether positions (n,) are at an edge of the range along an axis on which the object moves."""
    at_end = (positions_n2 <= lowest_2) | (positions_n2 >= highest_2)
    return np.any(at_end & (lowest_2 < highest_2), axis=1)
