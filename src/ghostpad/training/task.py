"""What a `Loop` trains: model and data, behind callables."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn


@dataclass
class Task:
    """A model and its data.

    Attributes:
        kind: name of the model in the checkpoint.
        model: a module with `forward(batch) -> (loss, metrics)` and
            `after_step(step, num_steps, optimizer, generator) -> dict`.
        model_config: plain, so that the checkpoint can rebuild the model.
        data: fingerprint of the training data.
        num_rows: training examples.
        batch: from (rows, step) to the batch of the step after `step` steps.
        num_validation_rows: held-out examples.
        validation_batch: from rows to a held-out batch.
        parameters: groups for the optimizer, each with its `share` of the learning rate; the model's
            parameters in one group when not given.
        checks: more metrics on held-out data, computed at each validation.
        examples: a picture (H, W, 3) uint8 of the model's predictions.
        advice: printed when a run will take more than an hour.
        prefetch: starts reading rows of the next step.
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
    prefetch: Callable[[np.ndarray], None] | None = None
