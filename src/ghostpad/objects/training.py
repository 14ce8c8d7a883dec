"""Training of the two networks of the object prior on objects that were tracked in recordings.

The order of all fits: `Recordings.track`, `fit_scene`, and tracking again with the scene model; where buttons
are known `train_action_motion`, `fit_overshoot` and `fit_static_region`; and `train_object_dynamics`.

Dimensions: V pixels of a crop's side, n objects.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ghostpad.objects.action_motion import MAX_STEP, PAST, ActionMotion, at_edge, past_displacements, range_of
from ghostpad.objects.detection import Object
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
    """Train object dynamics in place on the sprites among tracked objects.

    Returns:
        The number of sprites; with fewer than `MIN_SPRITES` nothing is trained.
    """
    sprites = [
        each for each in tracked if each.object.is_sprite and not (each.object.is_controllable or each.is_new)
    ]
    if len(sprites) < MIN_SPRITES:
        return len(sprites)
    rng = np.random.default_rng((recordings.seed, num_steps))
    extrapolated = [class_of(each.object.extrapolated_position - each.object.position) for each in sprites]
    deviating = np.flatnonzero(np.array(extrapolated) != [outcome_class(each) for each in sprites])

    def loss(step: int) -> Tensor:
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
    """Cross-entropy of what became of sprites."""
    device = dynamics.out.weight.device
    frames = [recordings.read(each.row, 2) for each in sprites]
    seen = [
        (now, before, each.object, each.controllable)
        for (before, now), each in zip(frames, sprites, strict=True)
    ]
    crops, states, extrapolated = network_inputs(seen)
    for index in (rng.random(len(crops)) < CUT_SHARE).nonzero()[0]:
        # The object stays visible wherever it goes.
        kept, turns = int(rng.integers(CROP_RADIUS + MAX_OFFSET // 2, 2 * CROP_RADIUS)), int(rng.integers(4))
        turned = crops[index].rot90(turns, (1, 2)).clone()
        turned[:, kept:] = 0
        crops[index] = turned.rot90(-turns, (1, 2))
    outcomes = torch.tensor([outcome_class(each) for each in sprites])
    # One without a velocity only moves left or right as it does in the game.
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
    motion: ActionMotion, recordings: Recordings, tracked: Sequence[TrackedObject], buttons: np.ndarray
) -> None:
    """Train in place where the controllable object goes by each button, and find its visible range.

    Args:
        motion: the network.
        recordings: in which objects were tracked.
        tracked: the controllable object, among others.
        buttons: of every training transition, −1 where unknown.
    """
    seen = [each for each in tracked if each.object.is_controllable and each.displacement is not None]
    if not seen:
        return
    rows, stride = np.array([each.row for each in seen]), recordings.transitions.stride
    has_previous = recordings.transitions.frame_index[rows] >= stride
    previous = np.where(has_previous, buttons[rows - stride], -1)
    displacements = np.array([each.displacement for each in seen])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recordings.seed)
        fit_action_motion(motion, [each.object for each in seen], displacements, buttons[rows], previous)


def fit_action_motion(
    motion: ActionMotion,
    objects: Sequence[Object],
    displacements_n2: np.ndarray,
    buttons_n: np.ndarray,
    previous_buttons_n: np.ndarray,
) -> None:
    """Train in place on displacements of the controllable object; buttons are −1 where unknown.

    Nothing is trained from fewer than `MIN_DISPLACEMENTS` inside its range.
    """
    positions = np.stack([each.position for each in objects])
    ends = positions + displacements_n2
    edges = range_of(np.concatenate([positions, ends]))
    motion.lowest.copy_(torch.from_numpy(edges[0]))
    motion.highest.copy_(torch.from_numpy(edges[1]))
    used = (buttons_n >= 0) & ~at_edge(positions, *edges) & ~at_edge(ends, *edges)
    if used.sum() < MIN_DISPLACEMENTS:
        return
    device = motion.lowest.device
    pasts, classes, held, previous = (
        torch.from_numpy(part[used]).to(device)
        for part in (
            past_displacements(objects),
            displacements_n2.clip(-MAX_STEP, MAX_STEP) + MAX_STEP,
            buttons_n.astype(np.int64),
            previous_buttons_n.astype(np.int64),
        )
    )

    def loss(step: int) -> Tensor:
        chosen = torch.randint(len(held), (ACTION_BATCH_SIZE,), device=device)
        masked, unknown = (torch.rand(2, len(chosen), device=device) < MASKED_SHARE).unbind(0)
        given = torch.randint(-PAST, PAST, (len(chosen),), device=device).clamp_min(0)
        given = torch.where(masked, given, PAST)
        past = pasts[chosen] * (torch.arange(3 * PAST, device=device) // 3 < given[:, None])
        logits = motion(past, previous[chosen].masked_fill(unknown, -1), held[chosen])
        return F.cross_entropy(logits.flatten(0, 1), classes[chosen].flatten())

    fit(motion, loss, ACTION_STEPS, ACTION_LEARNING_RATE, weight_decay=ACTION_WEIGHT_DECAY)
    motion.is_trained.fill_(True)
