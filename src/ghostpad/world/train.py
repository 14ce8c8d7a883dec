"""Training a world model on a frame store, with a trained latent action model inside."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.evaluation.agreement import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.splits import MIN_EPISODES
from ghostpad.frames.store import FrameStore, open_data
from ghostpad.machine import resolve_device
from ghostpad.model.pretrained import read_model
from ghostpad.training.distributed import Ranks, joined
from ghostpad.training.loop import Loop
from ghostpad.training.schedule import OptimizerConfig
from ghostpad.training.task import LoopConfig, Task
from ghostpad.world.control_map import rest_of
from ghostpad.world.dynamics import DynamicsConfig
from ghostpad.world.finding import MOST_CONTROLS
from ghostpad.world.learner import LearningWorld
from ghostpad.world.sequences import Labelled, Rollouts, WorldBatch, read_sequences
from ghostpad.world.world_model import KIND, WorldModel, WorldModelConfig

VALIDATION_LENGTH = 8


@dataclass(frozen=True)
class WorldConfig(LoopConfig):
    """Everything about a training run of a world model."""

    model: str = "checkpoints/latent_action"
    """the latent action model: a folder, a file or a shipped name"""
    data: Path = Path("bulk_videos")
    """folder of episodes, or a frame store"""
    out: Path = Path("checkpoints/world")
    """folder for checkpoints, metrics and what was found"""
    steps: int = 8_000
    """optimizer steps of the whole run (its schedule ends there)"""
    batch_size: int = 16
    """transitions per optimizer step; smaller batches and more steps find the ball sooner"""
    validate_every: int = 500
    """steps between validations; best.pt is chosen by them"""
    validation_pairs: int = 64
    """held-out rollouts of a validation, drawn once by the seed; 0 for all"""
    validation_micro_batch: int = 0
    """rollouts of the small rotating validation at each step; 0 for none"""
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    """the dynamics"""
    buttons_until: float = 0.375
    """share of the training in which buttons are found; then rollouts begin"""
    first_temperature: float = 10.0
    """how softly transitions are assigned to buttons at the start (falls to 1)"""
    reconstruction_weight: float = 0.0
    """weight of the drawn frame's loss beside the codes' cross-entropy; 0 leaves the decoder as it is"""
    divergence_db: float = 43.0
    """PSNR against the recording below which a frame of a rollout in training differs too much"""
    patience: int = 2
    """frames in a row that may differ too much; then the rollout starts afresh"""
    rollout_length: float = 30.0
    """mean transitions after which a rollout in training starts afresh anyway"""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(2e-3, 2e-5, ramp_steps=50))
    labels: int = 0
    """labelled transitions that settle what a button means where nothing else tells; 0 learns without any"""
    starts: int = 20
    """held-out starts from which the world is measured beside the emulator; 0 for none"""
    start_from: str | None = None
    """trained world model (folder, file or shipped name) whose weights this run starts from"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: int | None = None
    """processes for reading episodes; all cores when not given"""


def train_world(config: WorldConfig) -> dict[str, float]:
    """Train to the end of the schedule or to `stop_after`; returns the last validation's numbers.

    Raises:
        UserError: model, data or folder do not fit; nothing is changed then.
    """
    with joined(resolve_device(config.device)) as ranks:
        if ranks.world_size > 1 or config.accumulate > 1:
            raise UserError(
                "a world model trains in one process without --accumulate: its rollouts live there"
            )
        store = FrameStore.open(open_data(config.data, config.workers, MIN_EPISODES).path)
        loop = make_world_loop(config, store, ranks)
        loop.prepare_folder()
        return loop.run()


def make_world_loop(config: WorldConfig, store: FrameStore, ranks: Ranks) -> Loop:
    """Build model, batches and loop of a run; nothing is written yet.

    Raises:
        UserError: settings contradict each other or the data.
    """
    if not 0 <= config.buttons_until <= 1 or config.first_temperature < 1:
        raise UserError("--buttons-until must lie in 0…1 and --first-temperature be at least 1")
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
    shape = (config.batch_size, history, channels, store.height, store.width)
    rollouts = Rollouts(splits[0], shape, config.divergence_db, config.rollout_length, config.patience)
    world_config = WorldModelConfig(model_config, config.dynamics)
    labels = _labels(splits[0], config) if config.labels else None
    least = 2 if labels is None else max(2, len(np.unique(labels[1][labels[0]])))
    world = LearningWorld(world_config, rollouts, config.reconstruction_weight, least)
    world.latent_action_model.load_state_dict(weights)
    if config.start_from is not None:
        _start_from(world, config.start_from)
    for part in (world.to(ranks.device).latent_action_model, world.dynamics):
        part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def validation_batch(rows: np.ndarray) -> WorldBatch:
        return WorldBatch(*_read(world, splits[1], rows, VALIDATION_LENGTH))

    task = Task(
        kind=KIND,
        model=world,
        model_config=to_plain(world_config),
        data=store.fingerprint,
        num_rows=len(splits[0]),
        batch=lambda rows, step: _training_batch(config, world, labels, rows, step),
        num_validation_rows=len(splits[1]),
        validation_batch=validation_batch,
        parameters=world.parameter_groups(),
        examples=lambda: _example_picture(world, validation_batch, len(splits[1])),
        advice="A shorter run: --steps 1500.",
    )
    return Loop(task, config, ranks)


def _labels(transitions: Transitions, config: WorldConfig) -> tuple[np.ndarray, np.ndarray, int]:
    """Transitions with labels, the control of every transition (−1: unknown), and which one is to rest."""
    rows = np.random.default_rng(config.seed).permutation(len(transitions))[: config.labels]
    read = read_controls(transitions, rows, directions=False)
    if read is None or not (read[0] >= 0).any() or len(read[1]) > MOST_CONTROLS:
        raise UserError(f"--labels: {transitions.store.path} has no controls beside its frames; leave it out")
    known = read[0] >= 0
    usual = np.bincount(read[0][known], minlength=len(read[1]))
    controls = np.full(len(transitions), -1, np.int64)
    controls[rows] = read[0]
    return np.sort(rows[known]), controls, rest_of(read[1], usual)


def _read(
    world: LearningWorld, transitions: Transitions, rows: np.ndarray, future: int = 1
) -> tuple[Tensor, Tensor]:
    """Histories (B, k, C, H, W) and the frames that follow (B, future, C, H, W), in [0, 1]."""
    frames = read_sequences(transitions, rows, world.history, future, world.grayscale)
    frames = frames.to(world.device).float() / 255
    return frames[:, : world.history], frames[:, world.history :]


def _training_batch(
    config: WorldConfig,
    world: LearningWorld,
    labels: tuple[np.ndarray, np.ndarray, int] | None,
    rows: np.ndarray,
    step: int,
) -> WorldBatch:
    """Recorded transitions while buttons are found, rollouts afterwards."""
    rollouts, finding = world.rollouts, config.buttons_until * config.steps
    rng = np.random.default_rng((config.seed, step))
    if step < finding:
        rows = rollouts.practice.choose(rows, rng)
        temperature = config.first_temperature ** max(0.0, 1 - 2 * step / finding)
        met = torch.from_numpy(rows).to(world.device)
        return WorldBatch(*_read(world, rollouts.transitions, rows), temperature, rows=met)
    batch = rollouts.next_batch(rollouts.before_hard_ones(rows, rng), rng)
    if labels is None:
        return batch
    known, controls, rest = labels
    drawn = rollouts.practice.choose(rng.choice(known, max(2, len(rows) // 4)), rng, known)
    history, next_frames = _read(world, rollouts.transitions, drawn)
    held, met = (torch.from_numpy(part).to(world.device) for part in (controls[drawn], drawn))
    return dataclasses.replace(batch, labelled=Labelled(history, next_frames[:, 0], held, rest, met))


def _start_from(world: LearningWorld, path_or_name: str) -> None:
    other = WorldModel.from_pretrained(path_or_name)
    if other.config != world.config:
        raise UserError(f"--start-from {path_or_name}: is built otherwise; give the same model and dynamics")
    world.load_state_dict(other.state_dict(), strict=False)


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
