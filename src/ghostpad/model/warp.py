"""Motion inside a latent action model: block matching for the encoder, and warping for the decoder.

Gradient descent on pixels does not find displacements of many pixels. So the flow between the two frames is
estimated without learning. The encoder sees it, and its latents begin with it; so the codes carry it to the
decoder, which warps the current frame by it and corrects the rest.

A flow (B, 2, …) says for each place of the next frame by how many pixels, down and right, its content moved.

Dimensions: B batch, C colour channels, H W frame, h w grid of codes, S shifts.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

FLOW_UNIT = 4.0
"""Pixels of flow for each unit of a latent."""
REACH = 6
"""Largest shift tried along each axis at the coarsest scale, in its pixels; 1 at the finer ones."""
COARSEST = 56
"""Longest side of a frame at the coarsest scale, in pixels."""
SMOOTHNESS = 0.5
"""Weight of the mean matching error of a cell and its neighbours, beside its own."""
STILLNESS = 4.5e-3
"""Matching error (mean difference of brightness in [0, 1]) that the largest shift must save over none."""


@dataclass(frozen=True)
class FlowGrid:
    """Which part of a frame each vector of a flow stands for."""

    cell: int
    """pixels of a cell along each side, a power of two"""
    tokens: tuple[int, int] | None = None
    """rows and columns of equal parts instead of cells"""

    def average(self, values_BSHW: Tensor, scale: int) -> Tensor:
        """Mean of each part (B, S, h, w) of frames that were scaled down by `scale`."""
        if self.tokens is not None:
            return F.adaptive_avg_pool2d(values_BSHW, self.tokens)
        return _shrink(values_BSHW, self.cell // scale)

    def enlarge(self, flow_B2hw: Tensor, size: tuple[int, int], scale: int = 1) -> Tensor:
        """The flow of each pixel (B, 2, H, W) is that of its part, for frames scaled down by `scale`."""
        if self.tokens is not None:
            return F.interpolate(flow_B2hw, size)
        side = self.cell // scale
        return flow_B2hw.repeat_interleave(side, 2).repeat_interleave(side, 3)[..., : size[0], : size[1]]


@torch.autocast("cuda", enabled=False)
@torch.autocast("cpu", enabled=False)
def estimate_flow(frames_BCHW: Tensor, next_frames_BCHW: Tensor, grid: FlowGrid) -> Tensor:
    """Flow (B, 2, h, w) of each part of the grid, by block matching from coarse to fine.

    On frames of 64×64 it finds up to 13 pixels, on 160×120 and 160×210 up to 27.
    """
    both_B1HW = [frames.float().mean(1, keepdim=True) for frames in (frames_BCHW, next_frames_BCHW)]
    scale, reach, flow_B2hw = 1, REACH, None
    while scale < grid.cell and max(frames_BCHW.shape[2:]) > COARSEST * scale:
        scale *= 2
    while scale >= 1:
        frames, next_frames = (_shrink(each, scale) for each in both_B1HW)
        if flow_B2hw is not None:
            frames = warp(frames, grid.enlarge(flow_B2hw, _size(frames), scale) / scale)
        shift_B2hw = scale * _best_shift(frames, next_frames, reach, grid, scale)
        flow_B2hw = shift_B2hw if flow_B2hw is None else flow_B2hw + shift_B2hw
        scale, reach = scale // 2, 1
    assert flow_B2hw is not None
    return flow_B2hw


def _best_shift(
    frames_B1HW: Tensor, next_frames_B1HW: Tensor, reach: int, grid: FlowGrid, scale: int
) -> Tensor:
    """The shift (B, 2, h, w) of each part of the grid that makes the frames most alike."""
    height, width = _size(frames_B1HW)
    padded = F.pad(frames_B1HW, (reach,) * 4, mode="replicate")
    steps = range(-reach, reach + 1)
    shifts = [(down, right) for down in steps for right in steps]
    shifted_BSHW = torch.cat(
        [padded[:, :, reach - y : reach - y + height, reach - x : reach - x + width] for y, x in shifts], 1
    )
    errors_BShw = grid.average((shifted_BSHW - next_frames_B1HW).abs(), scale)
    if reach > 1:
        errors_BShw = errors_BShw + SMOOTHNESS * F.avg_pool2d(errors_BShw, 3, 1, 1, count_include_pad=False)
    shifts_S2 = torch.tensor(shifts, dtype=errors_BShw.dtype, device=errors_BShw.device)
    lengths_S11 = shifts_S2.abs().sum(1)[:, None, None] / reach
    best_Bhw = (errors_BShw + STILLNESS * lengths_S11).argmin(1)
    return shifts_S2[best_Bhw].permute(0, 3, 1, 2)


@torch.autocast("cuda", enabled=False)
@torch.autocast("cpu", enabled=False)
def warp(frames_BCHW: Tensor, flow_B2HW: Tensor, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """Move the content of frames by a flow, interpolated by `mode`; beyond the border it is repeated."""
    height, width = _size(frames_BCHW)
    rows, columns = (torch.arange(size, device=flow_B2HW.device) for size in (height, width))
    y_BHW, x_BHW = rows[:, None] - flow_B2HW[:, 0].float(), columns - flow_B2HW[:, 1].float()
    places = torch.stack([x_BHW * (2 / max(width - 1, 1)) - 1, y_BHW * (2 / max(height - 1, 1)) - 1], -1)
    return F.grid_sample(frames_BCHW.float(), places, mode, padding_mode="border", align_corners=True)


def _shrink(frames: Tensor, scale: int) -> Tensor:
    return F.avg_pool2d(frames, scale, ceil_mode=True, count_include_pad=False)


def _size(frames: Tensor) -> tuple[int, int]:
    return frames.shape[2], frames.shape[3]
