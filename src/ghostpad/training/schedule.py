"""Learning rate over the steps of a run."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam; the defaults are those of the text (part 2)."""

    learning_rate: float = 3e-4
    """learning rate at the first step"""
    final_learning_rate: float = 1e-4
    """learning rate at the last step"""
    decay: Literal["cosine", "linear", "exponential"] = "cosine"
    """the way from the first to the last learning rate"""
    ramp_steps: int = 0
    """steps over which the learning rate rises from zero at the very start"""
    beta1: float = 0.9
    """Adam's decay of the mean of the gradient"""
    beta2: float = 0.999
    """Adam's decay of the mean of its square"""


def learning_rate(config: OptimizerConfig, step: int, num_steps: int) -> float:
    """Learning rate for the step after `step` completed ones, of `num_steps` in all."""
    first, last = config.learning_rate, config.final_learning_rate
    done = min(step / max(num_steps - 1, 1), 1.0)
    if config.decay == "cosine":
        rate = last + (first - last) * (1 + math.cos(math.pi * done)) / 2
    elif config.decay == "linear":
        rate = first + (last - first) * done
    else:
        rate = first * (last / first) ** done
    return rate * min(1.0, (step + 1) / config.ramp_steps) if config.ramp_steps else rate


class Sampler:
    """Shuffled rows, epoch after epoch, as a pure function of seed and step: nothing to save.

    Every rank computes the same global batch and takes its own share of it.
    """

    def __init__(self, num_rows: int, batch_size: int, seed: int) -> None:
        self.num_rows, self.batch_size, self.seed = num_rows, batch_size, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def rows(self, step: int) -> np.ndarray:
        """Rows (batch_size,) of the batch after `step` completed steps; a batch may span two epochs."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        rows = np.empty(self.batch_size, np.int64)
        epochs = positions // self.num_rows
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = self._permutation(int(epoch))[positions[here] % self.num_rows]
        return rows

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.num_rows)
        return self._order
