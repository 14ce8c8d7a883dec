"""Object dynamics: a small network predicts where each sprite goes, or that it will be occluded.

Each sprite is seen by itself: a crop of the frames around it, and its motion so far. So a bounce is learned
from every bounce, wherever it was, and a sprite moves as a whole, which no cell-by-cell prediction ensures.
After object-centric dynamics as the interaction networks of Battaglia et al. 2016
(https://arxiv.org/abs/1612.00222).

Dimensions: n objects, C colour channels, V pixels of a crop's side.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.objects.detection import Object
from ghostpad.objects.scene import MAX_FRAMES_UNSEEN, Tracks

CROP_RADIUS = 28  # pixels that a crop shows on each side of an object's centre
MAX_OFFSET = 16  # pixels that a sprite moves since it was last seen, along each axis, at most
SIDE = 2 * MAX_OFFSET + 1
OCCLUDED = SIDE * SIDE  # class of an object that is occluded or deformed; those below are displacements
# Probability above which `OCCLUDED` is predicted: reappearing late does less harm than being lost.
OCCLUDED_THRESHOLD = 0.98
INITIAL_BIAS = 5.0  # nats, residual logit bias of constant velocity before training
STATE_SIZE = 3 + MAX_FRAMES_UNSEEN + 1
VELOCITY_SCALE = 8  # pixels a frame by which velocities are divided


class ObjectDynamics(nn.Module):
    """Predicts the displacements of sprites in frames of C channels."""

    is_trained: Tensor

    def __init__(
        self, num_channels: int, widths: tuple[int, int, int] = (24, 48, 32), width: int = 160
    ) -> None:
        super().__init__()
        self.num_channels = num_channels
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(zip((2 * num_channels + 2, *widths), widths, strict=False)):
            kernel = 4 if index == 0 else 3
            layers += [nn.Conv2d(before, after, kernel, stride=2, padding=1), nn.ReLU(inplace=True)]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.crop = nn.Linear(widths[-1] * (2 * CROP_RADIUS // 2 ** len(widths)) ** 2, width)
        self.state = nn.Linear(STATE_SIZE, width)
        self.extrapolation = nn.Embedding(OCCLUDED + 1, width)
        nn.init.normal_(self.extrapolation.weight, std=0.1)
        self.out = nn.Linear(width, OCCLUDED + 1)
        self.bias = nn.Linear(width, 1)
        nn.init.constant_(self.bias.bias, INITIAL_BIAS)
        self.register_buffer("is_trained", torch.zeros((), dtype=torch.bool))

    def forward(self, crops_nCVV: Tensor, states_nF: Tensor, extrapolated_n: Tensor) -> Tensor:
        """Logits (n, SIDE² + 1) of the displacements, row by row, and of `OCCLUDED`; see `network_inputs`."""
        features = self.crop(self.convolutions(crops_nCVV)) + self.state(states_nF)
        hidden = F.relu(features + self.extrapolation(extrapolated_n))
        # The network starts from constant velocity and learns by how much to trust it.
        return self.out(hidden) + self.bias(hidden) * F.one_hot(extrapolated_n, OCCLUDED + 1)

    @torch.no_grad()
    def predict(
        self, tracks: Sequence[Tracks], temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> list[Tracks]:
        """The same tracks with the predicted positions of sprites; unchanged before training.

        Temperature 0 takes the likeliest positions, others sample.
        """
        seen = [
            (each.newest, each.previous, sprite, each.controllable)
            for each in tracks
            for sprite in each.objects
            if sprite.is_sprite and not sprite.is_controllable
        ]
        if not seen or not bool(self.is_trained):
            return list(tracks)
        logits = self(*(part.to(self.out.weight.device) for part in network_inputs(seen)))
        outcomes = zip(seen, *_choose(logits, temperature, generator), strict=True)
        predicted = {
            id(sprite): replace(sprite, occluded=bool(occluded), predicted_position=sprite.position + moved)
            for (_, _, sprite, _), occluded, moved in outcomes
        }
        return [
            replace(each, objects=[predicted.get(id(one), one) for one in each.objects]) for each in tracks
        ]


def _choose(
    logits: Tensor, temperature: float, generator: torch.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each object is occluded (n,), and its displacement (n, 2) otherwise."""
    probabilities = (logits.float() / (temperature or 1.0)).softmax(1)
    occlusion, moves = probabilities[:, OCCLUDED], probabilities[:, :OCCLUDED]
    if temperature:
        occluded = torch.rand(len(occlusion), generator=generator, device=occlusion.device) < occlusion
        chosen = torch.multinomial(moves + 1e-12, 1, generator=generator)[:, 0]
    else:
        occluded, chosen = occlusion > OCCLUDED_THRESHOLD, moves.argmax(1)
    return occluded.cpu().numpy(), displacements_of(chosen.cpu().numpy())


def network_inputs(
    seen: Sequence[tuple[np.ndarray, np.ndarray, Object, Object | None]],
) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments of `ObjectDynamics.forward`.

    Of each object the newest and the previous frame, itself, and the controllable object are given.
    """
    crops = torch.from_numpy(np.stack([crop(*each) for each in seen])).float() / 255
    states = torch.from_numpy(np.stack([_state(each) for _, _, each, _ in seen])).float()
    extrapolated = [class_of(each.extrapolated_position - each.position) for _, _, each, _ in seen]
    return crops, states, torch.tensor(extrapolated)


def crop(
    newest_CHW: np.ndarray, previous_CHW: np.ndarray, centre: Object, controllable: Object | None = None
) -> np.ndarray:
    """The surroundings of an object (2C + 2, V, V) uint8; black outside of the frame.

    The newest frame, the previous one, where the controllable object will be, and the object's own mask.
    """
    corner, channels = centre.position + np.array(centre.mask.shape) // 2 - CROP_RADIUS, len(newest_CHW)
    shown = np.zeros((2 * channels + 2, 2 * CROP_RADIUS, 2 * CROP_RADIUS), np.uint8)
    rows, columns = (slice(max(0, first), first + 2 * CROP_RADIUS) for first in corner)
    down, right = np.maximum(0, -corner)
    for planes, frame in ((shown[:channels], newest_CHW), (shown[channels:-2], previous_CHW)):
        part = frame[:, rows, columns]
        planes[:, down : down + part.shape[1], right : right + part.shape[2]] = part
    drawn = [(shown[-1], centre, centre.position)]
    if controllable is not None:
        position = controllable.predicted_position
        position = controllable.extrapolated_position if position is None else position
        drawn.append((shown[-2], controllable, position))
    for plane, each, position in drawn:
        rows, columns, _ = each.pixels_at(position - corner, plane.shape)
        plane[rows, columns] = 255
    return shown


def _state(sprite: Object) -> np.ndarray:
    """Velocity, whether it is unknown, and one-hot frames since it was seen: (STATE_SIZE,) float32."""
    velocity = np.zeros(2) if sprite.velocity is None else sprite.velocity
    unseen = np.eye(MAX_FRAMES_UNSEEN + 1)[min(sprite.frames_since_seen, MAX_FRAMES_UNSEEN + 1) - 1]
    return np.concatenate([velocity / VELOCITY_SCALE, [sprite.velocity is None], unseen]).astype(np.float32)


def class_of(displacement_2: np.ndarray) -> int:
    """The class that stands for a displacement; the nearest for one that is too large."""
    down, right = np.clip(displacement_2, -MAX_OFFSET, MAX_OFFSET) + MAX_OFFSET
    return int(down * SIDE + right)


def displacements_of(classes_n: np.ndarray) -> np.ndarray:
    """The displacements (n, 2) that classes stand for."""
    return np.stack(np.divmod(classes_n, SIDE), 1) - MAX_OFFSET
