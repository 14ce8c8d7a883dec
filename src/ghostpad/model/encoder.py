"""The encoder: a frame and its next frame in, a small grid of latents out; and the blocks it is built from.

Dimensions: B batch, C colour channels, H W frame, F features, D embedding, h w grid.
"""

import math
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ghostpad.model.batch_statistics import BatchNorm, recomputing
from ghostpad.model.config import EncoderConfig
from ghostpad.model.warp import FLOW_UNIT, FlowGrid, estimate_flow, warp

SHORT_ROW = 16
"""Longest row for which `stride_2_convolution` was measured to be faster than oneDNN alone."""


def stride_2_convolution(
    conv: nn.Conv2d | nn.ConvTranspose2d, features_BFHW: Tensor, output_padding: tuple[int, ...] | None = None
) -> Tensor | None:
    """The output of a 3×3 convolution of stride 2 or, with `output_padding`, of its transpose.

    The gradient of the weight is one matrix product. oneDNN multiplies row by row and fills up short rows,
    which takes 1.3 to 2.5 times as long in bfloat16.

    Returns:
        None where that saves nothing: then call the module itself.
    """
    transposed = output_padding is not None
    row = features_BFHW.shape[3] if transposed else (features_BFHW.shape[3] + 1) // 2
    is_slow = (
        features_BFHW.device.type == "cpu" and features_BFHW.dtype == torch.bfloat16 and row <= SHORT_ROW
    )
    if not (is_slow and torch.is_grad_enabled() and conv.stride == (2, 2) and conv.bias is None):
        return None
    padding = list(output_padding or (0, 0))
    output = _Stride2Convolution.apply(features_BFHW, conv.weight.bfloat16(), transposed, padding)
    assert isinstance(output, Tensor)
    return output


class _Stride2Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, transposed: bool, padding: list[int]) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.geometry = ([2, 2], [1, 1], [1, 1], transposed, padding, 1)
        return torch.convolution(features, weight, None, *ctx.geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,), (features, weight) = gradients, ctx.saved_tensors
        of_features, _, _ = torch.ops.aten.convolution_backward(
            gradient, features, weight, None, *ctx.geometry, [True, False, False]
        )
        large, small = (gradient, features) if ctx.geometry[3] else (features, gradient)
        return of_features, weight_gradient(large, small), None, None


def weight_gradient(large_BFHW: Tensor, small_BGhw: Tensor) -> Tensor:
    """Gradient (G, F, 3, 3) of the weight that maps large to small: a product over the patches of large."""
    batch, features, _, _ = large_BFHW.shape
    _, outputs, h, w = small_BGhw.shape
    padded = F.pad(large_BFHW.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    sample, row, column, _ = padded.stride()
    patches = padded.as_strided(
        (batch, h, w, 3, 3 * features), (sample, 2 * row, 2 * column, row, 1)
    ).reshape(batch * h * w, -1)
    product = small_BGhw.permute(0, 2, 3, 1).reshape(-1, outputs).t() @ patches
    return product.view(outputs, 3, 3, features).permute(0, 3, 1, 2)


class Conv2d(nn.Conv2d):
    """A convolution that uses `stride_2_convolution` where that is faster."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, in, H, W) → (B, out, ceil(H/stride), ceil(W/stride))."""
        output = stride_2_convolution(self, input)
        return super().forward(input) if output is None else output


class ConvBlock(nn.Sequential):
    """3×3 convolution, batch norm, ReLU; (B, in, H, W) → (B, out, ceil(H/stride), ceil(W/stride))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            BatchNorm(out_channels),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), BatchNorm(channels)
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features_BFHW: Tensor) -> Tensor:
        """Return features of the same shape."""
        return self.activation(features_BFHW + self.second(self.first(features_BFHW)))


class Checkpointable(nn.Module):
    """A module with gradient checkpointing (Chen et al. 2016, https://arxiv.org/abs/1604.06174)."""

    checkpointing = False

    def maybe_checkpoint(self, part: nn.Module, features: Tensor) -> Tensor:
        """Run `part` on `features`; with `checkpointing`, its activations are recomputed, not kept."""
        if not (self.checkpointing and self.training):
            return part(features)
        output = checkpoint(
            part, features, use_reentrant=False, context_fn=lambda: (nullcontext(), recomputing())
        )
        assert isinstance(output, Tensor)
        return output


class FramePyramid(Checkpointable):
    """A stack of stride-2 stages; gives the features after every stage, finest first."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        inputs = (in_channels, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvBlock(before, after, stride=2), *(ResidualBlock(after) for _ in range(num_blocks))
            )
            for before, after, num_blocks in zip(inputs, widths, blocks or (0,) * len(widths), strict=True)
        )

    def forward(self, frames_BCHW: Tensor) -> list[Tensor]:
        """Return one (B, widths[i], ceil(H/2^(i+1)), ceil(W/2^(i+1))) tensor per stage."""
        features = [frames_BCHW]
        for stage in self.stages:
            features.append(self.maybe_checkpoint(stage, features[-1]))
        return features[1:]


class Condense(nn.Module):
    """A few tokens, each a linear function of all cells, as in LAPO (https://arxiv.org/abs/2312.10812)."""

    def __init__(self, features: int, dim: int, cells: tuple[int, int], tokens: tuple[int, int]) -> None:
        super().__init__()
        self.shape = (dim, *tokens)
        self.linear = nn.Linear(features * math.prod(cells), math.prod(self.shape))

    def forward(self, features_BFHW: Tensor) -> Tensor:
        """(B, F, H, W) → (B, D, h, w)."""
        return self.linear(features_BFHW.flatten(1)).unflatten(1, self.shape)


class Encoder(nn.Module):
    """Concatenated frames, the next frame last, to latents: (B, (T + 1)·C, H, W) → (B, D, h, w).

    With `motion` it also sees the estimated flow, and the frame warped by it; and the first two dimensions of
    the latents start from the flow, in units of `FLOW_UNIT` pixels.
    """

    def __init__(
        self,
        config: EncoderConfig,
        num_frames: int,
        channels: int,
        dim: int,
        cells: tuple[int, int],
        motion: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.motion = channels, motion
        self.flow_grid = FlowGrid(2 ** len(config.widths), config.tokens)
        in_channels = num_frames * channels + (channels + 2 if motion else 0)
        self.pyramid = FramePyramid(in_channels, config.widths, config.blocks)
        last = config.widths[-1]
        self.project = (
            nn.Conv2d(last, dim, 1) if config.tokens is None else Condense(last, dim, cells, config.tokens)
        )
        if motion:  # at first the codes carry the estimated flow as it is
            for weight in self.project.parameters():
                nn.init.zeros_(weight[: 2 * math.prod(config.tokens or (1,))])

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """Return latents, before quantizing."""
        if not self.motion:
            return self.project(self.pyramid(frames_BCHW)[-1])
        current_BCHW, next_BCHW = frames_BCHW[:, -2 * self.channels :].chunk(2, 1)
        flow_B2hw = estimate_flow(current_BCHW, next_BCHW, self.flow_grid)
        flow_B2HW = self.flow_grid.enlarge(flow_B2hw, (frames_BCHW.shape[2], frames_BCHW.shape[3]))
        inputs = [frames_BCHW, warp(current_BCHW, flow_B2HW), flow_B2HW / FLOW_UNIT]
        inputs_BFHW = torch.cat([part.to(frames_BCHW.dtype) for part in inputs], 1)
        latents = self.project(self.pyramid(inputs_BFHW)[-1]).float()
        return torch.cat([latents[:, :2] + flow_B2hw / FLOW_UNIT, latents[:, 2:]], 1)


def grid_sizes(height: int, width: int, num_stages: int) -> list[tuple[int, int]]:
    """Sizes from the frame down to the grid, each the ceiling of half of the one before.

    210×160 gives 105×80, 53×40, 27×20, 14×10, 7×5 over five stages.
    """
    sizes = [(height, width)]
    for _ in range(num_stages):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes
