"""Batch norm over the whole batch: the same on one process, on many, and under gradient checkpointing.

Dimensions: B batch, F features, H W size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

_recomputing = False


@contextmanager
def recomputing() -> Iterator[None]:
    """While gradient checkpointing computes a part again: running statistics must not move a second time."""
    global _recomputing
    before, _recomputing = _recomputing, True
    try:
        yield
    finally:
        _recomputing = before


def num_processes() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum over all processes, with gradients through all of them."""
    if num_processes() == 1:
        return tensor
    summed = _Sum.apply(tensor)
    assert isinstance(summed, Tensor)
    return summed


class _Sum(torch.autograd.Function):
    """The sum on every process; a value enters all the sums, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed


def gathered_from_processes(tensor_ND: Tensor) -> Tensor:
    """Rows of all processes, one after another, without gradients: (N, D) → (processes·N, D)."""
    if num_processes() == 1:
        return tensor_ND
    parts = [torch.empty_like(tensor_ND) for _ in range(num_processes())]
    dist.all_gather(parts, tensor_ND)
    return torch.cat(parts)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the global batch (Ioffe & Szegedy 2015).

    PyTorch's own synchronized batch norm works on GPUs alone; this one works wherever `all_reduce` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, F, H, W) → the same shape, normalized."""
        if not self.training or (num_processes() == 1 and not _recomputing):
            return super().forward(input)
        if num_processes() == 1:
            assert self.running_mean is not None and self.running_var is not None
            statistics = self.running_mean.clone(), self.running_var.clone()
            return F.batch_norm(input, *statistics, self.weight, self.bias, True, 0.0, self.eps)
        return self._over_processes(input.float()).to(input.dtype)

    def _over_processes(self, input_BFHW: Tensor) -> Tensor:
        count = input_BFHW.numel() / input_BFHW.shape[1] * num_processes()
        mean = sum_over_processes(input_BFHW.sum((0, 2, 3))) / count
        centered = input_BFHW - mean[:, None, None]
        variance = sum_over_processes(centered.square().sum((0, 2, 3))) / count
        if not _recomputing:
            self._follow(mean.detach(), variance.detach() * count / max(count - 1, 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centered * scale[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked += 1
