"""Things that touch what has their colour: one with it for who sees connected pixels, told apart here.

Dimensions: C colour channels, H W frame or window.
"""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from ghostpad.objects.detection import FARTHEST, MISSED, Thing, connected, nearest, pixels

NEAR = 16
"""Pixels from where it was to be in which a thing that touches another is looked for."""
MOST_TIMES = 2
"""How many times as large as a thing the whole may be in which it is looked for."""
FEWEST_SEEN = 2
"""Pixels of it that must be seen beside the other."""


def parted(
    left: list[Thing], found: list[Thing], frame_CHW: np.ndarray, still_CHW: np.ndarray
) -> tuple[list[Thing], list[Thing]]:
    """Things that are still missing, and those found, when what touches its own colour is told apart.

    A ball on the paddle is one with it; the paddle, whose shape is known, is seen in that, and the ball in
    what is left. So is the paddle where it touches a wall of its colour.
    """
    for thing in [other for other in left if other.is_known and not other.is_small]:
        both = nearest(thing, [o for o in found if o.step is None and _may_hold(o, thing)])
        if both is None:
            continue
        box = both.box()
        changed = both.mask & (frame_CHW[:, *box] != still_CHW[:, *box]).any(0)
        place = fitted(thing, both, changed)
        rest = np.count_nonzero(changed) - _covered(changed, place - both.place, thing)
        if _covered(both.mask, place - both.place, thing) == thing.colors.shape[1] and rest <= MISSED:
            left = [other for other in left if other is not thing]
            found = [other for other in found if other is not both] + [thing.seen_at(place)]
    for thing in [other for other in left if other.is_sure]:
        seen_at = place_in_touch(thing, found, frame_CHW, still_CHW)
        if seen_at is not None:
            left = [other for other in left if other is not thing]
            seen = thing.seen_at(seen_at)
            # What was seen of it alone is it.
            found = [other for other in found if other.step is not None or not seen.covers(other)] + [seen]
    return left, found


def behind(left: list[Thing], found: list[Thing], covers_HW: np.ndarray) -> tuple[list[Thing], list[Thing]]:
    """The same, when what is partly behind something that covers it is known by what is seen of it."""
    for thing in [other for other in left if other.is_sure]:
        pieces = [other for other in found if other.step is None and other.has_color_of(thing)]
        places = [(piece, place) for piece in pieces for place in _places_behind(thing, piece, covers_HW)]
        near = [pair for pair in places if np.abs(pair[1] - thing.place).max() <= FARTHEST * thing.age]
        if near:
            piece, place = min(near, key=lambda pair: int(np.abs(pair[1] - thing.next_place).max()))
            left = [other for other in left if other is not thing]
            found = [other for other in found if other is not piece] + [thing.seen_at(place)]
    return left, found


def _places_behind(thing: Thing, piece: Thing, covers_HW: np.ndarray) -> Iterator[np.ndarray]:
    """Where a thing may be of which only a piece is seen, as all else of it is covered."""
    slack = np.array(thing.mask.shape) - piece.mask.shape
    if piece.colors.shape[1] >= thing.colors.shape[1] or (slack < 0).any():
        return
    for off in np.ndindex(*(slack + 1)):
        here = tuple(slice(first, first + side) for first, side in zip(off, piece.mask.shape, strict=True))
        rest = thing.mask.copy()
        rest[here] &= ~piece.mask
        if thing.mask[here][piece.mask].all():
            lines, columns = rest.nonzero()
            place = piece.place - off
            lines, columns = lines + place[0], columns + place[1]
            inside = (place >= 0).all() and (place + thing.mask.shape <= covers_HW.shape).all()
            if inside and covers_HW[lines, columns].all():
                yield place


def _may_hold(both: Thing, thing: Thing) -> bool:
    larger = thing.colors.shape[1] < both.colors.shape[1] <= MOST_TIMES * thing.colors.shape[1]
    return larger and both.has_color_of(thing)


def fitted(thing: Thing, bent: Thing, counted_hw: np.ndarray) -> np.ndarray:
    """Where a thing covers most of what it has become.

    Among equals: where it covers most of `counted_hw`, and then nearest to where it was to be.
    """
    slack = np.array(bent.mask.shape) - thing.mask.shape
    best, best_off = (-1, 0, 0), slack
    reach = np.abs(slack) + 1
    for down in range(-reach[0], reach[0] + 1):
        for right in range(-reach[1], reach[1] + 1):
            off = np.array([down, right])
            covered, counted = (_covered(mask, off, thing) for mask in (bent.mask, counted_hw))
            fit = (covered, counted, -int(np.abs(bent.place + off - thing.next_place).max()))
            if fit > best:
                best, best_off = fit, off
    return bent.place + best_off


def _covered(mask_hw: np.ndarray, off_2: np.ndarray, thing: Thing) -> int:
    """How many pixels of a mask a thing covers at a place in it."""
    lines, columns, _ = pixels(thing, off_2, mask_hw.shape)
    return int(mask_hw[lines, columns].sum())


def place_in_touch(
    thing: Thing, found: list[Thing], frame_CHW: np.ndarray, still_CHW: np.ndarray
) -> np.ndarray | None:
    """Where a missing thing is, if it touches what has its colour; None if it is nowhere.

    Pixels of its colour that neither what stands there nor what was found explains must be covered.
    """
    size, reach = np.array(thing.mask.shape), min(FARTHEST * thing.age, NEAR)
    first = np.maximum(thing.next_place - reach, 0)
    last = np.minimum(thing.next_place + size + reach, frame_CHW.shape[1:])
    if (last - first < size).any():
        return None
    box = slice(first[0], last[0]), slice(first[1], last[1])
    part = frame_CHW[:, *box]
    own = thing.shown_in(part, int(first[0]))
    open_ = own & (part != still_CHW[:, *box]).any(0)
    for other in found:
        if other.step is not None:
            lines, columns, _ = pixels(other, other.place - first, own.shape)
            open_[lines, columns] = False
    labels, _ = connected(open_)
    best, best_place = (FEWEST_SEEN - 1, 0), None
    for number, where in enumerate(ndimage.find_objects(labels), 1):
        lines, columns = (labels == number).nonzero()
        if any(side.stop - side.start > most for side, most in zip(where, size, strict=True)):
            continue
        for down in range(max(0, where[0].stop - size[0]), min(where[0].start, len(own) - size[0]) + 1):
            for right in range(
                max(0, where[1].stop - size[1]), min(where[1].start, own.shape[1] - size[1]) + 1
            ):
                here = slice(down, down + size[0]), slice(right, right + size[1])
                if not thing.mask[lines - down, columns - right].all() or not own[here][thing.mask].all():
                    continue
                place = first + np.array([down, right])
                fit = (len(lines), -int(np.abs(place - thing.next_place).max()))
                if fit > best:
                    best, best_place = fit, place
    return best_place
