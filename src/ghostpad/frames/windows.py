"""Windows: parts of frames around changing pixels, so that training computes little on what stands still.

Dimensions: B batch, C colour channels, H W frame, V U window.
"""

import torch
from torch import Tensor

from ghostpad.errors import UserError
from ghostpad.frames.batches import Batch

ANYWHERE = 0.1
"""Share of the windows that are drawn anywhere, changing pixel or not."""


def check_windows(window: tuple[int, int], size: tuple[int, int], cell: int) -> None:
    """Refuse windows (V, U) that do not fit frames of `size` (H, W) on a grid of `cell` pixels.

    Raises:
        UserError: a side is not a multiple of `cell`, or larger than the frame, or only one is given.
    """
    for name, side, whole in zip(("height", "width"), window, size, strict=True):
        if side % cell or side > whole:
            raise UserError(
                f"--windows.{name} {side}: must be a multiple of {cell} and at most {whole}, or 0"
            )
    if bool(window[0]) != bool(window[1]):
        raise UserError("--windows.height and --windows.width go together; give both, or 0 for whole frames")


def cut_windows(batch: Batch, window: tuple[int, int], cell: int, generator: torch.Generator) -> Batch:
    """Cut one window from each transition, around a changing pixel (one in ten: anywhere).

    Args:
        batch: whole frames.
        window: size (V, U) of the windows.
        cell: windows start at multiples of it, so that the grid of a window is a part of the frame's grid.
        generator: source of the draws, on the CPU or on the batch's device.

    Returns:
        Transitions of (V, U) pixels.
    """
    changed_BHW = (batch.frames != batch.next_frames).any(1)
    size, device = changed_BHW.shape, changed_BHW.device
    anywhere = torch.rand(size[0], 1, 1, generator=generator, device=generator.device) < ANYWHERE
    draws = torch.rand(size, generator=generator, device=generator.device).to(device)
    preference = torch.where(anywhere.to(device), 1.0, changed_BHW + 1e-6)
    place_B = (draws * preference).flatten(1).argmax(1)
    offset = torch.rand(2, size[0], generator=generator, device=generator.device).to(device)
    rows = _span(place_B // size[2], offset[0], window[0], size[1], cell)
    columns = _span(place_B % size[2], offset[1], window[1], size[2], cell)
    index = (torch.arange(size[0], device=device)[:, None, None], rows[:, :, None], columns[:, None, :])
    frames, next_frames = (
        part.permute(0, 2, 3, 1)[index].permute(0, 3, 1, 2) for part in (batch.frames, batch.next_frames)
    )
    colors, next_colors = (
        part if part is None else part[index] for part in (batch.colors, batch.next_colors)
    )
    return Batch(frames, next_frames, colors, next_colors)


def _span(place_B: Tensor, offset_B: Tensor, side: int, whole: int, cell: int) -> Tensor:
    """(B, side) indices of spans that start on a cell and contain the place, as far as the edge allows."""
    before = (offset_B * (side - cell + 1)).long()
    start = torch.div(place_B - before, cell, rounding_mode="floor") * cell
    start = start.clamp(0, (whole - side) // cell * cell)
    return start[:, None] + torch.arange(side, device=place_B.device)
