"""Training: one loop for every model, with checkpoints, exact resume, validation and tracking.

A `Loop` trains what a `Task` describes under a `LoopConfig`; the verb `train` gives it the latent action
model. Small networks, which train in seconds, go through `fit.fit` and the same optimizer step.
"""

from typing import TYPE_CHECKING

from ghostpad.lazy import lazy_exports
from ghostpad.training.config import LoopConfig, OptimizerConfig, TrainConfig

if TYPE_CHECKING:
    from ghostpad.training.latent_action import train
    from ghostpad.training.loop import Loop
    from ghostpad.training.task import Task

__all__ = ["Loop", "LoopConfig", "OptimizerConfig", "Task", "TrainConfig", "train"]

__getattr__ = lazy_exports(__name__, {"Loop": "loop", "Task": "task", "train": "latent_action"})
