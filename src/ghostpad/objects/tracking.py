"""What moves in a history: things of one colour, found again from frame to frame.

What is found again at another place goes on by the same step, most of the time; what moved and is gone from
the newest frames is remembered for a while.

Dimensions: k frames of history, C colour channels, H W frame or window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ghostpad.objects.controllable import Known, located
from ghostpad.objects.detection import REMINDED, Thing, mostly, nearest, things_in
from ghostpad.objects.occlusion import behind, parted


@dataclass(frozen=True)
class Tracks:
    """What moves in a history.

    Attributes:
        newest: (C, H, W) uint8 frame.
        before: (C, H, W) uint8, the frame before that.
        still: (C, H, W) uint8, what stands where something moves most of the time, and `newest` elsewhere.
        things: that differ from it; None where nothing moves, or too much.
        changed: (H, W) bool, pixels that were not the same all the time; None where nothing moves.
        known: what is known of the game.
        corner: (2,) line and column of the frame at which a window of it begins.
        pushed: the button that will have pushed what is steered, and how far (2,) beyond an edge it will be.
        looks: what differs from `still` in each frame of the history; empty where not all was looked at.
        following: what moves in the frame that follows, see `next_things`; None where nobody looked at it.
    """

    newest: np.ndarray
    before: np.ndarray
    still: np.ndarray
    things: list[Thing] | None
    changed: np.ndarray | None = None
    known: Known = field(default_factory=Known)
    corner: np.ndarray = field(default_factory=lambda: np.zeros(2, int))
    pushed: tuple[int, np.ndarray] | None = None
    looks: Sequence[list[Thing]] = ()
    following: list[Thing] | None = None

    @property
    def steered(self) -> Thing | None:
        """The thing that is steered, if it is known and there."""
        return next((thing for thing in self.things or [] if thing.is_steered), None)

    def led_to(self, place_2: np.ndarray) -> "Tracks":
        """The same, with what is steered foreseen at a place."""
        led = [replace(thing, foreseen=place_2) if thing.is_steered else thing for thing in self.things or []]
        return replace(self, things=led)


def follow(
    history_kCHW: np.ndarray,
    known: Known | None = None,
    corner_2: np.ndarray | None = None,
    last: Tracks | None = None,
) -> Tracks:
    """Follow what moves; and what is steered, whether it moves or not.

    Args:
        history_kCHW: uint8, the newest last, k at least 2.
        known: what is known of the game.
        corner_2: line and column at which a window of the frame begins; 0 when not given.
        last: what moved in the history a frame before this, with the same known; saves time.
    """
    corner = np.zeros(2, int) if corner_2 is None else corner_2
    known = (known or Known()).window(corner, (history_kCHW.shape[2], history_kCHW.shape[3]))
    followed = replace(_follow(history_kCHW, known, last), corner=corner)
    if known.steered is None:
        return followed
    steered = located(followed.newest, followed.things or [], known.steered)
    if steered is None:
        return followed
    things = [thing for thing in followed.things or [] if thing is not steered]
    if steered.step is None:
        # It was nowhere else, or nobody knows where it was.
        moved = followed.changed is not None and bool(followed.changed[steered.box()].any())
        went = () if moved else ((0, 0),) * (len(history_kCHW) - 1)
        steered = replace(steered, step=np.zeros(2, int), went=went)
    return replace(followed, things=[*things, replace(steered, is_steered=True)])


def _follow(history_kCHW: np.ndarray, known: Known, last: Tracks | None) -> Tracks:
    newest, before = history_kCHW[-1], history_kCHW[-2]
    moved = (history_kCHW[1:] != history_kCHW[:-1]).any((0, 1))
    lines, columns = moved.nonzero()
    if not len(lines):
        return Tracks(newest, before, newest, None, None, known)
    still = newest.copy()
    still[:, lines, columns] = mostly(history_kCHW[:, :, lines, columns])
    looks: list[list[Thing]] = []
    if last is not None and np.array_equal(last.still, still):
        looks += last.looks[1:]
    for frame in history_kCHW[len(looks) :]:
        things = things_in(frame, still, known.tints)
        if things is None:
            return Tracks(newest, before, still, None, moved, known)
        looks.append(things)
    followed: list[Thing] = []
    for things, frame in zip(looks, history_kCHW, strict=True):
        followed = _followed(followed, things, frame, still, known.covers)
    return Tracks(newest, before, still, followed, moved, known, looks=looks)


def _followed(
    known: list[Thing],
    things: list[Thing],
    frame_CHW: np.ndarray,
    still_CHW: np.ndarray,
    covers_HW: np.ndarray | None,
) -> list[Thing]:
    """The things of the next frame with their steps, and those that moved and are missing from it."""
    left, found = list(known), []
    for thing in things:
        before = nearest(thing, [other for other in left if thing.looks_like(other)])
        if before is not None:
            left = [other for other in left if other is not before]
            thing = before.seen_at(thing.place)
        found.append(thing)
    left, found = parted(left, found, frame_CHW, still_CHW)
    if covers_HW is not None:
        left, found = behind(left, found, covers_HW)
    # One that has another shape now is not missing: something covers a part of it, or it is bent.
    for index, thing in enumerate(found):
        if thing.step is None:
            before = nearest(thing, [other for other in left if other.is_as_large_as(thing)])
            left = [other for other in left if other is not before]
            if before is not None and before.is_sure:
                found[index] = _bent(before, thing)
            elif before is not None and before.is_small and thing.is_small:
                moved = _bent(before, thing)
                found[index] = replace(thing, step=moved.step, has_moved=moved.has_moved)
    missing = [other for other in left if other.has_moved and other.age <= REMINDED]
    return found + [replace(other, age=other.age + 1) for other in missing]


def _bent(before: Thing, thing: Thing) -> Thing:
    """The thing of before, in the place of one that it has become; larger twice in a row, it was covered."""
    off = np.array(thing.mask.shape) - before.mask.shape
    moved = before.seen_at(thing.place + off // 2)
    grown = thing.colors.shape[1] > before.colors.shape[1]
    if grown and before.bent is not None and before.bent.looks_like(thing):
        return replace(moved, place=thing.place, mask=thing.mask, colors=thing.colors, tints=thing.tints)
    return replace(moved, bent=thing)


def next_things(followed: Tracks, next_CHW: np.ndarray) -> list[Thing] | None:
    """What moves with the frame (C, H, W) uint8 that follows; None where that is too much.

    What was known has its index in `followed.things` for a number.
    """
    things = things_in(next_CHW, followed.still, followed.known.tints)
    if things is None or (followed.things is None and followed.changed is not None):
        return None
    known = [replace(thing, number=number) for number, thing in enumerate(followed.things or [])]
    return _followed(known, things, next_CHW, followed.still, followed.known.covers)


def seen_again(things: list[Thing]) -> dict[int, Thing]:
    """Those of `next_things` that were known and are seen whole, by their numbers."""
    return {each.number: each for each in things if each.number >= 0 and each.age == 1 and each.bent is None}


def steered_next(followed: Tracks, next_CHW: np.ndarray, things: list[Thing] | None) -> Thing | None:
    """The steered thing in the frame that follows, of which these are `next_things`; None if it is not there.

    It is seen then for the first time where it did not move before.
    """
    before = followed.steered
    if before is None or followed.known.steered is None:
        return None
    again = [thing for thing in things or [] if thing.is_steered and thing.age == 1 and thing.bent is None]
    return again[0] if again else located(next_CHW, [], followed.known.steered)


def same_apart_from_steered(some: list[Tracks] | None, others: list[Tracks] | None) -> bool:
    """Whether all but what is steered is foreseen to be the same, of what moves in the same frames."""
    pairs = [
        (one, other)
        for each, same in zip(some or [], others or [], strict=True)
        for one, other in zip(each.things or [], same.things or [], strict=True)
        if not one.is_steered
    ]
    return all(
        one.hides == other.hides and np.array_equal(one.foreseen, other.foreseen)  # pyright: ignore[reportArgumentType]
        for one, other in pairs
    )


def new_among(things: list[Thing]) -> list[Thing]:
    """Those of `next_things` that come from nothing that was followed."""
    return [each for each in things if each.number < 0 and each.step is None]
