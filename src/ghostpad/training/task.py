"""What the training loop needs to know: how to train, and what."""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from ghostpad.errors import UserError
from ghostpad.training.schedule import OptimizerConfig


@dataclass(frozen=True)
class LoopConfig:
    """How to train; the defaults are those of the text (part 2)."""

    out: Path = Path("checkpoints/latent_action")
    """folder for checkpoints and metrics"""
    steps: int = 100_000
    """optimizer steps of the whole run (its schedule ends there)"""
    stop_after: int | None = None
    """end the run early at this step, leaving the schedule alone"""
    save_every: int = 10_000
    """steps between kept checkpoints step_NNNNNN.pt; 0 for none"""
    save_seconds: float = 60.0
    """seconds between updates of last.pt"""
    batch_size: int = 32
    """transitions per optimizer step, over all processes"""
    accumulate: int = 1
    """micro-batches that a batch is cut into, for less memory; batch norm and entropy see one at a time"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """arithmetic of the forward pass; fp16 scales the loss; auto is bf16 where it is fast, else fp32"""
    checkpointing: bool = False
    """compute activations again in the backward pass: less memory, more time"""
    compile: Literal["auto", "no", "yes", "graphs"] = "auto"
    """compile the model, or with CUDA graphs too; auto: graphs on one GPU, else yes; no on a CPU"""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    gradient_clip: float = 0.0
    """largest norm of the gradient; 0 for no limit"""
    validate_every: int = 1_000
    """steps between validations, by which best.pt is chosen; 0 for one at the end alone"""
    validation_pairs: int = 0
    """transitions of a validation, drawn once by the seed; 0 for all"""
    validation_micro_batch: int = 4
    """transitions of the small rotating validation at each step; 0 for none"""
    log_every: int = 20
    """steps between writes of the gathered metrics"""
    histogram_every: int = 5_000
    """steps between codebook histograms; 0 for none"""
    examples_every: int = 2_500
    """steps between example reconstructions; 0 for none"""
    resume: bool = False
    """go on from last.pt when there is one"""
    overwrite: bool = False
    """clear the checkpoints of an earlier run in this folder"""
    tracker: Literal["wandb", "none"] = "wandb"
    """where metrics go besides metrics.jsonl; wandb is offline unless a key is set"""
    seed: int = 0
    """seed of weights, order and codebook starts"""


LEAST = {
    **dict.fromkeys(("steps", "stop_after", "batch_size", "accumulate", "log_every"), 1),
    **dict.fromkeys(("save_every", "validate_every", "histogram_every", "examples_every"), 0),
    **dict.fromkeys(
        ("validation_pairs", "validation_micro_batch", "save_seconds", "gradient_clip", "seed"), 0
    ),
    **dict.fromkeys(("optimizer.ramp_steps", "optimizer.learning_rate", "optimizer.final_learning_rate"), 0),
}
"""The least that a field may be."""


def check_loop(config: LoopConfig, num_processes: int = 1) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        UserError: a field is below its least, or a batch cannot be cut as asked.
    """
    for name, least in LEAST.items():
        value = attrgetter(name)(config)
        if value is not None and not value >= least:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
    if not config.optimizer.final_learning_rate and config.optimizer.decay == "exponential":
        raise UserError("--optimizer.final-learning-rate 0: an exponential decay never gets there")
    parts = config.accumulate * num_processes
    if config.batch_size % parts:
        raise UserError(
            f"--batch-size {config.batch_size} cannot be cut into {config.accumulate} micro-batches on "
            f"{num_processes} processes; choose a multiple of {parts}"
        )


@dataclass
class Task:
    """What the loop needs to know of the thing it trains.

    Attributes:
        kind: name in the checkpoint.
        model: a module with `forward(batch) -> (loss, metrics)` and
            `after_step(step, num_steps, optimizer, generator) -> dict`.
        model_config: plain, so that the checkpoint can rebuild the model.
        data: fingerprint of the training data.
        num_rows: training examples; `batch(rows, step)` gives them as the step after `step` sees them.
        expect: optional announcement of rows that the next step will ask for.
        num_validation_rows: held-out examples; `validation_batch(rows)` gives them.
        parameters: optional groups for the optimizer, each with its `share` of the learning rate; all
            parameters alike when not given.
        checks: optional numbers about the model on held-out data, asked for at each validation.
        examples: optional picture (H, W, 3) uint8.
        advice: what to tell people whose run will take more than an hour.
    """

    kind: str
    model: nn.Module
    model_config: dict[str, Any]
    data: str
    num_rows: int
    batch: Callable[[np.ndarray, int], Any]
    num_validation_rows: int
    validation_batch: Callable[[np.ndarray], Any]
    parameters: list[dict[str, Any]] | None = None
    checks: Callable[[], dict[str, float]] | None = None
    examples: Callable[[], np.ndarray] | None = None
    advice: str = ""
    expect: Callable[[np.ndarray], None] | None = None
