"""What a world learns from the recordings before its first step: its objects, and the buttons that move them.

Dimensions: N transitions, k frames of history, C colour channels, H W frame.
"""

from dataclasses import replace

import numpy as np
import torch

from ghostpad.buttons.discovery import (
    MIN_OBSERVATIONS,
    Controllable,
    InferredButtons,
    button_transition_counts,
    find_controllable,
    infer_buttons,
    recognize_buttons,
    teach_pushes,
)
from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequences
from ghostpad.machine import num_cores
from ghostpad.objects.background import Scenery, scenery_in
from ghostpad.objects.overshoot import find_slack, tracks_in
from ghostpad.objects.training import (
    Example,
    find_tints,
    followed_in,
    small_looks,
    some_rows,
    stays_in,
    teach,
    usual_frame,
)
from ghostpad.world.config import WorldConfig
from ghostpad.world.sampling import Labels, draw_labels
from ghostpad.world.trainable import TrainableWorld

RARELY = 0.01
"""Share of the assigned transitions below which a button counts as never held."""
FIRST_SHARE, FIRST_LEAST = 2, 8192
"""One of how many transitions is tracked to find the controllable object, and how many at least."""
GAIN_TRANSITIONS = 256
"""Held-out transitions on which the object prior is compared with copying."""


def prepare(config: WorldConfig, world: TrainableWorld, held_out: Transitions) -> None:
    """Learn objects and buttons from the recordings, or recognize those of the world that this starts from.

    With `--objects auto` the object prior is switched off where it predicts held-out frames no better than
    copying the current one.
    """
    prior = world.prior
    if config.start_from and prior.is_trained:
        _recognize(config, world)
    elif not prior.is_trained and config.object_steps and config.objects != "off":
        _learn_objects(config, world)
        if config.objects == "auto":
            gain = prior_gain_db(world, held_out, config.seed)
            world.objects_active.fill_(gain > 0)
            state = "on" if gain > 0 else "off"
            print(f"Object prior: {gain:+.1f} dB over copying on held-out frames, so it is {state}.")


@torch.no_grad()
def prior_gain_db(world: TrainableWorld, held_out: Transitions, seed: int) -> float:
    """Gain in dB of the object prior alone over copying the current frame."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(held_out))[:GAIN_TRANSITIONS])
    errors = np.zeros(2)
    for row in rows:
        frames = read_sequences(held_out, row[None], world.history, 1, world.grayscale)
        history, next_frame = frames[:, : world.history], frames[:, world.history]
        tracks = world.prior.predict(world.prior.track(history))
        drawn = world.prior.render(tracks, world.prior.expect(tracks).frames, torch.tensor([-1]))
        for index, picture in enumerate((history[:, -1], drawn[0][None])):
            errors[index] += np.square(picture.astype(np.float32) - next_frame).mean()
    copied, predicted = np.maximum(errors, 1e-12)
    return float(10 * np.log10(copied / predicted))


def _learn_objects(config: WorldConfig, world: TrainableWorld) -> None:
    """Fit the scene, find the controllable object and its buttons, and train the networks that move objects.

    Buttons that are inferred here are not used where labels say what the buttons are.
    """
    prior, transitions = world.prior.movement, world.rollouts.transitions
    gray, workers = world.grayscale, config.workers or num_cores()
    rows = some_rows(transitions, config.object_steps, config.seed)
    scenery = scenery_in(transitions, gray, workers)
    prior.covers.copy_(torch.from_numpy(scenery.covers))
    prior.parts.copy_(torch.from_numpy(scenery.parts))
    some = rows[:: max(1, min(FIRST_SHARE, len(rows) // FIRST_LEAST))]
    tracked = followed_in(transitions, some, world.history, gray, workers)
    small = small_looks(tracked)
    if small is not None:
        prior.keep_tints(small, find_tints(transitions, rows, small, gray, workers))
    controllable = find_controllable(tracked, world.num_buttons, config.seed)
    if controllable is not None:
        prior.steered.keep(controllable.object)
    usual, is_usual = usual_frame(transitions, gray, config.seed)
    prior.usual_frame.copy_(torch.from_numpy(usual))
    prior.usual_known.copy_(torch.from_numpy(is_usual))
    # Tracked once more, since more is known now.
    labels = draw_labels(transitions, config.labels, config.seed) if config.labels else None
    if labels is not None:
        rows = np.union1d(rows, labels.rows)
    tracked = followed_in(transitions, rows, world.history, gray, workers, prior.known)
    if controllable is not None and prior.steered.thing is not None:
        _learn_buttons(config, world, labels, controllable, tracked)
    if bool(prior.pushes.is_taught):
        _find_what_stays(config, world, scenery)
    else:
        # Codes describe the controllable object then, and other objects are predicted without it.
        prior.steered.forget()
        tracked = [replace(each, steered=None) for each in tracked]
    looks = teach(prior, transitions, tracked, config.object_steps, config.seed)
    if bool(prior.is_taught):
        print(f"Object dynamics: trained on {looks:,} tracked objects.")
    else:
        print("No small object moves in these recordings: codes alone describe what happens.")


def _learn_buttons(
    config: WorldConfig,
    world: TrainableWorld,
    labels: Labels | None,
    controllable: Controllable,
    tracked: list[Example],
) -> None:
    """Take the buttons from labels, or infer them from motion; and learn where each moves the object."""
    prior, more = world.prior.movement, ""
    if labels is not None:
        buttons = labels.controls if labels.fit_buttons(world.num_buttons) else None
    else:
        inferred = infer_buttons(controllable, tracked, world.num_buttons)
        world.finder.adopt(world.dynamics.active, inferred)
        if inferred.spawn_button is not None and inferred.spawned is not None:
            more = "; one more spawns an object"
            prior.coming.keep(inferred.spawned)
            prior.coming_button.fill_(inferred.spawn_button)
            prior.pushes.acts_as[inferred.spawn_button] = inferred.noop
        prior.pushes.resting.fill_(inferred.noop)
        buttons = world.finder.buttons.cpu().numpy()
    moves = [f"{right:+.0f} right {down:+.0f} down" for down, right in controllable.displacements]
    print(f"Buttons: {len(moves)} move the controllable object, by pixels ({', '.join(moves)}){more}.")
    if buttons is not None:
        transitions, workers = world.rollouts.transitions, config.workers or num_cores()
        teach_pushes(prior.pushes, tracked, transitions, buttons, config.seed)
        if bool(prior.pushes.is_taught):
            tracks = tracks_in(transitions, controllable.object, world.grayscale, workers)
            counts = button_transition_counts(transitions, buttons, world.num_buttons)
            find_slack(prior.pushes, tracks, counts)


def _find_what_stays(config: WorldConfig, world: TrainableWorld, scenery: Scenery) -> None:
    prior, transitions = world.prior.movement, world.rollouts.transitions
    edges, known = prior.pushes.edges(), prior.known
    stays = stays_in(transitions, known, edges, scenery.passed, world.history, world.grayscale, config.seed)
    prior.stays.copy_(torch.from_numpy(stays))
    assert known.steered is not None
    (top, left), (bottom, right) = edges[0], edges[1] + known.steered.mask.shape
    prior.parts[top:bottom, left:right] = 0


def _recognize(config: WorldConfig, world: TrainableWorld) -> None:
    """Name the buttons of these recordings as the world does that this one starts from.

    Where motion does not tell them apart, they are inferred from the codes.
    """
    if config.labels:
        return
    steps = config.object_steps or WorldConfig.object_steps
    named = _recognized(config, world, some_rows(world.rollouts.transitions, steps, config.seed))
    _, counts = np.unique(named.buttons, return_counts=True)
    num_held = np.count_nonzero(counts >= RARELY * len(named.rows))
    if len(named.rows) >= MIN_OBSERVATIONS and num_held == len(named.moving):
        world.finder.adopt(world.dynamics.active, named)
        print(
            f"Buttons: those of {config.start_from}, recognized by motion in {len(named.rows):,} transitions."
        )
    else:
        print(f"Buttons: motion does not tell those of {config.start_from} apart; inferred from the codes.")


def _recognized(config: WorldConfig, world: TrainableWorld, rows: np.ndarray) -> InferredButtons:
    """The buttons of training transitions, by the motion of the controllable object in the trained world."""
    prior, workers = world.prior.movement, config.workers or num_cores()
    spawn_button, spawned = int(prior.coming_button), prior.coming.thing
    tracked: list[Example] = []
    if bool(prior.pushes.is_taught):
        transitions = world.rollouts.transitions
        tracked = followed_in(transitions, rows, world.history, world.grayscale, workers, prior.known)
    return recognize_buttons(prior.pushes, world.buttons_in_use, spawn_button, spawned, tracked)


def require_same_buttons(config: WorldConfig, world: TrainableWorld, labels: Labels) -> None:
    """Refuse labels that would give the buttons of the world that this one starts from another meaning.

    Raises:
        UserError: most labels name another button than the motion of the controllable object does.
    """
    named = _recognized(config, world, labels.rows)
    if len(named.rows) and (labels.controls[named.rows] == named.buttons).mean() < 0.5:
        raise UserError(f"--labels: their buttons are not those of {config.start_from}; leave --labels out")
