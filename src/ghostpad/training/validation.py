"""How good a model is on held-out rows, during training."""

import numpy as np
import torch
from torch import Tensor

from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.forward import Forward
from ghostpad.training.task import LoopConfig, Task


class Validation:
    """The validations of one run."""

    def __init__(self, task: Task, config: LoopConfig, group: ProcessGroup, forward: Forward) -> None:
        self.task, self.config, self.group, self.forward = task, config, group, forward

    @torch.no_grad()
    def loss(self, rows: np.ndarray) -> Tensor:
        """Mean reconstruction loss over held-out rows, in inference mode."""
        self.task.model.eval()
        total = torch.zeros((), device=self.group.device)
        for start in range(0, len(rows), self.config.batch_size):
            part = rows[start : start + self.config.batch_size]
            model = self.forward.for_validation(len(part))
            with self.forward.autocast():
                total += model(self.task.validation_batch(part))[1]["reconstruction"] * len(part)
        self.task.model.train()
        return total / len(rows)

    def rotating_rows(self, step: int) -> np.ndarray:
        """The few rows that are looked at after `step` steps; the next steps look at others."""
        size = self.config.validation_micro_batch
        return np.arange(step * size, (step + 1) * size) % self.task.num_validation_rows

    def rows(self) -> np.ndarray:
        """The rows of every whole validation of this run."""
        num, wanted = self.task.num_validation_rows, self.config.validation_pairs
        if not wanted or wanted >= num:
            return np.arange(num)
        return np.sort(np.random.default_rng(self.config.seed).choice(num, wanted, replace=False))

    def numbers(self) -> dict[str, float]:
        """A whole validation: its loss, equal in all processes, and what the checks say in the first."""
        validated = self.loss(self.rows())
        values = {"validation_reconstruction": self.group.broadcast(lambda: float(validated))}
        if self.task.checks is not None and self.group.is_first:
            self.task.model.eval()
            values |= {f"validation_{name}": value for name, value in self.task.checks().items()}
            self.task.model.train()
        return values
