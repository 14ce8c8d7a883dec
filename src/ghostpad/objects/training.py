"""Training of the two networks of the object prior on objects that were tracked in recordings.

The order of all fits: `Recordings.track`, `fit_scene`, and tracking again with the scene model; where buttons
are known `train_action_motion` and `fit_overshoot`; then `train_object_dynamics`.

Dimensions: V pixels of a crop's side, n objects.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ghostpad.objects.action_motion import MAX_STEP, PAST, ActionMotion, at_edge, past_displacements, range_of
from ghostpad.objects.dynamics import (
    CROP_RADIUS,
    MAX_OFFSET,
    OCCLUDED,
    SIDE,
    ObjectDynamics,
    class_of,
    network_inputs,
)
from ghostpad.objects.recordings import Recordings, TrackedObject
from ghostpad.training.fit import fit

BATCH_SIZE, BATCH_DEVIATING = 64, 24  # sprites, and how many of them did not keep their velocity
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-2
CUT_SHARE = 0.5  # of crops of which one side is black, as at the edge of a frame
MIRRORED_SHARE = 0.5  # of crops that show left and right exchanged
MIN_SPRITES = 16  # below which object dynamics are not trained
ACTION_STEPS, ACTION_BATCH_SIZE, ACTION_LEARNING_RATE, ACTION_WEIGHT_DECAY = 2000, 256, 5e-3, 1e-3
MASKED_SHARE = 0.5  # of samples without part of the past, and of those without the button before
MIN_DISPLACEMENTS = 512  # of the controllable object, below which its motion is not trained


def train_object_dynamics(
    dynamics: ObjectDynamics, recordings: Recordings, tracked: Sequence[TrackedObject], num_steps: int
) -> int:
    """Train object dynamics in place on the sprites among tracked objects; returns how many there are.

    Nothing is trained on fewer than `MIN_SPRITES`.
    """
    sprites = [
        each for each in tracked if each.object.is_sprite and not (each.object.is_controllable or each.is_new)
    ]
    if len(sprites) < MIN_SPRITES:
        return len(sprites)
    rng = np.random.default_rng((recordings.seed, num_steps))
    extrapolated = [class_of(each.object.extrapolated_position - each.object.position) for each in sprites]
    deviating = np.flatnonzero(np.array(extrapolated) != [outcome_class(each) for each in sprites])

    def loss(_: int) -> Tensor:
        chosen = rng.integers(len(sprites), size=BATCH_SIZE)
        if len(deviating):
            chosen[:BATCH_DEVIATING] = rng.choice(deviating, BATCH_DEVIATING)
        return _dynamics_loss(dynamics, recordings, [sprites[index] for index in chosen], rng)

    options = {"weight_decay": WEIGHT_DECAY, "schedule_steps": num_steps + 1}
    fit(dynamics, loss, num_steps, LEARNING_RATE, **options, what="training object dynamics")
    dynamics.is_trained.fill_(True)
    return len(sprites)


def outcome_class(tracked: TrackedObject) -> int:
    """The class of `ObjectDynamics` that stands for what became of an object."""
    moved = tracked.displacement
    return OCCLUDED if moved is None or np.abs(moved).max() > MAX_OFFSET else class_of(moved)


def _dynamics_loss(
    dynamics: ObjectDynamics, recordings: Recordings, sprites: list[TrackedObject], rng: np.random.Generator
) -> Tensor:
    """Cross-entropy of what became of sprites, with crops that are cut or mirrored (augmentation)."""
    device = dynamics.out.weight.device
    frames = [recordings.read(each.row, 2) for each in sprites]
    crops, states, extrapolated = network_inputs(
        [
            (now, last, each.object, each.controllable)
            for (last, now), each in zip(frames, sprites, strict=True)
        ]
    )
    for index in (rng.random(len(crops)) < CUT_SHARE).nonzero()[0]:
        # The object stays visible wherever it goes.
        kept, turns = int(rng.integers(CROP_RADIUS + MAX_OFFSET // 2, 2 * CROP_RADIUS)), int(rng.integers(4))
        np.rot90(crops[index].numpy(), turns, (1, 2))[:, kept:] = 0
    outcomes = torch.tensor([outcome_class(each) for each in sprites])
    # An object without a velocity keeps its side: left and right may differ in the game.
    can_mirror = np.array([each.object.velocity is not None for each in sprites])
    for index in ((rng.random(len(crops)) < MIRRORED_SHARE) & can_mirror).nonzero()[0]:
        crops[index] = crops[index].flip(2)
        states[index, 1] *= -1
        extrapolated[index], outcomes[index] = _mirrored(extrapolated[index]), _mirrored(outcomes[index])
    logits = dynamics(crops.to(device), states.to(device), extrapolated.to(device))
    return F.cross_entropy(logits.float(), outcomes.to(device))


def _mirrored(class_: Tensor) -> Tensor:
    """The class of the same displacement, left and right exchanged."""
    row, column = class_ // SIDE, class_ % SIDE
    return torch.where(class_ == OCCLUDED, class_, row * SIDE + SIDE - 1 - column)


def train_action_motion(
    motion: ActionMotion,
    tracked: Sequence[TrackedObject],
    buttons_T: np.ndarray,
    previous_T: np.ndarray,
    seed: int,
) -> None:
    """Train in place how each button moves the controllable object, and set its visible range.

    Nothing is trained from fewer than `MIN_DISPLACEMENTS` inside its range. Buttons and those before them
    (`Recordings.previous`) are of all training transitions, −1 where unknown.
    """
    seen = [each for each in tracked if each.object.is_controllable and each.displacement is not None]
    if not seen:
        return
    rows, objects = np.array([each.row for each in seen]), [each.object for each in seen]
    positions = np.stack([each.position for each in objects])
    displacements = np.array([each.displacement for each in seen])
    ends = positions + displacements
    edges = range_of(np.concatenate([positions, ends]))
    for buffer, edge in zip((motion.lowest, motion.highest), edges, strict=True):
        buffer.copy_(torch.from_numpy(edge))
    used = (buttons_T[rows] >= 0) & ~at_edge(positions, *edges) & ~at_edge(ends, *edges)
    if used.sum() < MIN_DISPLACEMENTS:
        return
    device = motion.lowest.device
    pasts, classes, held, previous = (
        torch.from_numpy(part[used]).to(device)
        for part in (
            past_displacements(objects),
            displacements.clip(-MAX_STEP, MAX_STEP) + MAX_STEP,
            buttons_T[rows].astype(np.int64),
            previous_T[rows].astype(np.int64),
        )
    )

    def loss(_: int) -> Tensor:
        chosen = torch.randint(len(held), (ACTION_BATCH_SIZE,), device=device)
        masked, unknown = (torch.rand(2, len(chosen), device=device) < MASKED_SHARE).unbind(0)
        given = torch.randint(-PAST, PAST, (len(chosen),), device=device).clamp_min(0)
        given = torch.where(masked, given, PAST)
        past = pasts[chosen] * (torch.arange(3 * PAST, device=device) // 3 < given[:, None])
        logits = motion(past, previous[chosen].masked_fill(unknown, -1), held[chosen])
        return F.cross_entropy(logits.flatten(0, 1), classes[chosen].flatten())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fit(motion, loss, ACTION_STEPS, ACTION_LEARNING_RATE, weight_decay=ACTION_WEIGHT_DECAY)
    motion.is_trained.fill_(True)
