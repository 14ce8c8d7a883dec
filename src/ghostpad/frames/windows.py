"""Windows: parts of frames around what moves, so that little arithmetic is spent on what stands still.

Dimensions: B batch, C colour channels, H W frame, V U window.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ghostpad.errors import UserError
from ghostpad.frames.batches import Batch

ANYWHERE = 0.1


@dataclass(frozen=True)
class WindowConfig:
    """Which part of the frames training sees; a model without whole-frame attention can do with parts."""

    height: int = 0
    """pixels; 0 for whole frames"""
    width: int = 0
    """pixels; 0 for whole frames"""
    until: float = 1.0
    """share of the training after which whole frames are shown; 1 for never"""


def check_windows(config: WindowConfig, size: tuple[int, int], cell: int) -> None:
    """Refuse windows that do not fit.

    Args:
        config: the windows.
        size: height and width of the frames.
        cell: pixels that one cell of the model's grid covers; windows start and end on cells.

    Raises:
        UserError: a side is no multiple of `cell`, or larger than the frame, or only one is given.
    """
    for name, side, whole in (("height", config.height, size[0]), ("width", config.width, size[1])):
        if side % cell or side > whole:
            raise UserError(
                f"--windows.{name} {side}: must be a multiple of {cell} and at most {whole}, or 0"
            )
    if bool(config.height) != bool(config.width):
        raise UserError("--windows.height and --windows.width go together; give both, or 0 for whole frames")


def cut_windows(batch: Batch, config: WindowConfig, cell: int, generator: torch.Generator) -> Batch:
    """Cut one window from each transition, around a pixel that changes (one in ten: anywhere).

    Args:
        batch: whole frames.
        config: size (V, U) of the windows.
        cell: windows start at multiples of it, so that the grid of a window is a part of the frame's grid.
        generator: source of the draws, on the CPU or on the batch's device.

    Returns:
        Transitions of (V, U) pixels.
    """
    changed_BHW = (batch.frames != batch.next_frames).any(1)
    size = changed_BHW.shape
    free = torch.rand(size[0], 1, 1, generator=generator, device=generator.device) < ANYWHERE
    draws = torch.rand(size, generator=generator, device=generator.device).to(changed_BHW.device)
    preference = torch.where(free.to(changed_BHW.device), 1.0, changed_BHW + 1e-6)
    place_B = (draws * preference).flatten(1).argmax(1)
    slack = torch.rand(2, size[0], generator=generator, device=generator.device).to(changed_BHW.device)
    rows = _span(place_B // size[2], slack[0], config.height, size[1], cell)
    columns = _span(place_B % size[2], slack[1], config.width, size[2], cell)
    return Batch(*(None if part is None else _cut(part, rows, columns) for part in _parts(batch)))  # type: ignore[arg-type]


def _parts(batch: Batch) -> tuple[Tensor | None, ...]:
    return batch.frames, batch.next_frames, batch.colors, batch.next_colors


def _span(place_B: Tensor, slack_B: Tensor, side: int, whole: int, cell: int) -> Tensor:
    """(B, side) indices of spans that start on a cell and hold the place, if the edge lets."""
    before = (slack_B * (side - cell + 1)).long()
    start = torch.div(place_B - before, cell, rounding_mode="floor") * cell
    start = start.clamp(0, (whole - side) // cell * cell)
    return start[:, None] + torch.arange(side, device=place_B.device)


def _cut(part: Tensor, rows_BV: Tensor, columns_BU: Tensor) -> Tensor:
    """(B, …, H, W) → (B, …, V, U)."""
    batch = torch.arange(len(part), device=part.device)[:, None, None]
    if part.ndim == 3:
        return part[batch, rows_BV[:, :, None], columns_BU[:, None, :]]
    channels_last = part.permute(0, 2, 3, 1)
    return channels_last[batch, rows_BV[:, :, None], columns_BU[:, None, :]].permute(0, 3, 1, 2)
