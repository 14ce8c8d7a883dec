"""Shifts of colours before a fixed background, in the whole frame and in its thirds: no learning, no game.

A player, an enemy and a shot often have colours, or bands of the frame, of their own.

Dimensions: N frames, H W frame, K colours, S shifts.
"""

import numpy as np

NUM_COLORS = 12  # colours tracked at most: the commonest off the background
BANDS = 3  # bands of rows, and of columns
_LEAST_OVERLAP = 0.6
"""Least ratio of the smaller to the larger of a colour's two pixel counts; below it the shift is 0."""


def coarse_colors(frames_NCHW: np.ndarray) -> np.ndarray:
    """Two bits of each channel of uint8 RGB frames: (N, H, W) uint8, 0 to 63."""
    red, green, blue = (frames_NCHW >> 6).swapaxes(0, 1)
    return red << 4 | green << 2 | blue


def color_shifts(
    colors_NHW: np.ndarray, background_HW: np.ndarray, tracked_K: np.ndarray, stride: int = 1
) -> np.ndarray:
    """How far each tracked colour's pixels off the background move from a frame to its next frame.

    `colors_NHW` are `coarse_colors`, and `background_HW` is the commonest of each pixel.

    Returns:
        Pixels (N - stride, S) float32: for each colour the shift of its centroid down and right, in the whole
        frame, in each band of rows, and in each band of columns; 0 where the colour is absent.
    """
    off_NHW = colors_NHW != background_HW
    found = []
    for color in tracked_K:
        mask_NHW = off_NHW & (colors_NHW == color)
        along_rows, along_columns = (np.array_split(mask_NHW, BANDS, axis=axis) for axis in (1, 2))
        for part in (mask_NHW, *along_rows, *along_columns):
            counts_by_axis = [part.sum(axis, dtype=np.float32) for axis in (2, 1)]  # by row, by column
            pixels_N = counts_by_axis[0].sum(1)
            before, after = pixels_N[:-stride], pixels_N[stride:]
            kept = (np.minimum(before, after) >= _LEAST_OVERLAP * np.maximum(before, after)) & (before > 0)
            for counts in counts_by_axis:
                centroid_N = counts @ np.arange(counts.shape[1], dtype=np.float32) / pixels_N.clip(1)
                found.append(np.where(kept, centroid_N[stride:] - centroid_N[:-stride], 0))
    nothing = np.zeros((len(colors_NHW) - stride, 0))
    return np.column_stack([nothing, *found]).astype(np.float32)
