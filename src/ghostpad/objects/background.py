"""What stands behind and before what moves: where nothing ever changes, and what only changes as a whole.

Both are found from all recorded frames without labels. A wall never changes: what goes there is behind it. A
brick vanishes at once, as a segment of a digit does: its pixels always change together.

Dimensions: C colour channels, H W frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects.detection import mostly, packed
from ghostpad.progress import progress
from ghostpad.workers import map_in_order

MOMENT = 8
"""Frames that are looked at together: what goes by is not in most of them."""
TOGETHER = 0.5
"""Share of the changes of either of two neighbouring pixels that both must make, to be of one part."""
WHOLE = 0.9
"""Share of a part that must change, on average, when any of it does."""
FEWEST_CHANGES = 2
"""Changes of a part below which nobody knows that it is one."""
SMALLEST, LARGEST = 4, 512
"""Pixels of a part."""
NARROWEST = 6
"""Pixels of the sides of what covers others; smaller spots are where nothing happened to go."""
MUCH = 4
"""Of a frame, one in so many pixels: where more change from moment to moment, nothing stands."""


@dataclass(frozen=True)
class Scenery:
    """What recordings tell of it.

    Attributes:
        covers: (H, W) bool, pixels that never change: what goes there is behind them.
        parts: (H, W) int32, number from 1 of the part that a pixel belongs to, whose pixels have one colour
            at any time; 0 for those that change by themselves.
        passed: (H, W) bool, pixels that change, but never for long: things only go by.
    """

    covers: np.ndarray
    parts: np.ndarray
    passed: np.ndarray


@dataclass(frozen=True)
class _Changes:
    """Of an episode.

    Attributes:
        ever: (H, W) bool, pixels that changed at any time.
        lasting: (H, W) bool, those that a moment shows otherwise than the one before.
        seen: for each moment the numbers of the pixels that it shows otherwise than the one before.
        colors: their colours then, packed.
    """

    ever: np.ndarray
    lasting: np.ndarray
    seen: list[np.ndarray]
    colors: list[np.ndarray]


def scenery_in(transitions: Transitions, gray: bool, num_workers: int = 1) -> Scenery:
    """Find the scenery of all episodes.

    Args:
        transitions: of the training episodes.
        gray: whether in gray.
        num_workers: processes.
    """
    store = transitions.store
    episodes = np.unique(transitions.episode_index).tolist()
    done = map_in_order(partial(_changes, store, gray), episodes, num_workers)
    found = list(progress(done, what="what stands", unit="episodes", total=len(episodes)))
    ever, lasting = (np.any([getattr(each, name) for each in found], axis=0) for name in ("ever", "lasting"))
    # Where nothing moves, nobody knows what it would go behind.
    covers = _opened(~ever) if ever.any() else ever
    seen = [pixels for each in found for pixels in each.seen]
    colors = [keys for each in found for keys in each.colors]
    return Scenery(covers, _parts(seen, colors, covers.shape), ever & ~lasting)


def make_whole(picture_CHW: np.ndarray, parts_HW: np.ndarray) -> None:
    """Give each part of a uint8 picture the colour that most of it has, in place."""
    where = np.flatnonzero(parts_HW)
    if not len(where):
        return
    numbers = parts_HW.ravel()[where]
    order = np.argsort(numbers, kind="stable")
    where, numbers = where[order], numbers[order]
    keys = packed(picture_CHW, 0).ravel()[where]
    starts = np.flatnonzero(np.diff(numbers, prepend=0))
    mixed = np.minimum.reduceat(keys, starts) != np.maximum.reduceat(keys, starts)
    lines, columns = np.unravel_index(where, parts_HW.shape)
    for first, last in zip(starts[mixed], np.append(starts[1:], len(where))[mixed], strict=True):
        own = slice(first, last)
        _, shown, counts = np.unique(keys[own], return_index=True, return_counts=True)
        most = first + shown[counts.argmax()]
        picture_CHW[:, lines[own], columns[own]] = picture_CHW[:, lines[most], columns[most], None]


def _opened(covers_HW: np.ndarray) -> np.ndarray:
    """The same without narrow spots; what is beyond the frame covers."""
    padded = np.pad(covers_HW, NARROWEST, constant_values=True)
    opened = ndimage.binary_opening(padded, np.ones((NARROWEST, NARROWEST)))
    return opened[NARROWEST:-NARROWEST, NARROWEST:-NARROWEST]


def _changes(store: FrameStore, gray: bool, episode: int) -> _Changes:
    num_frames = store.episodes[episode].num_frames
    ever, lasting = np.zeros((2, store.height, store.width), bool)
    seen: list[np.ndarray] = []
    colors: list[np.ndarray] = []
    before, last = None, None
    for first in range(0, num_frames, MOMENT):
        frames = store.read(episode, np.arange(first, min(first + MOMENT, num_frames)), gray)
        joined = frames if last is None else np.concatenate([last, frames])
        moved = (joined[1:] != joined[:-1]).any((0, 1))
        ever |= moved
        if len(frames) < MOMENT:
            break
        now = packed(frames[-1], 0)
        lines, columns = moved.nonzero()
        now[lines, columns] = packed(mostly(frames[:, :, lines, columns]), 0)
        if before is not None:
            lasting |= now != before
            pixels = np.flatnonzero(now != before)
            if MUCH * len(pixels) <= now.size:
                seen.append(pixels)
                colors.append(now.ravel()[pixels])
        before, last = now, frames[-1:]
    return _Changes(ever, lasting, seen, colors)


def _parts(seen: Sequence[np.ndarray], colors: Sequence[np.ndarray], size: tuple[int, ...]) -> np.ndarray:
    """Number (H, W) of the part of each pixel."""
    height, width = size
    num = height * width
    counts, beside, below = (np.zeros(num, np.int64) for _ in range(3))
    here = np.zeros(num + width, bool)
    for pixels in seen:
        here[pixels] = True
        counts[pixels] += 1
        beside[pixels] += here[pixels + 1] & ((pixels + 1) % width > 0)
        below[pixels] += here[pixels + width]
        here[pixels] = False
    padded = np.concatenate([counts, np.zeros(width, np.int64)])
    pairs = []
    for both, off in ((beside, 1), (below, width)):
        first = np.arange(num)
        either = padded[first] + padded[first + off] - both
        joined = np.flatnonzero((both >= FEWEST_CHANGES) & (both >= TOGETHER * either))
        pairs.append(np.stack([joined, joined + off]))
    first, second = np.concatenate(pairs, 1)
    graph = sparse.coo_array((np.ones(len(first), bool), (first, second)), shape=(num, num))
    _, labels = connected_components(graph, directed=False)
    areas = np.bincount(labels)
    times, shares = np.zeros((2, len(areas)))
    for pixels, keys in zip(seen, colors, strict=True):
        touched, places, sums = np.unique(labels[pixels], return_inverse=True, return_counts=True)
        # Of one colour: as much as has the commonest.
        alike = np.zeros(len(touched), np.int64)
        both, number = np.unique(places.astype(np.int64) << 32 | keys, return_counts=True)
        np.maximum.at(alike, both >> 32, number)
        times[touched] += 1
        shares[touched] += np.where(alike == sums, sums / areas[touched], 0)
    sizes = (areas >= SMALLEST) & (areas <= LARGEST)
    kept = sizes & (times >= FEWEST_CHANGES) & (shares >= WHOLE * times)
    numbers = np.where(kept, kept.cumsum(), 0)
    return numbers[labels].reshape(size).astype(np.int32)
