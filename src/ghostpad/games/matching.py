"""Template matching of flat-coloured shapes whose colour, size and possible places a game fixes.

A place scores Σ(2·likeness - 1) over the pixels that the shape covers there: the decrease of the squared
error of a frame without it. Hidden pixels count nothing, so that a shape which is partly hidden is placed by
its visible part; this, and shapes that hang over the edge, is why no library's matching is used.

Dimensions: N frames, C colour channels (1 or 3), H W frame, L positions along a line.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ghostpad.games.elements import GameState
from ghostpad.luma import luma_of

RGB = tuple[int, int, int]
BLACK: RGB = (0, 0, 0)
NOT_FOUND = -1
"""Coordinate of what is not visible."""
COLOR_TOLERANCE = 0.08
"""Largest distance, in 0…1, of the mean colour of a region from its colour in the game."""
MIN_EVIDENCE = 2.0
"""Score from which a small box is detected; a complete one scores its pixels, less 2 for each missing."""


class Boxes(NamedTuple):
    """The best box of each frame.

    Attributes:
        row: (N,) its first row, negative where it hangs over the edge.
        column: (N,) its first column.
        pixels: (N,) how many of its pixels are not hidden.
        detected: (N,) whether there is enough evidence for it.
        more: (N,) whether there is enough for a second one that does not touch it.
    """

    row: np.ndarray
    column: np.ndarray
    pixels: np.ndarray
    detected: np.ndarray
    more: np.ndarray

    def columns(self, name: str, left: int, top: int) -> GameState:
        """State columns of a sprite in a field that begins at column `left` and row `top`."""
        return {
            f"{name}_x": np.where(self.detected, self.column + left, NOT_FOUND).astype(np.int16),
            f"{name}_y": np.where(self.detected, self.row + top, NOT_FOUND).astype(np.int16),
            f"{name}_pixels": np.where(self.detected, self.pixels, 0).astype(np.int16),
            f"num_{name}s": self.detected.astype(np.int8) + self.more.astype(np.int8),
        }


def has_colors(frames_NCHW: np.ndarray, size: tuple[int, int], regions: Iterable[tuple[Any, RGB]]) -> bool:
    """Whether frames have this size, and their regions (indices) the given mean colours."""
    if frames_NCHW.shape[2:] != size or not len(frames_NCHW):
        return False
    channels = frames_NCHW.shape[1]
    errors = (
        to_unit(frames_NCHW[region]).mean((0, 2, 3)) - color_of(rgb, channels) for region, rgb in regions
    )
    return bool(max(np.abs(error).max() for error in errors) < COLOR_TOLERANCE)


def likeness_to(frames_NCHW: np.ndarray, rgb: RGB, background: RGB = BLACK) -> np.ndarray:
    """(N, H, W) in 0…1: 1 where a pixel has the colour, 0 where it is as far from it as the background."""
    channels = frames_NCHW.shape[1]
    color = color_of(rgb, channels)
    reach = np.sqrt(((color - color_of(background, channels)) ** 2).sum())
    if frames_NCHW.dtype == np.uint8 and channels == 1:
        table = np.clip(1 - np.abs(np.arange(256, dtype=np.float32) / 255 - color[0]) / reach, 0, 1)
        return table[frames_NCHW[:, 0]]
    away = ((to_unit(frames_NCHW) - color[:, None, None]) ** 2).sum(1)
    return np.clip(1 - np.sqrt(away) / reach, 0, 1)


def find_box(
    likeness_NHW: np.ndarray,
    size: tuple[int, int],
    visible_NHW: np.ndarray | None = None,
    min_evidence: float = MIN_EVIDENCE,
) -> Boxes:
    """Find the box that explains each frame best; it may hang over the edge.

    Args:
        likeness_NHW: (N, H, W) in 0…1.
        size: its rows and columns.
        visible_NHW: (N, H, W) bool, where the box would not be hidden; everywhere if not given.
        min_evidence: the score from which it is detected.
    """
    num, (height, width) = len(likeness_NHW), size
    visible = np.ones(likeness_NHW.shape, bool) if visible_NHW is None else visible_NHW
    score = _window_sums(np.where(visible, 2 * likeness_NHW - 1, 0).astype(np.float32), size)
    flat = score.reshape(num, -1)
    best = flat.argmax(1)
    row, column = best // score.shape[2], best % score.shape[2]
    detected = flat[np.arange(num), best] >= min_evidence
    near_rows = np.abs(np.arange(score.shape[1]) - row[:, None]) < height
    near_columns = np.abs(np.arange(score.shape[2]) - column[:, None]) < width
    score[near_rows[:, :, None] & near_columns[:, None, :]] = -np.inf
    more = score.reshape(num, -1).max(1) >= min_evidence
    padded = np.pad(visible, ((0, 0), (height - 1,) * 2, (width - 1,) * 2))
    rows = row[:, None, None] + np.arange(height)[:, None]
    columns = column[:, None, None] + np.arange(width)
    pixels = padded[np.arange(num)[:, None, None], rows, columns].sum((1, 2))
    return Boxes(row - (height - 1), column - (width - 1), pixels, detected, detected & more)


def find_bar(
    profile_NL: np.ndarray, lengths: tuple[int, ...], min_inside: int, before_start: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Find the bar that explains each line best.

    Args:
        profile_NL: (N, L) likeness along a line, in 0…1.
        lengths: possible lengths of the bar, the most frequent first.
        min_inside: positions that must be inside the line.
        before_start: whether a bar may begin before the line, as it may end beyond it.

    Returns:
        First position and number of positions inside the line, (N,) int16 each; -1 and 0 without a bar.
    """
    num, size = profile_NL.shape
    total = np.concatenate([np.zeros((num, 1), np.float32), profile_NL.cumsum(1, dtype=np.float32)], 1)
    firsts, lasts = [], []
    for length in lengths:
        starts = np.arange(min_inside - length if before_start else 0, size - min_inside + 1)
        firsts.append(np.maximum(starts, 0))
        lasts.append(np.minimum(starts + length, size))
    begin, end = np.concatenate(firsts), np.concatenate(lasts)
    scores = 2 * (total[:, end] - total[:, begin]) - (end - begin)
    best = scores.argmax(1)
    inside = (end - begin)[best]
    detected = scores[np.arange(num), best] > 0.25 * inside
    first, length = np.where(detected, begin[best], NOT_FOUND), np.where(detected, inside, 0)
    return first.astype(np.int16), length.astype(np.int16)


def to_unit(pictures: np.ndarray) -> np.ndarray:
    """Bytes or floats as float32 in [0, 1]."""
    return pictures.astype(np.float32) / 255 if pictures.dtype == np.uint8 else pictures.astype(np.float32)


def color_of(rgb: RGB, channels: int) -> np.ndarray:
    """An RGB colour as (C,) float32 in 0…1; one channel is luma, rounded as in Pillow."""
    if channels == 1:
        return np.array([luma_of(*rgb) / 255], np.float32)
    return np.array(rgb, np.float32) / 255


def _window_sums(values_NHW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Sums over every window of `size` that overlaps the frame: (N, H + rows - 1, W + columns - 1)."""
    (rows, columns), (num, height, width) = size, values_NHW.shape
    across = np.zeros((num, height, width + columns - 1), values_NHW.dtype)
    for shift in range(columns):
        across[:, :, shift : shift + width] += values_NHW
    sums = np.zeros((num, height + rows - 1, across.shape[2]), values_NHW.dtype)
    for shift in range(rows):
        sums[:, shift : shift + height] += across
    return sums
