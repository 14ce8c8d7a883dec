"""Colours of the player's sprite where the camera follows it: no learning, no game.

While the camera moves, the background moves over the screen. What stays in its place is the player's sprite,
or a display. The sprite's colours show which way it faces, also where a move is blocked.

Dimensions: N pairs, H W frame, R C cells.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

CELLS = 16  # along the longer side of the frame
_LEAST_RATIO = 1.7
"""A cell stays in place if shifting the picture with the camera predicts it worse than copying does, by this
factor more than in the median cell. It is 1.8 and more at the player in Crafter, CoinRun and Jumper."""
_MOST_MEDIAN = 0.8
"""Shifting must predict the median cell better than copying, by this factor; else the shifts are wrong."""
_FARTHEST = 8
"""Shifts of up to 1/8 of the longer side count as a moving camera; larger ones are often wrong."""
_NOISE = 1e-3
"""Added to the error of copying, so that a flat sky does not count."""


def cell_means(frames_NCHW: Tensor) -> Tensor:
    """Mean of each channel in each cell of the screen: (..., H, W) to (..., R, C), in the same unit."""
    height, width = frames_NCHW.shape[-2:]
    longer = max(height, width)
    return F.adaptive_avg_pool2d(
        frames_NCHW, (max(1, CELLS * height // longer), max(1, CELLS * width // longer))
    )


class ScreenFixedCells:
    """Finds the cells of the screen that keep their place while the camera moves."""

    def __init__(self) -> None:
        self._sums_3HW: Tensor | float = 0.0
        """Errors of copying and of shifting, and how many were added."""

    def add(self, frames_NHW: Tensor, next_NHW: Tensor, shifts_N2: Tensor) -> None:
        """Compare the pairs in which the camera moves.

        Args:
            frames_NHW: luma, in [0, 1].
            next_NHW: the next frames.
            shifts_N2: of the whole picture, in pixels down and right.
        """
        height, width = frames_NHW.shape[1:]
        sums_3HW = torch.zeros(3, height, width)
        size_N = shifts_N2.abs().amax(1)
        moving = torch.nonzero((size_N >= 1) & (size_N <= max(height, width) // _FARTHEST))[:, 0]
        for index in moving.tolist():
            before_HW, after_HW = frames_NHW[index], next_NHW[index]
            down, right = (int(shift) for shift in shifts_N2[index])
            to = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
            source = slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0))
            sums_3HW[0][to] += (after_HW[to] - before_HW[to]).abs()
            sums_3HW[1][to] += (after_HW[to] - before_HW[source]).abs()
            sums_3HW[2][to] += 1
        self._sums_3HW = self._sums_3HW + sums_3HW

    def found(self) -> np.ndarray:
        """Mask (R, C) of the cells that keep their place; none if shifts do not predict the picture."""
        assert isinstance(self._sums_3HW, Tensor), "no pairs were added"
        copied_HW, shifted_HW, count_HW = self._sums_3HW
        copied_RC, shifted_RC = cell_means(torch.stack([copied_HW, shifted_HW]) / count_HW.clamp_min(1))
        ratio_RC = shifted_RC / (copied_RC + _NOISE)
        usual = ratio_RC.median()
        is_fixed_RC = (ratio_RC > _LEAST_RATIO * usual) & (shifted_RC > shifted_RC.median())
        return (is_fixed_RC & (usual < _MOST_MEDIAN)).numpy()
