"""Training a world model on a frame store, with a trained latent action model inside."""

from dataclasses import replace
from typing import Any

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
from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.splits import MIN_EPISODES
from ghostpad.frames.store import FrameStore
from ghostpad.machine import num_cores, resolve_device
from ghostpad.model.latent_action_model import read_model
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
from ghostpad.training.distributed import ProcessGroup, process_group
from ghostpad.training.loop import Loop
from ghostpad.training.task import Task
from ghostpad.world.batches import Labels, Lessons, cell_for_windows, draw_labels, num_rollouts, read_whole
from ghostpad.world.config import WorldConfig
from ghostpad.world.learner import LearningWorld
from ghostpad.world.sequences import Rollouts, WorldBatch
from ghostpad.world.world_model import KIND, WorldModel, WorldModelConfig

RARELY = 0.01
"""Share of the transitions that were told below which a button is not told from another."""
VALIDATION_LENGTH = 8
FIRST_LOOK, LEAST_LOOK = 2, 8192
"""One of how many transitions is looked at to find what is steered, and how many are looked at at least."""


def train_world(config: WorldConfig) -> dict[str, float]:
    """Train to the end of the schedule or to `stop_after`; returns the last validation's numbers.

    Raises:
        UserError: model, data or folder do not fit; nothing is changed then.
    """
    with process_group(resolve_device(config.device)) as group:
        if group.world_size > 1 or config.accumulate > 1:
            raise UserError(
                "a world model trains in one process without --accumulate: its rollouts live there"
            )
        store = FrameStore.open(open_data(config.data, config.workers, MIN_EPISODES).path)
        loop = make_world_loop(config, store, group)
        loop.prepare_folder()
        if loop.step == 0:
            assert isinstance(loop.model, LearningWorld)
            movement = loop.model.movement
            if config.start_from and bool(movement.is_taught | movement.pushes.is_taught):
                _recognize_buttons(config, loop.model)
            elif not bool(movement.is_taught):
                _follow_things(config, loop.model)
        return loop.run()


def _follow_things(config: WorldConfig, world: LearningWorld) -> None:
    """Learn from what moves in the recordings where it goes, what is steered, and by which buttons.

    Where labels say what the buttons are, those that were found are not taken.
    """
    movement = world.movement
    if not config.movement_steps or not config.dynamics.goes_on:
        return
    transitions, gray, workers = world.rollouts.transitions, world.grayscale, config.workers or num_cores()
    rows = some_rows(transitions, config.movement_steps, config.seed)
    scenery = scenery_in(transitions, gray, workers)
    movement.covers.copy_(torch.from_numpy(scenery.covers))
    movement.parts.copy_(torch.from_numpy(scenery.parts))
    some = rows[:: max(1, min(FIRST_LOOK, len(rows) // LEAST_LOOK))]
    followed = followed_in(transitions, some, world.history, gray, workers)
    small = small_looks(followed)
    if small is not None:
        movement.keep_tints(small, find_tints(transitions, rows, small, gray, workers))
    controllable = find_controllable(followed, world.num_buttons, config.seed)
    if controllable is not None:
        movement.steered.keep(controllable.object)
    usual, is_usual = usual_frame(transitions, gray, config.seed)
    movement.usual_frame.copy_(torch.from_numpy(usual))
    movement.usual_known.copy_(torch.from_numpy(is_usual))
    # Once more, as now more is known.
    labels = draw_labels(transitions, config.labels, config.seed) if config.labels else None
    if labels is not None:
        rows = np.union1d(rows, labels.rows)
    followed = followed_in(transitions, rows, world.history, gray, workers, movement.known)
    if controllable is not None and movement.steered.thing is not None:
        _take_buttons(config, world, labels, controllable, followed)
    if bool(movement.pushes.is_taught):
        _find_what_stays(config, world, scenery)
    else:
        # The codes say where it is then, and small things know of it what they see.
        movement.steered.forget()
        followed = [replace(each, steered=None) for each in followed]
    looks = teach(movement, transitions, followed, config.movement_steps, config.seed)
    if bool(movement.is_taught):
        print(f"Where things go: learned from {looks:,} looks at things that moved.")
    else:
        print("Nothing small moves in these recordings: the codes alone say what happens.")


def _recognize_buttons(config: WorldConfig, world: LearningWorld) -> None:
    """Name the buttons of these recordings as the world does that this one starts from.

    Where they cannot be told apart by where they push, they are looked for in the codes.
    """
    if config.labels:
        return
    steps = config.movement_steps or WorldConfig.movement_steps
    named = _recognized(config, world, some_rows(world.rollouts.transitions, steps, config.seed))
    _, times = np.unique(named.buttons, return_counts=True)
    num_told = np.count_nonzero(times >= RARELY * len(named.rows))
    if len(named.rows) >= MIN_OBSERVATIONS and num_told == len(named.moving):
        world.finder.adopt(world.dynamics.active, named)
        print(f"Buttons: those of {config.start_from}, told by where they push in {len(named.rows):,} steps.")
    else:
        print(f"Buttons: where they push does not tell those of {config.start_from}; the codes are asked.")


def _recognized(config: WorldConfig, world: LearningWorld, rows: np.ndarray) -> InferredButtons:
    """The buttons that were held in training transitions, by where they push in the world as it is."""
    movement, workers = world.movement, config.workers or num_cores()
    followed: list[Example] = []
    if bool(movement.pushes.is_taught):
        transitions, gray = world.rollouts.transitions, world.grayscale
        followed = followed_in(transitions, rows, world.history, gray, workers, movement.known)
    coming_button, coming = int(movement.coming_button), movement.coming.thing
    return recognize_buttons(movement.pushes, world.buttons_in_use, coming_button, coming, followed)


def _take_buttons(
    config: WorldConfig,
    world: LearningWorld,
    labels: Labels | None,
    controllable: Controllable,
    followed: list[Example],
) -> None:
    """Let buttons be those of labels, or else those that were found; and learn where they push."""
    movement, more = world.movement, ""
    if labels is not None:
        buttons = labels.controls if labels.can_name(world.num_buttons) else None
    else:
        named = infer_buttons(controllable, followed, world.num_buttons)
        world.finder.adopt(world.dynamics.active, named)
        if named.spawn_button is not None and named.spawned is not None:
            more = "; one more makes something come"
            movement.coming.keep(named.spawned)
            movement.coming_button.fill_(named.spawn_button)
            movement.pushes.acts_as[named.spawn_button] = named.noop
        movement.pushes.resting.fill_(named.noop)
        buttons = world.finder.buttons.cpu().numpy()
    pushes = ", ".join(f"{right:+.0f} right {down:+.0f} down" for down, right in controllable.displacements)
    print(f"Buttons: {len(controllable.displacements)} steer what moves, by pixels ({pushes}){more}.")
    if buttons is not None:
        transitions, workers = world.rollouts.transitions, config.workers or num_cores()
        teach_pushes(movement.pushes, followed, transitions, buttons, config.seed)
        if bool(movement.pushes.is_taught):
            tracks = tracks_in(transitions, controllable.object, world.grayscale, workers)
            find_slack(
                movement.pushes, tracks, button_transition_counts(transitions, buttons, world.num_buttons)
            )


def _find_what_stays(config: WorldConfig, world: LearningWorld, scenery: Scenery) -> None:
    """Look up where only what is followed ever changes anything, and what is no part of what stands."""
    movement, transitions = world.movement, world.rollouts.transitions
    edges, known = movement.pushes.edges(), movement.known
    stays = stays_in(transitions, known, edges, scenery.passed, world.history, world.grayscale, config.seed)
    movement.stays.copy_(torch.from_numpy(stays))
    # The steered thing rests at some places, and is no part of what stands there.
    assert known.steered is not None
    (top, left), (bottom, right) = edges[0], edges[1] + known.steered.mask.shape
    movement.parts[top:bottom, left:right] = 0


def make_world_loop(config: WorldConfig, store: FrameStore, group: ProcessGroup) -> Loop:
    """Build model, batches and loop of a run; nothing is written yet.

    Raises:
        UserError: settings contradict each other or the data.
    """
    config.check()
    torch.manual_seed(config.seed)
    model_config, weights = read_model(config.model)
    frames = model_config.frames
    if (frames.height, frames.width) != (store.height, store.width):
        raise UserError(
            f"{config.model} takes frames of {frames.width}x{frames.height}, but {store.path} has "
            f"{store.width}x{store.height}"
        )
    splits = [Transitions(store, split, frames.stride) for split in ("train", "validation")]
    channels, history = 1 if frames.grayscale else 3, config.dynamics.history
    cell = cell_for_windows(config, model_config)
    shape = (num_rollouts(config, cell), history, channels, store.height, store.width)
    rollouts = Rollouts(splits[0], shape, config.divergence_db, config.rollout_length, config.patience)
    world_config = WorldModelConfig(model_config, config.dynamics)
    labels = draw_labels(splits[0], config.labels, config.seed) if config.labels else None
    least = 2 if labels is None else max(2, len(labels.heard))
    world = LearningWorld(world_config, rollouts, config.reconstruction_weight, least)
    if labels is not None and labels.can_name(world.num_buttons):
        world.finder.use_labels(world.dynamics.active, labels.heard)
    world.latent_action_model.load_state_dict(weights)
    if config.start_from is not None:
        _start_from(world, config.start_from)
        if labels is not None:
            _require_same_buttons(config, world, labels)
    for part in (world.to(group.device).latent_action_model, world.dynamics):
        part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def validation_batch(rows: np.ndarray) -> WorldBatch:
        return WorldBatch(*read_whole(world, splits[1], rows, VALIDATION_LENGTH))

    task = Task(
        kind=KIND,
        model=world,
        model_config=to_plain(world_config),
        data=store.fingerprint,
        num_rows=len(splits[0]),
        batch=Lessons(config, world, labels, cell).batch,
        num_validation_rows=len(splits[1]),
        validation_batch=validation_batch,
        parameters=world.parameter_groups(),
        examples=lambda: _example_picture(world, validation_batch, len(splits[1])),
        advice="A shorter run: --steps 1500.",
    )
    return Loop(task, config, group)


def _start_from(world: LearningWorld, path_or_name: str) -> None:
    other = WorldModel.from_pretrained(path_or_name)
    if other.config != world.config:
        raise UserError(f"--start-from {path_or_name}: is built otherwise; give the same model and dynamics")
    world.load_state_dict(other.state_dict(), strict=False)
    world.finder.is_initialized.fill_(True)
    # None of its buttons is dropped.
    world.least_buttons = max(world.least_buttons, len(world.buttons_in_use))


def _require_same_buttons(config: WorldConfig, world: LearningWorld, labels: Labels) -> None:
    """Raise where labels would give the buttons of the world that this one starts from another meaning."""
    named = _recognized(config, world, labels.rows)
    if len(named.rows) and (labels.controls[named.rows] == named.buttons).mean() < 0.5:
        raise UserError(
            f"--labels: what they call a button is not what {config.start_from} calls it; leave --labels out"
        )


@torch.no_grad()
def _example_picture(world: LearningWorld, validation_batch: Any, num_rows: int, num: int = 3) -> np.ndarray:
    """Pairs of rows, recorded above and predicted below: (2·num·H, L·W, 3) uint8."""
    was_training = world.training
    world.eval()
    batch = validation_batch(np.linspace(0, num_rows - 1, num).astype(np.int64))
    predicted = world.rollout(batch)
    world.train(was_training)
    both = torch.stack([batch.next_frames, predicted], 1)  # (num, 2, L, C, H, W)
    rows = (both * 255).round().to(torch.uint8).permute(0, 1, 4, 2, 5, 3).flatten(0, 2).flatten(1, 2)
    return rows.expand(-1, -1, 3).cpu().numpy()
