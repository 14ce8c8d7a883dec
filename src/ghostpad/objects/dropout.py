"""Lapses: histories in whose newest frames something that moves is missing, or there twice.

A world alone that forgets its ball once has a history that no recording shows, and would never draw one
again. Shown recordings with such lapses, it learns to mend them: the codes that it is taught lead from the
frame with the lapse to the next recorded one.

Dimensions: k frames of history, C colour channels, H W frame or window.
"""

import numpy as np
from scipy import ndimage

from ghostpad.objects.detection import connected, mostly

SMALLEST, LARGEST = 8, 24
"""Pixels from the middle of a hole to its edge."""
TWICE = 0.3
"""Share of the lapses in which something is there twice instead of gone."""


def with_lapses(frames_BTCHW: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Give some histories a lapse, in place; returns which (B,), bool.

    Args:
        frames_BTCHW: uint8; the last frame of each is what follows its history, and stays.
        share: of the histories, in 0…1.
        generator: of the draws.
    """
    lapsed = generator.random(len(frames_BTCHW)) < share
    for index in lapsed.nonzero()[0]:
        _lapse(frames_BTCHW[index, :-1], generator)
    return lapsed


def _lapse(history_kCHW: np.ndarray, generator: np.random.Generator) -> None:
    """Take one thing that moves out of the newest frames, or show it twice, if anything moves.

    In a square around it those frames show what stood there most of the time (the median over the history),
    or what differs from that is there a second time, some way off.
    """
    changed = (history_kCHW[-1] != history_kCHW[-2]).any(0)
    things, num_things = connected(changed)
    if not num_things:
        return
    where = ndimage.find_objects(things)[generator.integers(num_things)]
    reach = int(generator.integers(SMALLEST, LARGEST + 1))
    middles = [(part.start + part.stop) // 2 for part in where]
    lines, columns = (slice(max(0, middle - reach), middle + reach) for middle in middles)
    num_frames = min(int(generator.geometric(0.5)), len(history_kCHW) // 2)
    still = mostly(history_kCHW[:, :, lines, columns])
    if generator.random() >= TWICE:
        history_kCHW[-num_frames:, :, lines, columns] = still
        return
    off = generator.integers(-2 * LARGEST, 2 * LARGEST + 1, 2)
    for frame in history_kCHW[-num_frames:]:
        there = np.argwhere((frame[:, lines, columns] != still).any(0))
        there += [lines.start, columns.start]
        there = there[((there + off >= 0) & (there + off < frame.shape[1:])).all(1)]
        second = there + off
        frame[:, second[:, 0], second[:, 1]] = frame[:, there[:, 0], there[:, 1]]
