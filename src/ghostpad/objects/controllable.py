"""The thing that is steered: found wherever it is, moving or not, and what is under it.

Dimensions: C colour channels, H W frame or window.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from ghostpad.objects.detection import Thing, Tints, connected
from ghostpad.objects.occlusion import MOST_TIMES

LEAST_OUTLINE = 0.5
"""Share of its outline that must be seen."""


@dataclass(frozen=True)
class Known:
    """What recordings have told of the things in a game.

    Attributes:
        tints: the colours of small things on each line; None where they keep their own.
        steered: a thing that looks like the one that is steered; None if nobody knows one.
        usual: (C, H, W) uint8, what recordings mostly show; None if nobody looked.
        is_usual: (H, W) bool, where most of them do.
        stays: (H, W) bool, where all but the things that are followed are always as usual, see `stays_in`.
        covers, parts: see `Scenery`; None if nobody looked.
    """

    tints: Tints | None = None
    steered: Thing | None = None
    usual: np.ndarray | None = None
    is_usual: np.ndarray | None = None
    stays: np.ndarray | None = None
    covers: np.ndarray | None = None
    parts: np.ndarray | None = None

    def window(self, corner_2: np.ndarray, size: tuple[int, int]) -> "Known":
        """The same in a window of a frame that begins at line and column `corner_2`."""
        (top, left), (height, width) = corner_2.tolist(), size
        if (top, left) == (0, 0) and self.usual is not None and self.usual.shape[1:] == size:
            return self
        tints = None if self.tints is None else self.tints.below(top, height)
        cut = {}
        for name in ("usual", "is_usual", "stays", "covers", "parts"):
            whole = getattr(self, name)
            if whole is not None:
                part = whole[..., top : top + height, left : left + width]
                lacking = [(0, height - part.shape[-2]), (0, width - part.shape[-1])]
                cut[name] = np.pad(part, [(0, 0)] * (part.ndim - 2) + lacking)
        return replace(self, tints=tints, **cut)


def located(frame_CHW: np.ndarray, things: list[Thing], looks: Thing) -> Thing | None:
    """The steered thing in a frame, one of these things or where it rests; None if it is nowhere.

    Where it is one with a wall of its colour, it is where most of its outline is seen.
    """
    for thing in things:
        if thing.age == 1 and thing.bent is None and thing.looks_like(looks):
            return thing
    own = looks.shown_in(frame_CHW, 0)
    mask = np.pad(looks.mask, 1)
    outline = ndimage.binary_dilation(mask) & ~mask
    labels, _ = connected(own)
    best, best_place = LEAST_OUTLINE * np.count_nonzero(outline), None
    for number, where in enumerate(ndimage.find_objects(labels), 1):
        part = np.pad(labels[where] == number, 1)
        too_small = any(has < needs for has, needs in zip(part.shape, mask.shape, strict=True))
        if too_small or np.count_nonzero(part) > MOST_TIMES * looks.colors.shape[1]:
            continue
        shown = sliding_window_view(part, mask.shape)
        open_sides = np.where((shown | ~mask).all((2, 3)), (~shown & outline).sum((2, 3)), 0)
        if open_sides.max() > best:
            best = open_sides.max()
            off = np.unravel_index(open_sides.argmax(), open_sides.shape)
            best_place = np.array([where[0].start + off[0], where[1].start + off[1]])
    return None if best_place is None else replace(looks, place=best_place)
