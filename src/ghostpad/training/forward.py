"""The forward pass as this machine runs it: compiled, in parallel, in the precision that was asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ghostpad.machine import resolve_compile, resolve_precision
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.task import LoopConfig


class Forward:
    """A model and how it is called.

    Args:
        model: the module itself, with its weights on the device already.
        config: precision, compile mode and sizes of batches.
        group: this process's place among all.
    """

    def __init__(self, model: nn.Module, config: LoopConfig, group: ProcessGroup) -> None:
        self.model, self.group = model, group
        self.precision = resolve_precision(config.precision, group.device)
        self.parallel = group.parallel(model)
        compiling = resolve_compile(config.compile, group.device, group.world_size, config.accumulate)
        if compiling != "no":
            mode = "reduce-overhead" if compiling == "graphs" else "default"
            self.parallel = torch.compile(self.parallel, mode=mode, dynamic=False)  # type: ignore[assignment]
        # Any other size would be compiled for itself.
        self.usual_sizes = {config.batch_size, config.validation_micro_batch} if compiling != "no" else set()

    def for_validation(self, num_rows: int) -> Callable[..., Any]:
        """What to call on so many held-out rows."""
        return self.parallel if num_rows in self.usual_sizes else self.model

    @contextmanager
    def micro_batch(self, is_last: bool) -> Iterator[None]:
        """Around forward and backward pass of a micro-batch; gradients travel with the last of a batch."""
        # What an earlier graph gave may be overwritten now: all that is kept was copied.
        torch.compiler.cudagraph_mark_step_begin()
        waits = self.group.world_size > 1 and not is_last
        with self.parallel.no_sync() if waits else nullcontext(), self.autocast():  # type: ignore[operator]
            yield

    def autocast(self) -> Any:
        """Around everything that the precision is about."""
        if self.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.group.device.type, dtype=dtype)
