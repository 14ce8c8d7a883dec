"""One optimizer step, shared by everything that trains, and `fit` for networks that train in seconds.

A run with checkpoints, validation and tracking is a `Loop`. Both call `optimizer_step`.
"""

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from ghostpad.progress import progress


def optimizer_step(
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler,
    losses: Iterable[Tensor],
    num_losses: int = 1,
    gradient_clip: float = 0.0,
    scaler: torch.amp.GradScaler | None = None,  # type: ignore[name-defined]
) -> Tensor | None:
    """Descend along the gradient of the mean of `losses`.

    Args:
        optimizer: over the parameters that learn.
        schedule: advanced by one step.
        losses: scalar losses, one for each micro-batch. Each is backpropagated before the next is drawn, so a
            generator needs the memory of one micro-batch only, and its contexts span the backward pass.
        num_losses: how many there are.
        gradient_clip: largest norm of the gradient; 0 for no limit.
        scaler: loss scaling for fp16.

    Returns:
        The norm of the gradient before clipping; None without clipping.
    """
    scaler = scaler or torch.amp.GradScaler(enabled=False)  # type: ignore[attr-defined]
    optimizer.zero_grad(set_to_none=True)
    for loss in losses:
        scaler.scale(loss / num_losses).backward()
    norm = None
    if gradient_clip:
        scaler.unscale_(optimizer)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, gradient_clip)
    scaler.step(optimizer)
    scaler.update()
    with warnings.catch_warnings():
        # The scaler skips a step that overflows, and the schedule then misses it.
        warnings.filterwarnings("ignore" if scaler.is_enabled() else "default", "Detected call of `lr_sched")
        schedule.step()
    return norm


def fit(
    module: nn.Module,
    loss: Callable[[int], Tensor],
    steps: int,
    learning_rate: float,
    *,
    weight_decay: float = 0.0,
    schedule_steps: int | None = None,
    what: str = "",
) -> None:
    """Train a small network in place with AdamW and a one-cycle learning rate.

    Its parameters require gradients during the fit only: elsewhere it is a frozen part of a larger model.

    Args:
        module: the network.
        loss: draws the batch of a step and returns its scalar loss.
        steps: optimizer steps.
        learning_rate: its peak (https://arxiv.org/abs/1708.07120).
        weight_decay: of AdamW; without it AdamW is Adam.
        schedule_steps: length of the learning rate's cycle; `steps` when not given.
        what: name of the progress bar; no bar when empty.
    """
    parameters = list(module.requires_grad_(True).parameters())
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)
    schedule = OneCycleLR(optimizer, learning_rate, total_steps=schedule_steps or steps)
    for step in progress(range(steps), what=what, unit="steps", shown=bool(what)):
        optimizer_step(optimizer, schedule, [loss(step)])
    module.requires_grad_(False)
