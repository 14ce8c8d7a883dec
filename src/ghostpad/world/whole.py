"""The thing that is steered is there once, and whole; and what comes by a button comes.

Codes of neighbouring cells say together where it is. Where they do not quite agree it is drawn in pieces, and
the pieces would stay. Its looks are known, so it is drawn where they fit best what was drawn, and the ground
around it is as it was.

Dimensions: C colour channels, H W frame or window.
"""

from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from ghostpad.world.following import Followed
from ghostpad.world.going_on import bare, draw, erase
from ghostpad.world.things import FARTHEST, LIKE, Thing, connected, pixels, thing_at, things_in
from ghostpad.world.touching import MOST_TIMES

SAME = 0.5
"""What a pixel of its colour counts where the ground has that colour too, or it stood there already."""
ENOUGH = 0.25
"""Share of its pixels that must be drawn, counted so, or it is not there."""
LEAST_OUTLINE = 0.5
"""Share of its outline that must be seen."""
NEAR = 4
"""Pixels around where it was and is, and between, in which the ground is as it was."""


def made_whole(
    followed: Followed,
    drawn_CHW: np.ndarray,
    looks: Thing,
    coming: Thing | None = None,
    usual: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """The drawn next frame with the steered thing as a whole; `drawn_CHW` itself where it is so.

    Args:
        followed: what moves in the frames before.
        drawn_CHW: uint8.
        looks: of the steered thing, wherever it is.
        coming: what may come in its colour far from it; all that is not large, if nobody knows.
        usual: what recordings mostly show (C, H, W), and where most of them do (H, W), bool.
    """
    thing = _found(followed, looks)
    if thing is None:
        return drawn_CHW
    size = np.array(thing.mask.shape)
    first = np.maximum(thing.place - FARTHEST, 0)
    last = np.minimum(thing.place + size + FARTHEST, [drawn_CHW.shape[1], drawn_CHW.shape[2]])
    box = slice(first[0], last[0]), slice(first[1], last[1])
    before = bare(followed)
    ground = before.copy()
    erase(ground, followed, thing)
    known = np.ones(ground.shape[1:], bool)
    if thing.stood[thing.mask].all():
        # Where it rests nobody sees what is under it: what is there usually, or what is drawn.
        lines, columns, _ = pixels(thing, thing.place, known.shape)
        known[lines, columns] = False
        if usual is not None:
            picture, sure = usual
            known[lines, columns] = sure[lines, columns]
            ground[:, lines, columns] = picture[:, lines, columns]
    whole = drawn_CHW.copy()
    own = np.abs(drawn_CHW.astype(np.int16) - thing.colors[:, :1, None]).max(0) <= LIKE
    far = own & (drawn_CHW != before).any(0)
    far[box] = False
    labels, _ = connected(far)
    for number, where in enumerate(ndimage.find_objects(labels), 1):
        other = thing_at(drawn_CHW, where, labels[where] == number)
        if not (other.is_small if coming is None else other.looks_like(coming)):
            lines, columns, _ = pixels(other, other.place, far.shape)
            whole[:, lines, columns] = before[:, lines, columns]
    scraps = own & (drawn_CHW != ground).any(0) & known
    place = _best_place(thing, np.where(scraps[box], 1.0, SAME * own[box]), first)
    if place is not None:
        near = np.zeros_like(own)
        near[box] = scraps[box]
        both = np.stack([thing.place, place])
        (top, left), (bottom, right) = np.maximum(both.min(0) - NEAR, 0), both.max(0) + size + NEAR
        near[top:bottom, left:right] = known[top:bottom, left:right]
        whole[:, near] = ground[:, near]
        draw(whole, thing, place)
    return whole if (whole != drawn_CHW).any() else drawn_CHW


def _best_place(thing: Thing, worth_hw: np.ndarray, first_2: np.ndarray) -> np.ndarray | None:
    """Where a thing covers most in a part of the frame that begins at `first_2`; None if that is little."""
    fit = np.einsum("abhw,hw->ab", sliding_window_view(worth_hw, thing.mask.shape), thing.mask)
    if fit.max() < ENOUGH * thing.colors.shape[1]:
        return None
    places = np.argwhere(fit >= fit.max() - 1e-6) + first_2
    return places[np.abs(places - thing.next_place).max(1).argmin()]


def with_coming(followed: Followed, drawn_CHW: np.ndarray, coming: Thing) -> np.ndarray:
    """The drawn next frame with what comes by a button, where it mostly comes, if nothing small is there."""
    if any(thing.is_small and thing.has_moved for thing in followed.things or []):
        return drawn_CHW
    new = things_in(drawn_CHW, followed.newest)
    if new is None or any(thing.looks_like(coming) for thing in new):
        return drawn_CHW
    picture = drawn_CHW.copy()
    draw(picture, coming, coming.place)
    return picture


def _found(followed: Followed, looks: Thing) -> Thing | None:
    """The steered thing where it is in the newest frame, whether it moved or not.

    Where it is one with a wall of its colour, it is where most of its outline is seen.
    """
    for thing in followed.things or []:
        if thing.age == 1 and thing.bent is None and thing.looks_like(looks):
            return thing
    newest = followed.newest
    own = np.abs(newest.astype(np.int16) - looks.colors[:, :1, None]).max(0) <= LIKE
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
