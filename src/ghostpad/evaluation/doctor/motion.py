"""Motion of transitions without a model: features for a quick classifier, and how steady the motion is.

Dimensions: N transitions, h w frame after averaging blocks of pixels, R C blocks or cells, F features.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from ghostpad.frames.pairs import Transitions
from ghostpad.model.frame_format import FrameScale
from ghostpad.motion import phase_correlation

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

LONGEST_SIDE = 112
"""Pixels to which frames are averaged down, which halves Atari frames; their shifts stay visible."""
CELLS = 6
"""Rows and columns of the grid in which changes are described; objects of Atari games fit into a cell."""
BLOCK = 4  # side of a matched block (averaged pixels)
SEARCH_SHARE = 8
"""A block is searched within 1/8 of the longer side: Crafter shifts by 7 of 64 pixels at once."""
CHANGED_LEVELS = 6.0
"""Mean absolute difference (gray levels) above which a block changes. Noise of H.264 stays below; a small
sprite of Breakout changes a block by 18."""
EXPLAINED_SHARE = 0.5
"""Share of that difference that the best displacement may leave for the block to count as found."""
STEADY_PIXELS, STEADY_SHARE = 1.0, 0.1
"""Two displacements are equal if they differ by at most a pixel and a tenth of their length."""


_AT_ONCE = 32  # transitions in memory at a time


def control_forest(seed: int) -> "ExtraTreesClassifier":
    """An unfitted classifier of controls by motion; a forest needs no scaling of the features."""
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(60, min_samples_leaf=3, max_features="sqrt", random_state=seed, n_jobs=1)


def motion_of(transitions: Transitions, rows: np.ndarray) -> np.ndarray:
    """Motion features (N, F) of transitions; see `classifier_features`."""
    parts = []
    for start in range(0, len(rows), _AT_ONCE):
        pair = transitions.read(rows[start : start + _AT_ONCE], grayscale=True)
        parts.append(classifier_features(*(shrink(frames[:, 0]) for frames in pair)))
    return np.concatenate(parts)


def shrink(frames_NHW: np.ndarray) -> np.ndarray:
    """Average luma over square blocks, (N, h, w) float32, so that no side exceeds `LONGEST_SIDE`."""
    scale = FrameScale(-(-max(frames_NHW.shape[1:]) // LONGEST_SIDE), picks=False)
    return scale.shrink(torch.from_numpy(frames_NHW)[:, None].float())[:, 0].numpy()


def classifier_features(frames_Nhw: np.ndarray, next_frames_Nhw: np.ndarray) -> np.ndarray:
    """Describe the motion of each transition, (N, F) float32.

    The shift of the whole frame and of its halves, for cameras; and moments of the change in each cell of a
    grid, for objects: an object of area A and contrast c that moves by d adds A·c·d to the first moment of
    the difference of the frames.
    """
    height, width = (size // 2 for size in frames_Nhw.shape[1:])
    windows = [np.s_[:, :, :], np.s_[:, :height], np.s_[:, height:], np.s_[:, :, :width], np.s_[:, :, width:]]
    shifts = [_shift(frames_Nhw[window], next_frames_Nhw[window]) for window in windows]
    return np.concatenate([*shifts, _moments(next_frames_Nhw - frames_Nhw)], 1)


def _shift(frames_Nhw: np.ndarray, next_frames_Nhw: np.ndarray) -> np.ndarray:
    """Shift (rows, columns; averaged pixels) and height of the peak of the phase correlation, (N, 3)."""
    shift_N2, peak_N = phase_correlation(torch.from_numpy(frames_Nhw), torch.from_numpy(next_frames_Nhw))
    return torch.cat([shift_N2, peak_N[:, None]], 1).numpy()


def _moments(change_Nhw: np.ndarray) -> np.ndarray:
    """Sum and first moments (along rows and columns) of the change in each cell, (N, 3·cells²)."""
    num, *sizes = change_Nhw.shape
    cells = [np.arange(size) * CELLS // size == np.arange(CELLS)[:, None] for size in sizes]
    rows_Rh, columns_Cw = (cell.astype(np.float32) for cell in cells)
    down, right = ((np.arange(size) - size / 2).astype(np.float32) for size in sizes)
    weights = ((rows_Rh, columns_Cw), (rows_Rh * down, columns_Cw), (rows_Rh, columns_Cw * right))
    moments = [weight_rows @ change_Nhw @ weight_columns.T for weight_rows, weight_columns in weights]
    return np.stack(moments, 1).reshape(num, -1)


def steady_share(triples_N3hw: np.ndarray) -> float:
    """Share of the moving blocks of the middle frames that keep their displacement; NaN if none moves.

    A block is searched in the frame before and in the frame after, one stride away. Where frames are close in
    time, it is found in both, and the two displacements are opposite; where they are far apart, chance
    decides.
    """
    past, current, future = triples_N3hw.transpose(1, 0, 2, 3)
    still, found, where = zip(*(_search(current, other) for other in (past, future)), strict=True)
    moving = (still[0] > CHANGED_LEVELS) & (still[1] > CHANGED_LEVELS)
    matched = moving & (found[0] < EXPLAINED_SHARE * still[0]) & (found[1] < EXPLAINED_SHARE * still[1])
    length = (np.linalg.norm(where[0], axis=0) + np.linalg.norm(where[1], axis=0)) / 2
    steady = np.linalg.norm(where[0] + where[1], axis=0) <= STEADY_PIXELS + STEADY_SHARE * length
    return float((steady & matched)[moving].mean()) if moving.any() else float("nan")


def _search(frames_Nhw: np.ndarray, others_Nhw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Search the blocks of `frames_Nhw` in other frames.

    Returns:
        Mean absolute difference without and with the best displacement, (N, R, C) each; and that displacement
        (rows, columns), (2, N, R, C), the shortest among equals.
    """
    num, *sizes = frames_Nhw.shape
    height, width = (size // BLOCK * BLOCK for size in sizes)
    radius = -(-max(sizes) // SEARCH_SHARE)
    padded = np.pad(others_Nhw, ((0, 0), (radius, radius), (radius, radius)), "edge")
    steps = range(-radius, radius + 1)
    order = sorted(((down, right) for down in steps for right in steps), key=lambda d: d[0] ** 2 + d[1] ** 2)
    grid = (num, height // BLOCK, width // BLOCK)
    best, where = np.full(grid, np.inf, np.float32), np.zeros((2, *grid), np.float32)
    still = best
    for down, right in order:
        top, left = radius + down, radius + right
        difference = frames_Nhw[:, :height, :width] - padded[:, top : top + height, left : left + width]
        error = np.abs(difference).reshape(num, grid[1], BLOCK, grid[2], BLOCK).mean((2, 4))
        if (down, right) == (0, 0):
            still = error
        better = error < best - 0.01  # gray levels; rounding must not prefer a longer displacement
        best = np.where(better, error, best)
        where[:, better] = np.array([down, right])[:, None]
    return still, best, where
