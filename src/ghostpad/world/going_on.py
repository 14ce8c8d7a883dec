"""What the next frame would be if all that moves went on as it did, or as it is foreseen to.

The oldest guess of video coding, motion compensation. Of a ball in free flight it is exactly right, and a
world needs to learn only where it is not. And the other way round: a drawn frame in which something that was
followed is bent, missing or there twice is mended.

Dimensions: C colour channels, H W frame or window.
"""

import numpy as np

from ghostpad.world.following import FARTHEST, LIKE, Followed, Thing, nearest, packed, things_in


def go_on(followed: Followed) -> np.ndarray:
    """Guess the frame (C, H, W) uint8 that follows."""
    if followed.things is None:
        return followed.newest
    guess = followed.newest.copy()
    for thing in followed.things:
        if thing.is_bent:
            (top, left), (height, width) = thing.place, thing.mask.shape
            box = slice(max(0, top - 2), top + height + 2), slice(max(0, left - 2), left + width + 2)
            guess[:, *box] = followed.still[:, *box]
        elif thing.age == 1 and thing.moves:
            erase(guess, followed.still, thing)
    # What was seen last covers what is only remembered.
    for thing in sorted(followed.things, key=lambda thing: -thing.age):
        if not thing.hides:
            draw(guess, thing, _free_place(guess, thing) if thing.foreseen is None else thing.foreseen)
    return guess


def _free_place(frame_CHW: np.ndarray, thing: Thing) -> np.ndarray:
    """Where a thing comes to, going on as it did, before anything is in its way."""
    if not thing.moves or thing.is_small:
        return thing.next_place
    assert thing.step is not None
    lines, columns = thing.mask.nonzero()
    lines, columns = lines + thing.place[0], columns + thing.place[1]
    ground = packed(frame_CHW, 0)
    under = np.bincount(np.unique(ground[lines, columns], return_inverse=True)[1]).argmax()
    free = np.unique(ground[lines, columns])[under]
    far = thing.age * int(np.abs(thing.step).max())
    for gone in range(far, 0, -1):
        down, right = np.round(thing.step * thing.age * gone / far).astype(int)
        ahead, aside = lines + down, columns + right
        if min(ahead.min(), aside.min()) < 0 or ahead.max() >= len(ground) or aside.max() >= ground.shape[1]:
            continue
        if (ground[ahead, aside] == free).all():
            return thing.place + np.array([down, right])
    return thing.place


def mended(followed: Followed, drawn_CHW: np.ndarray) -> np.ndarray:
    """The drawn next frame, with what was followed as it was.

    A small thing of which it is foreseen is there, once; what looks like it or like a part of it, and may
    come from it, is taken away. A larger one that lost or gained a few pixels gets its shape back.

    Returns:
        (C, H, W) uint8; `drawn_CHW` itself where nothing is to be mended.
    """
    known = [thing for thing in followed.things or [] if thing.is_known]
    things = things_in(drawn_CHW, followed.still) if known else None
    if things is None:
        return drawn_CHW
    picture = drawn_CHW.copy()
    hidden = [thing for thing in known if thing.hides]
    for thing in known:
        if not thing.is_small and not any(other.looks_like(thing) for other in things):
            near = [other for other in things if other.is_nearly(thing) and _in_reach(other, thing)]
            bent = nearest(thing, near)
            # What hides may be one with it now.
            if bent is not None and not any(_in_reach(bent, other) for other in hidden):
                erase(picture, followed.still, bent)
                draw(picture, thing, _fitted(thing, bent))
    sure = [thing for thing in known if thing.foreseen is not None and not thing.hides]
    due = {tuple(thing.foreseen) for thing in sure if thing.foreseen is not None}
    for thing in sure:
        for other in things:
            wrong = _is_part(other, thing, followed)
            wrong |= other.looks_like(thing) and tuple(other.place) not in due
            if wrong and _in_reach(other, thing):
                erase(picture, followed.still, other)
    for thing in sure:
        assert thing.foreseen is not None
        draw(picture, thing, thing.foreseen)
    return picture if (picture != drawn_CHW).any() else drawn_CHW


def _in_reach(other: Thing, thing: Thing) -> bool:
    return int(np.abs(other.place - thing.place).max()) <= FARTHEST * thing.age


def _fitted(thing: Thing, bent: Thing) -> np.ndarray:
    """Where a thing covers most of what it has become; among equals nearest to where it was to be."""
    slack = np.array(bent.mask.shape) - thing.mask.shape
    best, best_place = (-1, 0), bent.place
    reach = np.abs(slack) + 1
    for down in range(-reach[0], reach[0] + 1):
        for right in range(-reach[1], reach[1] + 1):
            lines, columns = thing.mask.nonzero()
            lines, columns = lines + down, columns + right
            height, width = bent.mask.shape
            inside = (lines >= 0) & (lines < height) & (columns >= 0) & (columns < width)
            covered = int(bent.mask[lines[inside], columns[inside]].sum())
            place = bent.place + np.array([down, right])
            fit = (covered, -int(np.abs(place - thing.next_place).max()))
            if fit > best:
                best, best_place = fit, place
    return best_place


def _is_part(other: Thing, thing: Thing, followed: Followed) -> bool:
    """Whether another may be what is left of a thing, or what it has become."""
    if other.looks_like(thing) or other.colors.shape[1] > 2 * thing.colors.shape[1]:
        return False
    if np.abs(other.colors.mean(1) - thing.colors.mean(1)).max() > LIKE:
        return False
    return not any(
        known.looks_like(other) and np.abs(known.place - other.place).max() < 2
        for known in followed.things or []
    )


def erase(frame_CHW: np.ndarray, still_CHW: np.ndarray, thing: Thing) -> None:
    """Show what stands there most of the time, and if that is the thing itself, what is around it."""
    (top, left), (height, width) = thing.place, thing.mask.shape
    box = slice(top, top + height), slice(left, left + width)
    under_Cn = still_CHW[:, *box][:, thing.mask]
    own = (under_Cn == thing.colors).all(0)
    if own.any():
        sides = slice(max(0, top - 1), top + height + 1), slice(max(0, left - 1), left + width + 1)
        ring = np.ones(frame_CHW[0, *sides].shape, bool)
        ring[min(top, 1) : min(top, 1) + height, min(left, 1) : min(left, 1) + width] = ~thing.mask
        found, counts = np.unique(frame_CHW[:, *sides][:, ring], axis=1, return_counts=True)
        under_Cn = np.where(own, found[:, [counts.argmax()]], under_Cn)
    frame_CHW[:, *box][:, thing.mask] = under_Cn


def draw(frame_CHW: np.ndarray, thing: Thing, place: np.ndarray) -> None:
    """Draw a thing at a place, as far as that is in the frame."""
    lines, columns = thing.mask.nonzero()
    lines, columns = lines + place[0], columns + place[1]
    height, width = frame_CHW.shape[1:]
    inside = (lines >= 0) & (lines < height) & (columns >= 0) & (columns < width)
    frame_CHW[:, lines[inside], columns[inside]] = thing.colors[:, inside]
