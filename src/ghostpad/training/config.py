"""Settings of training runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ghostpad.config import check_minimum
from ghostpad.errors import UserError
from ghostpad.model.config import ArchitectureConfig, PerceptualConfig


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam; the defaults are those of the reference specification (docs/spec.md)."""

    learning_rate: float = 3e-4
    """learning rate at the first step"""
    final_learning_rate: float = 1e-4
    """learning rate at the last step"""
    decay: Literal["cosine", "linear", "exponential"] = "cosine"
    """curve from the first to the last learning rate"""
    ramp_steps: int = 0
    """steps of linear warmup, over which the learning rate rises from zero"""
    beta1: float = 0.9
    """Adam's decay of the mean of the gradient"""
    beta2: float = 0.999
    """Adam's decay of the mean of its square"""


@dataclass(frozen=True)
class LoopConfig:
    """How to train; the defaults are those of the reference specification (docs/spec.md)."""

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
    """micro-batches per batch, for less memory; batch norm and entropy see one at a time"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """precision of the forward pass; fp16 scales the loss; auto is bf16 where it is fast, else fp32"""
    checkpointing: bool = False
    """recompute activations in the backward pass: less memory, more time"""
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
    """continue from last.pt if it exists"""
    overwrite: bool = False
    """clear the checkpoints of an earlier run in this folder"""
    tracker: Literal["wandb", "tensorboard", "none"] = "wandb"
    """where metrics go besides metrics.jsonl; wandb is offline unless a key is set"""
    seed: int = 0
    """seed of weights, order and codebook starts"""


@dataclass(frozen=True)
class WindowConfig:
    """Which part of the frames training sees; a model without whole-frame attention can do with parts."""

    height: int = 0
    """pixels; 0 for whole frames"""
    width: int = 0
    """pixels; 0 for whole frames"""
    until: float = 1.0
    """share of the training after which whole frames are shown; 1 for never"""


@dataclass(frozen=True)
class TrainConfig(LoopConfig):
    """Everything about a training run of the latent action model."""

    preset: str = "spec"
    """the preset that the other fields start from"""
    start_from: str | None = None
    """trained model (folder, file or shipped name) whose weights this run starts from"""
    data: Path = Path("bulk_videos")
    """folder of episodes, or a frame store"""
    stride: int = 1
    """frames from a frame to its next frame"""
    history: int = 1
    """frames that the model sees up to the current one"""
    grayscale: bool = True
    """train on one channel instead of three"""
    downsample: int = 1
    """work on frames this many times smaller in height and width"""
    windows: WindowConfig = field(default_factory=WindowConfig)
    """parts of frames to train on"""
    frames_budget_gb: float = 8.0
    """GiB of GPU memory that frames may take; above it they stay in main memory"""
    model: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    """the parts of the model"""
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: int | None = None
    """processes for reading episodes; all cores when not given"""


MINIMUM = {
    **dict.fromkeys(("steps", "stop_after", "batch_size", "accumulate", "log_every"), 1),
    **dict.fromkeys(("save_every", "save_seconds", "validate_every", "histogram_every", "examples_every"), 0),
    **dict.fromkeys(("validation_pairs", "validation_micro_batch", "gradient_clip", "seed"), 0),
    **dict.fromkeys(("optimizer.ramp_steps", "optimizer.learning_rate", "optimizer.final_learning_rate"), 0),
}
"""The smallest value of each number."""


def check_loop(config: LoopConfig, num_processes: int = 1) -> None:
    """Refuse meaningless numbers.

    Raises:
        UserError: a field is below its minimum, or a batch cannot be split as asked.
    """
    check_minimum(config, MINIMUM)
    if not config.optimizer.final_learning_rate and config.optimizer.decay == "exponential":
        raise UserError("--optimizer.final-learning-rate 0: an exponential decay never reaches zero")
    parts = config.accumulate * num_processes
    if config.batch_size % parts:
        raise UserError(
            f"--batch-size {config.batch_size} cannot be split into {config.accumulate} micro-batches on "
            f"{num_processes} processes; choose a multiple of {parts}"
        )
