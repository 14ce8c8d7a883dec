"""Finding things of a known colour and shape in pictures, crisp or blurred.

A place scores Σ(2·likeness - 1) over the pixels that the thing covers there: what it takes off the squared
error of a picture without it. Pixels that are hidden count nothing, so that a thing which is partly hidden is
placed by the part that can be seen.

Dimensions: N pictures, C colour channels (1 or 3), H W picture, L places along a line.
"""

from typing import NamedTuple

import numpy as np

from ghostpad.luma import luma_of

RGB = tuple[int, int, int]
BLACK: RGB = (0, 0, 0)


class Boxes(NamedTuple):
    """The most evident box of each picture.

    Attributes:
        row: (N,) its first row, negative where it hangs over the edge.
        column: (N,) its first column.
        pixels: (N,) how many of its pixels are in the open.
        seen: (N,) whether there is enough evidence for it.
        more: (N,) whether there is enough for a second one that does not touch it.
    """

    row: np.ndarray
    column: np.ndarray
    pixels: np.ndarray
    seen: np.ndarray
    more: np.ndarray


def likeness_to(pictures_NCHW: np.ndarray, rgb: RGB, background: RGB = BLACK) -> np.ndarray:
    """(N, H, W) in 0…1: 1 where a pixel has the colour, 0 where it is as far from it as the background."""
    channels = pictures_NCHW.shape[1]
    color = color_of(rgb, channels)
    reach = np.sqrt(((color - color_of(background, channels)) ** 2).sum())
    if pictures_NCHW.dtype == np.uint8 and channels == 1:
        table = np.clip(1 - np.abs(np.arange(256, dtype=np.float32) / 255 - color[0]) / reach, 0, 1)
        return table[pictures_NCHW[:, 0]]
    away = ((to_unit(pictures_NCHW) - color[:, None, None]) ** 2).sum(1)
    return np.clip(1 - np.sqrt(away) / reach, 0, 1)


def find_box(
    likeness_NHW: np.ndarray, in_the_open: np.ndarray, size: tuple[int, int], evidence: float
) -> Boxes:
    """Find the box of `size` (rows, columns) that explains each picture best; it may hang over the edge.

    Args:
        likeness_NHW: (N, H, W) in 0…1.
        in_the_open: (N, H, W) bool, where the box would be seen.
        size: rows and columns.
        evidence: what it must score to be seen; one that is wholly in the open scores its number of pixels,
            less 2 for each that is missing.
    """
    num, (height, width) = len(likeness_NHW), size
    score = _window_sums(np.where(in_the_open, 2 * likeness_NHW - 1, 0).astype(np.float32), size)
    flat = score.reshape(num, -1)
    best = flat.argmax(1)
    row, column = best // score.shape[2], best % score.shape[2]
    seen = flat[np.arange(num), best] >= evidence
    near_rows = np.abs(np.arange(score.shape[1]) - row[:, None]) < height
    near_columns = np.abs(np.arange(score.shape[2]) - column[:, None]) < width
    score[near_rows[:, :, None] & near_columns[:, None, :]] = -np.inf
    more = score.reshape(num, -1).max(1) >= evidence
    padded = np.pad(in_the_open, ((0, 0), (height - 1,) * 2, (width - 1,) * 2))
    rows = row[:, None, None] + np.arange(height)[:, None]
    columns = column[:, None, None] + np.arange(width)
    pixels = padded[np.arange(num)[:, None, None], rows, columns].sum((1, 2))
    return Boxes(row - (height - 1), column - (width - 1), pixels, seen, seen & more)


def find_bar(
    profile_NL: np.ndarray, lengths: tuple[int, ...], least: int, over_the_start: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Find the bar that explains each line best.

    Args:
        profile_NL: (N, L) likeness along a line, in 0…1.
        lengths: of the bars that there may be, the likeliest first.
        least: places that must be inside the line.
        over_the_start: whether a bar may begin before the line, as it may end beyond it.

    Returns:
        First place and number of places inside the line, (N,) int16 each; -1 and 0 where no bar is seen.
    """
    num, size = profile_NL.shape
    total = np.concatenate([np.zeros((num, 1), np.float32), profile_NL.cumsum(1, dtype=np.float32)], 1)
    first, last = [], []
    for length in lengths:
        starts = np.arange(least - length if over_the_start else 0, size - least + 1)
        first.append(np.maximum(starts, 0))
        last.append(np.minimum(starts + length, size))
    begin, end = np.concatenate(first), np.concatenate(last)
    scores = 2 * (total[:, end] - total[:, begin]) - (end - begin)
    best = scores.argmax(1)
    inside = (end - begin)[best]
    seen = scores[np.arange(num), best] > 0.25 * inside
    return np.where(seen, begin[best], -1).astype(np.int16), np.where(seen, inside, 0).astype(np.int16)


def to_unit(pictures: np.ndarray) -> np.ndarray:
    """Bytes or floats as float32 in [0, 1]."""
    return pictures.astype(np.float32) / 255 if pictures.dtype == np.uint8 else pictures.astype(np.float32)


def color_of(rgb: RGB, channels: int) -> np.ndarray:
    """An RGB colour as (C,) float32 in 0…1; one channel is luma, rounded as in Pillow."""
    if channels == 1:
        return np.array([luma_of(*rgb) / 255], np.float32)
    return np.array(rgb, np.float32) / 255


def _window_sums(values_NHW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Sums over every window of `size` that overlaps the picture: (N, H + rows - 1, W + columns - 1)."""
    (rows, columns), (num, height, width) = size, values_NHW.shape
    across = np.zeros((num, height, width + columns - 1), values_NHW.dtype)
    for shift in range(columns):
        across[:, :, shift : shift + width] += values_NHW
    sums = np.zeros((num, height + rows - 1, across.shape[2]), values_NHW.dtype)
    for shift in range(rows):
        sums[:, shift : shift + height] += across
    return sums
