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
    find_controllable,
    find_controllable_of_buttons,
    infer_buttons,
    is_seen_inside,
    recognize_buttons,
)
from ghostpad.buttons.labelling import transition_buttons
from ghostpad.buttons.persistence import PersistenceConfig
from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.machine import num_cores
from ghostpad.objects.background import clear_resting_area, fit_scene
from ghostpad.objects.detection import Object
from ghostpad.objects.overshoot import button_transition_counts, fit_overshoot, trajectories
from ghostpad.objects.recordings import Recordings, TrackedObject
from ghostpad.objects.training import train_action_motion, train_object_dynamics
from ghostpad.world.config import WorldConfig
from ghostpad.world.sampling import Labels, draw_labels
from ghostpad.world.trainable import TrainableWorld
from ghostpad.world.world_model import WorldModel

MIN_HELD_SHARE = 0.01  # share of the assigned transitions below which a button counts as never held
FIRST_STRIDE, FIRST_MINIMUM = 2, 8192
"""One of how many transitions is tracked to find the controllable object, and how many at least."""
MIN_GAIN_DB = 0.1  # gain of the object prior over copying from which it is used
GAIN_TRANSITIONS = 256  # held-out transitions on which the object prior is compared with copying


def prepare(config: WorldConfig, world: TrainableWorld, held_out: Transitions) -> None:
    """Learn objects and buttons from the recordings, or recognize those of the world that this starts from.

    With `--objects auto` the object prior is switched off where it predicts held-out frames no better than
    copying the current one. Where no object shows what the buttons are, the motion of the frame does.
    """
    prior = world.prior
    if config.start_from and prior.is_trained:
        _recognize(config, world)
    elif not prior.is_trained and config.object_steps and config.objects != "off":
        _learn_objects(config, world)
        if config.objects == "auto":
            gain = prior_gain_db(world, held_out, config.seed)
            world.objects_active.fill_(gain >= MIN_GAIN_DB)
            state = "on" if gain >= MIN_GAIN_DB else "off"
            print(f"Object prior: {gain:+.1f} dB over copying on held-out frames, so it is {state}.")
    if not bool((world.finder.buttons >= 0).any()):
        _infer_persistent_buttons(config, world)


def _infer_persistent_buttons(config: WorldConfig, world: TrainableWorld) -> None:
    """Infer the button of every training transition from the motion of whole frames.

    Buttons of labels, or of the world that this starts from, are kept. None is known where episodes are too
    short to infer any: the codes show the buttons then.
    """
    if config.start_from or config.labels:
        return
    transitions, options = world.rollouts.transitions, PersistenceConfig(world.num_buttons, config.seed)
    store, stride, rows = transitions.store, transitions.stride, np.arange(len(transitions))
    try:
        buttons = transition_buttons(store, stride, options)
    except UserError as reason:
        print(f"Buttons: inferred from the codes, since {reason}")
        return
    buttons = buttons[np.isin(Transitions(store, None, stride).episode_index, transitions.episode_index)]
    noop = int(np.bincount(buttons).argmax())
    in_use = np.unique(buttons).tolist()
    world.finder.adopt(world.dynamics.active, InferredButtons(rows, buttons, in_use, noop, rows[:0]))
    world.prior.action_motion.rest_button.fill_(noop)
    shares = ", ".join(f"{button}: {(buttons == button).mean():.0%}" for button in in_use)
    print(f"Buttons: inferred from the motion of whole frames ({shares}).")


@torch.no_grad()
def prior_gain_db(world: WorldModel, held_out: Transitions, seed: int) -> float:
    """Gain in dB of the object prior alone over copying the current frame.

    The button of each transition is the one that explains best how the controllable object moves.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(held_out))[:GAIN_TRANSITIONS])
    prior, errors, in_use = world.prior, np.zeros(2), torch.tensor(world.buttons_in_use)
    for row in rows:
        frames = read_sequences(held_out, row[None], world.history, 1, world.grayscale)
        history, next_frame = frames[:, : world.history], frames[:, world.history]
        tracks = prior.track(history)
        nll_1M = prior.nll(prior.observe(tracks, next_frame)).cpu()
        button = in_use[nll_1M[:, in_use].argmin(1)].to(world.device)
        tracks = prior.predict(tracks, button)
        _, expected, _ = prior.expect(tracks)
        drawn = prior.render(tracks, expected, button)
        for index, picture in enumerate((history[:, -1], drawn[0][None])):
            errors[index] += np.square(picture.astype(np.float32) - next_frame).mean()
    copied, predicted = np.maximum(errors, 1e-12)
    return float(10 * np.log10(copied / predicted))


def _learn_objects(config: WorldConfig, world: TrainableWorld) -> None:
    """Fit the scene, find the controllable object and its buttons, and train the networks that move objects.

    Buttons that are inferred here are not used where labels say what the buttons are.
    """
    prior, recordings = world.prior, _recordings(config, world)
    rows = recordings.sample_rows(config.object_steps)
    some = rows[:: max(1, min(FIRST_STRIDE, len(rows) // FIRST_MINIMUM))]
    tracked = recordings.track(some)
    fit_scene(prior.scene, recordings, rows, tracked)
    labels = draw_labels(recordings.transitions, config.labels, config.seed) if config.labels else None
    controllable = find_controllable(tracked, world.num_buttons, config.seed)
    if controllable is not None:
        found = controllable.object
    else:
        _infer_persistent_buttons(config, world)
        known = _known_buttons(world, labels)
        found = None if known is None else find_controllable_of_buttons(tracked, known, config.seed)
    prior.scene.store_object("controllable", found)
    # Tracked once more, since more is known now.
    if labels is not None:
        rows = np.union1d(rows, labels.rows)
    tracked = recordings.track(rows, prior.scene.arrays)
    if found is not None and prior.scene.object("controllable") is not None:
        if controllable is not None and labels is None:
            _learn_buttons(world, controllable, tracked)
        buttons = _known_buttons(world, labels)
        if buttons is not None:
            _learn_action_motion(world, recordings, found, buttons, tracked)
    if bool(prior.action_motion.is_trained):
        clear_resting_area(prior.scene, prior.action_motion.edges)
    else:
        # Codes describe the controllable object then, and other objects are predicted without it.
        prior.scene.store_object("controllable", None)
        tracked = [replace(each, controllable=None) for each in tracked]
    sprites = train_object_dynamics(prior.dynamics, recordings, tracked, config.object_steps)
    if bool(prior.dynamics.is_trained):
        print(f"Object dynamics: trained on {sprites:,} tracked objects.")
    else:
        print("No small object moves in these recordings: codes alone describe what happens.")


def _recordings(config: WorldConfig, world: TrainableWorld) -> Recordings:
    workers = config.workers or num_cores()
    return Recordings(world.rollouts.transitions, world.history, world.grayscale, workers, config.seed)


def _known_buttons(world: TrainableWorld, labels: Labels | None) -> np.ndarray | None:
    """The button of each training transition from labels, else from motion; −1 where it is not known.

    None where labels have controls that are no buttons.
    """
    if labels is None:
        return world.finder.buttons.cpu().numpy()
    return labels.controls if labels.fit_buttons(world.num_buttons) else None


def _learn_buttons(world: TrainableWorld, controllable: Controllable, tracked: list[TrackedObject]) -> None:
    """Infer the buttons of transitions from the displacements that they add to the controllable object."""
    prior, more = world.prior, ""
    if not is_seen_inside(tracked):
        return
    inferred = infer_buttons(controllable, tracked, world.num_buttons)
    world.finder.adopt(world.dynamics.active, inferred)
    if inferred.spawn_button is not None and inferred.spawned is not None:
        more = "; one more spawns an object"
        prior.scene.store_object("spawn", inferred.spawned)
        prior.scene.store(spawn_button=inferred.spawn_button)
        prior.action_motion.acts_as[inferred.spawn_button] = inferred.noop
    prior.action_motion.rest_button.fill_(inferred.noop)
    moves = [f"{right:+.0f} right {down:+.0f} down" for down, right in controllable.displacements]
    print(f"Buttons: {len(moves)} move the controllable object, by pixels ({', '.join(moves)}){more}.")


def _learn_action_motion(
    world: TrainableWorld,
    recordings: Recordings,
    controllable: Object,
    buttons: np.ndarray,
    tracked: list[TrackedObject],
) -> None:
    """Learn where each button moves the controllable object, and how far beyond the edges of its range."""
    previous, motion = recordings.previous(buttons), world.prior.action_motion
    train_action_motion(motion, tracked, buttons, previous, recordings.seed)
    if bool(motion.is_trained):
        counts = button_transition_counts(previous, buttons, world.num_buttons)
        fit_overshoot(motion, trajectories(recordings, controllable), counts)


def _recognize(config: WorldConfig, world: TrainableWorld) -> None:
    """Name the buttons of these recordings as the world does that this one starts from.

    Where motion does not tell them apart, they are inferred from the codes.
    """
    if config.labels:
        return
    steps = config.object_steps or WorldConfig.object_steps
    named = _recognized(config, world, _recordings(config, world).sample_rows(steps))
    _, counts = np.unique(named.buttons, return_counts=True)
    num_held = np.count_nonzero(counts >= MIN_HELD_SHARE * len(named.rows))
    if len(named.rows) >= MIN_OBSERVATIONS and num_held == len(named.moving):
        world.finder.adopt(world.dynamics.active, named)
        print(
            f"Buttons: those of {config.start_from}, recognized by motion in {len(named.rows):,} transitions."
        )
    else:
        print(f"Buttons: motion does not tell those of {config.start_from} apart; inferred from the codes.")


def _recognized(config: WorldConfig, world: TrainableWorld, rows: np.ndarray) -> InferredButtons:
    """The buttons of training transitions, by the motion of the controllable object in the trained world."""
    tracked: list[TrackedObject] = []
    if bool(world.prior.action_motion.is_trained):
        tracked = _recordings(config, world).track(rows, world.prior.scene.arrays)
    return recognize_buttons(world.prior, world.buttons_in_use, tracked)


def require_same_buttons(config: WorldConfig, world: TrainableWorld, labels: Labels) -> None:
    """Raise a UserError if most labels name other buttons than the motion of the controllable object does."""
    named = _recognized(config, world, labels.rows)
    if len(named.rows) and (labels.controls[named.rows] == named.buttons).mean() < 0.5:
        raise UserError(f"--labels: their buttons are not those of {config.start_from}; leave --labels out")
