"""Training a world model on a frame store, around a trained latent action model."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.frames.splits import MIN_EPISODES
from ghostpad.frames.store import FrameStore
from ghostpad.machine import resolve_device
from ghostpad.model.latent_action_model import read_model
from ghostpad.training.distributed import ProcessGroup, process_group
from ghostpad.training.loop import Loop
from ghostpad.training.task import Task
from ghostpad.world.batches import Batches
from ghostpad.world.config import WorldConfig
from ghostpad.world.preparation import prepare, require_same_buttons
from ghostpad.world.sampling import RolloutBuffer, WorldBatch, draw_labels
from ghostpad.world.trainable import TrainableWorld
from ghostpad.world.world_model import KIND, WorldModel, WorldModelConfig

VALIDATION_LENGTH = 8  # frames of a rollout in validation


def train_world(config: WorldConfig) -> dict[str, float]:
    """Train to the end of the schedule or to `stop_after`; returns the last validation's numbers.

    Raises:
        UserError: model, data or folder do not fit; nothing is changed then.
    """
    with process_group(resolve_device(config.device)) as group:
        if group.world_size > 1 or config.accumulate > 1:
            raise UserError("a world model trains in one process and without --accumulate")
        store = FrameStore.open(open_data(config.data, config.workers, MIN_EPISODES).path)
        loop = make_world_loop(config, store, group)
        loop.prepare_folder()
        assert isinstance(loop.model, TrainableWorld)
        if loop.step == 0:
            prepare(config, loop.model, Transitions(store, "validation", loop.model.stride))
        if config.divergence_db is None and not loop.model.uses_objects:
            loop.model.rollouts.limit_divergence(np.random.default_rng(config.seed))
        return loop.run()


def make_world_loop(config: WorldConfig, store: FrameStore, group: ProcessGroup) -> Loop:
    """Build model, batches and loop of a run; nothing is written yet.

    Raises:
        UserError: settings contradict each other or the data.
    """
    config.check()
    torch.manual_seed(config.seed)
    model_config, weights = read_model(config.model)
    frames = model_config.frames
    if frames.history > 1:
        raise UserError(
            f"{config.model} sees {frames.history} frames; a world needs a model with --history 1"
        )
    if (frames.height, frames.width) != (store.height, store.width):
        raise UserError(
            f"{config.model} takes frames of {frames.width}x{frames.height}, but {store.path} has "
            f"{store.width}x{store.height}"
        )
    splits = [Transitions(store, split, frames.stride) for split in ("train", "validation")]
    channels, history = 1 if frames.grayscale else 3, config.dynamics.history
    shape = (config.batch_size, history, channels, store.height, store.width)
    rollouts = RolloutBuffer(splits[0], shape, config.divergence_db, config.rollout_length, config.patience)
    world_config = WorldModelConfig(model_config, config.dynamics, config.objects != "off")
    labels = draw_labels(splits[0], config.labels, config.seed) if config.labels else None
    least = 2 if labels is None else max(2, len(labels.occurring))
    world = TrainableWorld(world_config, rollouts, config.reconstruction_weight, least)
    if labels is not None and labels.fit_buttons(world.num_buttons):
        world.finder.use_labels(world.dynamics.active, labels.occurring)
    world.latent_action_model.load_state_dict(weights)
    if config.start_from is not None:
        _start_from(world, config.start_from)
        if labels is not None:
            require_same_buttons(config, world, labels)
    for part in (world.to(group.device).latent_action_model, world.dynamics):
        part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def validation_batch(rows: np.ndarray) -> WorldBatch:
        both = read_sequences(splits[1], rows, history, VALIDATION_LENGTH, frames.grayscale)
        return WorldBatch(both[:, :history], both[:, history:])

    task = Task(
        kind=KIND,
        model=world,
        model_config=to_plain(world_config),
        data=store.fingerprint,
        num_rows=len(splits[0]),
        batch=Batches(config, world, labels),
        num_validation_rows=len(splits[1]),
        validation_batch=validation_batch,
        parameters=world.parameter_groups(),
        examples=lambda: _example_picture(world, validation_batch, len(splits[1])),
        advice="A shorter run: --steps 1500.",
    )
    return Loop(task, config, group)


def _start_from(world: TrainableWorld, path_or_name: str) -> None:
    other = WorldModel.from_pretrained(path_or_name)
    if dataclasses.replace(other.config, objects=world.config.objects) != world.config:
        raise UserError(
            f"--start-from {path_or_name}: has another architecture; give the same model and dynamics"
        )
    world.load_state_dict(other.state_dict(), strict=False)
    world.finder.is_initialized.fill_(True)
    # None of its buttons is dropped.
    world.least_buttons = max(world.least_buttons, len(world.buttons_in_use))


@torch.no_grad()
def _example_picture(
    world: TrainableWorld, validation_batch: Callable[[np.ndarray], WorldBatch], num_rows: int, num: int = 3
) -> np.ndarray:
    """Pairs of rows, recorded above and predicted below: (2·num·H, L·W, 3) uint8."""
    was_training = world.training
    world.eval()
    batch = validation_batch(np.linspace(0, num_rows - 1, num).astype(np.int64))
    predicted = world.rollout(batch)
    world.train(was_training)
    both = np.stack([batch.next_frames, predicted], 1)  # (num, 2, L, C, H, W)
    num, _, length, channels, height, width = both.shape
    rows = both.transpose(0, 1, 4, 2, 5, 3).reshape(2 * num * height, length * width, channels)
    return np.broadcast_to(rows, (*rows.shape[:2], 3))
