"""Pictures without the small things that are followed, with them, and with all else that moves going on.

What the codes need not speak of is taken out of both pictures of a transition, and put into the drawn one
where it is foreseen. Of the rest, the paddle say, the guess is that it goes on as it did: the oldest of video
coding, motion compensation. And the other way round: a drawn frame in which something that was followed is
bent, or there a second time, is mended.

Dimensions: C colour channels, H W frame or window.
"""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from ghostpad.objects.background import make_whole
from ghostpad.objects.detection import FARTHEST, Thing, nearest, packed, pixels, things_in
from ghostpad.objects.occlusion import fitted
from ghostpad.objects.tracking import Tracks, next_things, seen_again, steered_next

MARGIN = 2
"""Pixels around a thing's shape in which it may be seen bent."""


def bare(followed: Tracks) -> np.ndarray:
    """The newest frame (C, H, W) uint8 without the things of which it is foreseen where they go."""
    if not any(thing.is_apart for thing in followed.things or []):
        return followed.newest
    picture = followed.newest.copy()
    if followed.steered is not None:
        _clear(picture, followed, followed.steered)
    for thing in followed.things or []:
        if thing.is_apart and not thing.is_steered:
            _take_out(picture, followed, thing)
    return picture


def bare_next(followed: Tracks, next_CHW: np.ndarray) -> np.ndarray:
    """The frame (C, H, W) uint8 that follows without the same things, as far as they are seen in it."""
    if not any(thing.is_apart for thing in followed.things or []):
        return next_CHW
    picture, following = next_CHW.copy(), followed.following
    if following is None:
        following = next_things(followed, next_CHW) or []
    steered = steered_next(followed, next_CHW, following)
    if steered is not None:
        _clear(picture, followed, steered)
    for number, seen in seen_again(following).items():
        thing = (followed.things or [])[number]
        if thing.is_apart and not thing.is_steered:
            erase(picture, followed, seen)
    return picture


def due(followed: Tracks) -> np.ndarray:
    """Pixels (H, W) bool that will show things of which that is foreseen, whatever button is held."""
    shown = np.zeros(followed.newest.shape[1:], bool)
    for thing in followed.things or []:
        if thing.is_due and not thing.is_steered:
            assert thing.foreseen is not None
            lines, columns, _ = pixels(thing, thing.foreseen, shown.shape)
            shown[lines, columns] = True
    return shown


def with_due(followed: Tracks, picture_CHW: np.ndarray) -> np.ndarray:
    """A picture (C, H, W) uint8 with them; itself where there are none."""
    expected = [thing for thing in followed.things or [] if thing.is_due]
    if not expected:
        return picture_CHW
    picture_CHW = picture_CHW.copy()
    for thing in expected:
        assert thing.foreseen is not None
        draw(picture_CHW, thing, thing.foreseen, followed.known.covers)
    return picture_CHW


def go_on(followed: Tracks, ground_CHW: np.ndarray | None = None) -> np.ndarray:
    """Guess the frame (C, H, W) uint8 that follows, without the things that are taken out.

    Args:
        followed: what moves.
        ground_CHW: what is `bare`, if that was looked at already.
    """
    guess = bare(followed) if ground_CHW is None else ground_CHW
    others = [thing for thing in followed.things or [] if not thing.is_apart]
    if not others:
        return guess
    guess = guess.copy()
    for thing in others:
        if thing.bent is not None or thing.moves:
            _take_out(guess, followed, thing)
    # What was seen last covers what is only remembered.
    for thing in sorted(others, key=lambda thing: -thing.age):
        draw(guess, thing, _free_place(guess, thing), followed.known.covers)
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


def mended(followed: Tracks, drawn_CHW: np.ndarray) -> np.ndarray:
    """The drawn next frame without the things that are taken out, and with larger ones as they were.

    What never changes stays, and what only changes as a whole does so. What looks like one that is taken out
    or like a part of it, and may come from it, goes. A larger one that lost or gained a few pixels gets its
    shape back.

    Returns:
        (C, H, W) uint8; `drawn_CHW` itself where nothing is to be mended.
    """
    picture = drawn_CHW.copy()
    _settle(picture, followed)
    known = [thing for thing in followed.things or [] if thing.is_known and not thing.is_steered]
    things = things_in(picture, followed.still, followed.known.tints) if known else None
    if things is not None:
        _mend(picture, followed, known, things)
    if followed.known.parts is not None:
        make_whole(picture, _parts_alone(followed, followed.known.parts))
    return picture if (picture != drawn_CHW).any() else drawn_CHW


def _settle(picture: np.ndarray, followed: Tracks) -> None:
    """Show what is usual where it always is, but for what looks like a thing that may come, in place."""
    usual, stays = followed.known.usual, followed.known.stays
    if usual is None or stays is None:
        return
    wrong = stays & (picture != usual).any(0)
    if wrong.any() and followed.known.tints is not None:
        for thing in things_in(picture, usual, followed.known.tints) or []:
            if thing.tints is not None:
                lines, columns, _ = pixels(thing, thing.place, wrong.shape)
                wrong[lines, columns] = False
    picture[:, wrong] = usual[:, wrong]


def _parts_alone(followed: Tracks, parts_HW: np.ndarray) -> np.ndarray:
    """The same parts without those that something covers or will cover that moves and is not taken out."""
    shared: set[int] = set()
    for thing in followed.things or []:
        if thing.moves and not thing.is_apart:
            for place in (thing.place, thing.next_place):
                lines, columns, _ = pixels(thing, place, parts_HW.shape)
                shared.update(np.unique(parts_HW[lines, columns]).tolist())
    return np.where(np.isin(parts_HW, list(shared)), 0, parts_HW) if shared - {0} else parts_HW


def _mend(picture: np.ndarray, followed: Tracks, known: list[Thing], things: list[Thing]) -> None:
    """Give what is known its shape back, and erase what may be one that is taken out, in place."""
    hidden = [thing for thing in known if thing.hides]
    for thing in known:
        if not thing.is_small and not any(other.looks_like(thing) for other in things):
            near = [other for other in things if other.is_nearly(thing) and _in_reach(other, thing)]
            bent = nearest(thing, near)
            # What hides may be one with it now.
            if bent is not None and not any(_in_reach(bent, other) for other in hidden):
                place = fitted(thing, bent, bent.mask)
                if not _touches_what_stands(thing, place, bent, followed):
                    erase(picture, followed, bent)
                    draw(picture, thing, place, followed.known.covers)
    for thing in known:
        if thing.is_due:
            for other in things:
                if _in_reach(other, thing) and (other.looks_like(thing) or _is_part(other, thing, followed)):
                    erase(picture, followed, other)


def _touches_what_stands(thing: Thing, place_2: np.ndarray, bent: Thing, followed: Tracks) -> bool:
    """Whether what it has become is the thing as it was and, beside it, what stands there all the time."""
    stands = followed.still[:, *bent.box()][:, bent.mask] == bent.colors
    explained = np.zeros_like(bent.mask)
    explained[bent.mask] = stands.all(0)
    lines, columns, inside = pixels(thing, place_2 - bent.place, bent.mask.shape)
    seen = bool(inside.all()) and bool(bent.mask[lines, columns].all())
    explained[lines, columns] = True
    return seen and bool(explained[bent.mask].all())


def _in_reach(other: Thing, thing: Thing) -> bool:
    return int(np.abs(other.place - thing.place).max()) <= FARTHEST * thing.age


def _is_part(other: Thing, thing: Thing, followed: Tracks) -> bool:
    """Whether another may be what is left of a thing, or what it has become."""
    if other.looks_like(thing) or other.colors.shape[1] > 2 * thing.colors.shape[1]:
        return False
    if not other.has_color_of(thing):
        return False
    return not any(
        known.looks_like(other) and np.abs(known.place - other.place).max() < 2
        for known in followed.things or []
    )


def _take_out(picture_CHW: np.ndarray, followed: Tracks, thing: Thing) -> None:
    """Erase a thing where it is in the newest frame, if it is there."""
    if thing.bent is not None:
        box = thing.box(MARGIN + 1)
        part, still = picture_CHW[:, *box], followed.still[:, *box]
        looks, counts = np.unique(part.reshape(len(part), -1), axis=1, return_counts=True)
        ground = looks[:, counts.argmax(), None, None]
        under = (part != still).any(0) & (part != ground).any(0)
        under[[0, -1]] = under[:, [0, -1]] = False
        _uncover(part, still, under, under)
    elif thing.age == 1:
        erase(picture_CHW, followed, thing)


def _clear(frame_CHW: np.ndarray, followed: Tracks, thing: Thing) -> None:
    """Erase the steered thing; where it stood all the time is what is usually there."""
    erase(frame_CHW, followed, thing)
    known = followed.known
    if known.usual is None or known.is_usual is None:
        return
    rested = replace(thing, mask=thing.mask & thing.stood)
    lines, columns, _ = pixels(rested, thing.place, frame_CHW.shape[1:])
    usual = known.is_usual[lines, columns]
    lines, columns = lines[usual], columns[usual]
    frame_CHW[:, lines, columns] = known.usual[:, lines, columns]


def erase(frame_CHW: np.ndarray, followed: Tracks, thing: Thing) -> None:
    """Show what is under a thing."""
    box, (height, width) = thing.box(1), thing.mask.shape
    under = np.zeros(frame_CHW[0, *box].shape, bool)
    top, left = thing.place[0] - box[0].start, thing.place[1] - box[1].start
    inside = slice(top, top + height), slice(left, left + width)
    under[inside] = thing.mask
    if followed.known.covers is not None:
        # Where it is seen nevertheless, as no recording showed it there, it goes.
        stands = (frame_CHW[:, *box] == followed.still[:, *box]).all(0)
        under &= ~(followed.known.covers[box] & stands)
        if not under.any():
            return
    # What had another colour once is not of this one by itself; nor need it be where the thing was always.
    itself = np.zeros_like(under) if followed.changed is None else followed.changed[box].copy()
    itself[inside] |= thing.stood
    _uncover(frame_CHW[:, *box], followed.still[:, *box], under, itself)


def _uncover(
    frame_Chw: np.ndarray, still_Chw: np.ndarray, under_hw: np.ndarray, itself_hw: np.ndarray
) -> None:
    """Show what is under some pixels, in place.

    That is what stands there most of the time, where that is seen beside it too; where what is beside it has
    changed (a brick is gone), it is the same as beside. Where they may stand there themselves (`itself_hw`),
    it is the same as what is beside them and looks otherwise.
    """
    like = (frame_Chw[:, None] == np.unique(frame_Chw[:, under_hw], axis=1)[:, :, None, None]).all(0).any(0)
    own = (still_Chw == frame_Chw).all(0) & under_hw & itself_hw
    for part, hidden in ((under_hw & ~own, under_hw), (own, under_hw | like)):
        if hidden.all() or not part.any():
            continue
        # Lines count as farther apart than columns, since pictures of games change less along lines.
        beside = ndimage.distance_transform_edt(
            hidden, sampling=(1.01, 1), return_distances=False, return_indices=True
        )
        assert isinstance(beside, np.ndarray)
        lines, columns = beside[:, part]
        seen, stands = frame_Chw[:, lines, columns], still_Chw[:, part]
        holds = (seen == still_Chw[:, lines, columns]).all(0) & ~own[part]
        frame_Chw[:, part] = np.where(holds, stands, seen)


def draw(
    frame_CHW: np.ndarray, thing: Thing, place_2: np.ndarray, covers_HW: np.ndarray | None = None
) -> None:
    """Draw a thing at a place, as far as that is in the frame.

    What is before it there (`covers_HW`) is not drawn over, unless that would hide it wholly: recordings may
    never have shown it where it goes.
    """
    lines, columns, inside = pixels(thing, place_2, frame_CHW.shape[1:])
    colors = thing.colors_at(place_2)[:, inside]
    if covers_HW is not None:
        seen = ~covers_HW[lines, columns]
        if seen.any():
            lines, columns, colors = lines[seen], columns[seen], colors[:, seen]
    frame_CHW[:, lines, columns] = colors
