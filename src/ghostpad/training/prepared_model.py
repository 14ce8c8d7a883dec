"""The model as this machine runs it: compiled, data-parallel, in the chosen precision."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ghostpad.machine import resolve_compile, resolve_precision
from ghostpad.training.config import LoopConfig
from ghostpad.training.distributed import ProcessGroup


class PreparedModel:
    """Calls a model whose weights are on the device already.

    Args:
        model: the module itself, for checkpoints and for batches of unusual size.
        config: precision, compile mode and batch sizes.
        group: the processes that train together.
    """

    def __init__(self, model: nn.Module, config: LoopConfig, group: ProcessGroup) -> None:
        self.model, self.group = model, group
        self.precision = resolve_precision(config.precision, group.device)
        self.parallel = group.parallel(model)
        mode = resolve_compile(config.compile, group.device, group.world_size, config.accumulate)
        self.compiled_sizes: set[int] = set()
        if mode != "no":
            options = "reduce-overhead" if mode == "graphs" else "default"
            self.parallel = torch.compile(self.parallel, mode=options, dynamic=False)  # type: ignore[assignment]
            self.compiled_sizes = {config.batch_size, config.validation_micro_batch}

    def for_validation(self, num_rows: int) -> Callable[..., Any]:
        """The model for a held-out batch; an unusual size is not worth compiling."""
        return self.parallel if num_rows in self.compiled_sizes else self.model

    @contextmanager
    def micro_batch(self, is_last: bool) -> Iterator[None]:
        """Around forward and backward pass; processes exchange gradients in a batch's last micro-batch."""
        # A CUDA graph may overwrite its earlier outputs from here on: everything kept was copied.
        torch.compiler.cudagraph_mark_step_begin()
        waits = self.group.world_size > 1 and not is_last
        with self.parallel.no_sync() if waits else nullcontext(), self.autocast():  # type: ignore[operator]
            yield

    def autocast(self) -> Any:
        """The context of mixed precision."""
        if self.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.group.device.type, dtype=dtype)
