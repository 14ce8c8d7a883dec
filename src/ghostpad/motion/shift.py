"""Shifts between frames by phase correlation, over the whole frame and parts of it: no learning, no game.

Dimensions: N pairs, H W frame, R regions.
"""

import torch
from torch import Tensor

PARTS = (2, 3)  # into how many bands of rows, and of columns, a frame is cut besides the whole
_FLOOR = 1e-3  # share of the strongest frequency below which frequencies count as noise


def regions(height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the regions: the whole frame, halves and thirds along each axis."""
    whole = slice(None)
    found = [(whole, whole)]
    for number in PARTS:
        for index in range(number):
            rows = slice(index * height // number, (index + 1) * height // number)
            columns = slice(index * width // number, (index + 1) * width // number)
            found += [(rows, whole), (whole, columns)]
    return found


def phase_correlation(frames_NHW: Tensor, next_NHW: Tensor, windowed: bool = True) -> tuple[Tensor, Tensor]:
    """The shift of the picture from float frames to their next frames (Kuglin and Hines, 1975).

    The cross-power spectrum of two shifted pictures has the phase of a pure shift, so its inverse Fourier
    transform has a peak there. If `windowed`, a Hann window keeps the borders of a moving picture out.

    Returns:
        Pixels (N, 2), down and right, from minus to plus half of the frame; and the height (N,) of the peak,
        in [0, 1]: 1 for a pure shift.
    """
    _, height, width = frames_NHW.shape
    both = frames_NHW, next_NHW
    if windowed:
        rows, columns = (torch.hann_window(size, periodic=False).to(frames_NHW) for size in (height, width))
        both = ((each - each.mean((1, 2), keepdim=True)) * rows[:, None] * columns for each in both)
    before, after = (torch.fft.rfft2(each) for each in both)
    cross = after * before.conj()
    strength = cross.abs()
    floor = _FLOOR * strength.amax((1, 2), keepdim=True) + torch.finfo(strength.dtype).tiny
    peak_N, place_N = torch.fft.irfft2(cross / (strength + floor), s=(height, width)).flatten(1).max(1)
    shift_N2 = torch.stack([place_N // width, place_N % width], 1)
    size_2 = torch.tensor([height, width], device=shift_N2.device)
    return torch.where(shift_N2 > size_2 // 2, shift_N2 - size_2, shift_N2).float(), peak_N


def region_shifts(frames_NHW: Tensor, next_NHW: Tensor, windowed: bool = True) -> Tensor:
    """Shift and height of the peak in each region: (N, R, 3), pixels down and right, and [0, 1]."""
    found = []
    for rows, columns in regions(*frames_NHW.shape[1:]):
        parts = frames_NHW[:, rows, columns], next_NHW[:, rows, columns]
        shift_N2, peak_N = phase_correlation(*parts, windowed)
        found.append(torch.cat([shift_N2, peak_N[:, None]], 1))
    return torch.stack(found, 1)
