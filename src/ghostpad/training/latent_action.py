"""Trains the latent action model on a frame store: the verb `train`."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ghostpad.config import differences, to_plain
from ghostpad.errors import UserError
from ghostpad.frames.batches import Batch, BatchLoader, check_windows, cut_windows, training_palette
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions, current_frames
from ghostpad.frames.splits import MIN_EPISODES
from ghostpad.frames.store import FrameStore
from ghostpad.machine import resolve_device
from ghostpad.model import FrameFormat, LatentActionModel, LatentActionModelConfig
from ghostpad.model.latent_action_model import read_model
from ghostpad.model.losses import PerceptualLoss
from ghostpad.model.pretrained import KIND
from ghostpad.training.config import TrainConfig, check_loop
from ghostpad.training.distributed import ProcessGroup, process_group
from ghostpad.training.loop import Loop
from ghostpad.training.task import Task

MAX_PALETTE = 64
"""Most colours for which cross-entropy over the palette is practical."""
MOVING_CAMERA = 0.2
"""Share of changing pixels from which the camera counts as moving (seven games of Atari and MiniGrid, whose
camera is fixed: at most 0.07; ViZDoom, Crafter, CoinRun and Jumper: at least 0.34)."""
CHECKED_PAIRS, SHOWN_PAIRS = 64, 4
"""Held-out pairs of the checks and of the example picture."""
Checks = Callable[[LatentActionModel, np.ndarray, np.ndarray], dict[str, float]]


def train(config: TrainConfig, checks: Checks | None = None) -> dict[str, float]:
    """Train to the end of the schedule or to `stop_after`; returns the last validation's numbers.

    Args:
        config: the run.
        checks: more metrics at each validation, of (model, frames, next_frames) on held-out uint8
            (N, C, H, W) pairs.

    Raises:
        UserError: data or folder do not fit; nothing is changed.
    """
    check_loop(config)  # before a long ingest
    with process_group(resolve_device(config.device)) as group:
        path = group.broadcast(lambda: open_data(config.data, config.workers, MIN_EPISODES).path)
        loop = make_loop(config, FrameStore.open(path), group, checks)
        loop.prepare_folder()
        return loop.run()


def make_loop(
    config: TrainConfig, store: FrameStore, group: ProcessGroup, checks: Checks | None = None
) -> Loop:
    """Build model, batches and loop of a run; nothing is written yet.

    Raises:
        UserError: settings contradict each other or the data.
    """
    splits = [Transitions(store, split, config.stride, config.history) for split in ("train", "validation")]
    torch.manual_seed(config.seed)
    model_config = model_config_for(config, store)
    if group.is_first and model_config.architecture.reconstruction != config.model.reconstruction:
        print("Without a palette of few colours: training with MSE instead of cross-entropy over one.")
    model = LatentActionModel(model_config).to(group.device)
    if config.start_from is not None:
        start_from(model, config.start_from)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    model.set_checkpointing(config.checkpointing)
    if config.perceptual.weight:
        model.use_perceptual(PerceptualLoss(config.perceptual).to(group.device), config.perceptual.weight)
    training, validation = [
        BatchLoader(t, config.grayscale, group.device, config.frames_budget_gb) for t in splits
    ]
    task = Task(
        kind=KIND,
        model=model,
        model_config=to_plain(model_config),
        data=store.fingerprint,
        num_rows=len(splits[0]),
        batch=_training_batches(training, config, model),
        num_validation_rows=len(splits[1]),
        validation_batch=validation.batch,
        checks=partial(_run_checks, checks, model, splits[1]) if checks else None,
        examples=partial(example_picture, model, splits[1]),
        prefetch=training.prefetch if training.thread else None,
        advice="" if config.preset == "tiny" else "For a model in minutes: --preset tiny.",
    )
    return Loop(task, config, group)


def start_from(model: LatentActionModel, path_or_name: str) -> None:
    """Give `model` the weights of a trained one; its codebook quantizes from the first step.

    Raises:
        UserError: there is no such model, or its architecture is different.
    """
    config, weights = read_model(path_or_name)
    shapes = ("_size", "dim", "kind", "_codebooks")
    for name, other, own in differences(to_plain(config), to_plain(model.config)):
        if not name.startswith("architecture.quantizer.") or name.endswith(shapes):
            raise UserError(f"--start-from {path_or_name}: its {name} is {other}, not {own}; choose the same")
    model.load_state_dict(weights)


def _training_batches(
    loader: BatchLoader, config: TrainConfig, model: LatentActionModel
) -> Callable[[np.ndarray, int], Batch]:
    """Batches of given rows at a step: windows first, whole frames at the end."""
    windows, cell = config.windows, model.cell
    size = (windows.height, windows.width)
    if windows.height and (config.model.encoder.tokens or config.model.decoder.conditioning != "film"):
        raise UserError("--windows needs a model that treats all cells alike: film conditioning, no tokens")
    check_windows(size, (model.config.frames.height, model.config.frames.width), cell)

    def batch(rows: np.ndarray, step: int) -> Batch:
        whole = loader.batch(rows)
        if not windows.height or step >= windows.until * config.steps:
            return whole
        seed = (config.seed * 1_000_003 + step) * 1_000_003 + int(rows[0])
        generator = torch.Generator(loader.device).manual_seed(seed)
        return cut_windows(whole, size, cell, generator)

    return batch


def model_config_for(config: TrainConfig, store: FrameStore) -> LatentActionModelConfig:
    """Join the architecture with what the data says; without a palette, a loss over one becomes MSE."""
    palette = training_palette(store, config.grayscale)
    colors = () if palette is None else tuple(tuple(int(v) for v in color) for color in palette)
    if not 1 <= config.downsample <= min(store.height, store.width) // 2:
        raise UserError(f"--downsample {config.downsample}: must be at least 1 and leave at least two pixels")
    if config.history < 1:
        raise UserError(f"--history {config.history}: must be at least 1")
    frames = FrameFormat(
        store.height, store.width, config.grayscale, config.stride, colors, config.downsample, config.history
    )
    architecture = config.model.fitted(frames.inner_size)
    if architecture.reconstruction == "palette" and not 0 < len(colors) <= MAX_PALETTE:
        architecture = dataclasses.replace(architecture, reconstruction="mse")
    if architecture.motion == "auto":
        moves = architecture.reconstruction == "mse" or changing_share(store, config) > MOVING_CAMERA
        architecture = dataclasses.replace(architecture, motion="on" if moves else "off")
    return LatentActionModelConfig(frames, architecture)


def changing_share(store: FrameStore, config: TrainConfig) -> float:
    """Share of the pixels that change in a training transition."""
    transitions = Transitions(store, "train", config.stride)
    frames, next_frames = transitions.read(_spread_rows(transitions, CHECKED_PAIRS), config.grayscale)
    return float((frames != next_frames).any(1).mean())


def _run_checks(checks: Checks, model: LatentActionModel, validation: Transitions) -> dict[str, float]:
    return checks(model, *validation.read(_spread_rows(validation, CHECKED_PAIRS), model.grayscale))


def _spread_rows(transitions: Transitions, num: int) -> np.ndarray:
    return np.unique(np.linspace(0, len(transitions) - 1, num).astype(np.int64))


def example_picture(model: LatentActionModel, validation: Transitions) -> np.ndarray:
    """Rows of frame, next frame, reconstruction and error (twice as bright): (4·H, 4·W, 3) uint8."""
    was_training = model.training
    model.eval()
    frames, next_frames = validation.read(_spread_rows(validation, SHOWN_PAIRS), model.grayscale)
    predicted = model.decode(frames, model.encode(frames, next_frames)).cpu().numpy() * 255
    model.train(was_training)
    error = np.clip(2 * np.abs(predicted - next_frames), 0, 255)
    rows = (
        np.concatenate([current_frames(frames), next_frames, predicted, error], axis=3)
        .round()
        .astype(np.uint8)
    )
    rows = np.repeat(rows, 3 // rows.shape[1], axis=1)
    return rows.transpose(0, 2, 3, 1).reshape(-1, rows.shape[3], 3)
