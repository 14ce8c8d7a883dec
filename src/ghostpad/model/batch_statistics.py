"""Statistics of the global batch: sums over the processes that train together, and batch norm built on them.

Dimensions: B batch, F features, H W size, N rows, D columns.
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
    """Mark the recomputation of gradient checkpointing, which must not update running statistics again."""
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
    summed = _AllReduce.apply(tensor)
    assert isinstance(summed, Tensor)
    return summed


class _AllReduce(torch.autograd.Function):
    """A sum with a gradient: a value enters the sums of all processes, so its gradient is the sum of theirs.

    Ours, since `torch.distributed.nn` is deprecated and its successor not public.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllReduce.forward(ctx, gradients[0])


def gather_over_processes(tensor_ND: Tensor) -> Tensor:
    """Rows of all processes, one after another, without gradients: (N, D) → (processes·N, D)."""
    if num_processes() == 1:
        return tensor_ND
    parts = [torch.empty_like(tensor_ND) for _ in range(num_processes())]
    dist.all_gather(parts, tensor_ND)
    return torch.cat(parts)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over the global batch (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167).

    PyTorch's `SyncBatchNorm` needs a GPU; this one works wherever `all_reduce` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, F, H, W) → the same shape, normalized."""
        if not self.training or (num_processes() == 1 and not _recomputing):
            return super().forward(input)
        if num_processes() == 1:
            # Copies, not None: checkpointing compares what both forward passes save for the backward pass.
            assert self.running_mean is not None and self.running_var is not None
            running = self.running_mean.clone(), self.running_var.clone()
            return F.batch_norm(input, *running, self.weight, self.bias, training=True, eps=self.eps)
        return self._over_processes(input.float()).to(input.dtype)

    def _over_processes(self, input_BFHW: Tensor) -> Tensor:
        count = input_BFHW.numel() / input_BFHW.shape[1] * num_processes()
        mean_F = sum_over_processes(input_BFHW.sum((0, 2, 3))) / count
        centered_BFHW = input_BFHW - mean_F[:, None, None]
        variance_F = sum_over_processes(centered_BFHW.square().sum((0, 2, 3))) / count
        if not _recomputing:
            # Running statistics keep the unbiased variance, as in nn.BatchNorm2d.
            self._update_running(mean_F.detach(), variance_F.detach() * count / max(count - 1, 1))
        scale_F = self.weight * torch.rsqrt(variance_F + self.eps)
        return centered_BFHW * scale_F[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _update_running(self, mean_F: Tensor, variance_F: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.running_mean.lerp_(mean_F, self.momentum)
        self.running_var.lerp_(variance_F, self.momentum)
        self.num_batches_tracked += 1
