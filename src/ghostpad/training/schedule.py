"""Learning rate and order of the data: pure functions of the step, so that a resumed run has the same."""

import math

import numpy as np

from ghostpad.training.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, num_steps: int) -> float:
    """Learning rate after `step` of `num_steps` steps."""
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
    """Shuffled rows, epoch after epoch; every process computes the same global batch and takes its shard."""

    def __init__(self, num_rows: int, batch_size: int, seed: int) -> None:
        self.num_rows, self.batch_size, self.seed = num_rows, batch_size, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def rows(self, step: int) -> np.ndarray:
        """Rows (batch_size,) of the batch after `step` steps; a batch may span several epochs."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = positions // self.num_rows
        shuffled = [
            self._permutation(int(epoch))[positions[epochs == epoch] % self.num_rows]
            for epoch in np.unique(epochs)
        ]
        return np.concatenate(shuffled)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.num_rows)
        return self._order
