"""What the next frame would be if all that moves went on as it did.

The oldest guess of video coding, motion compensation: what is found again at another place goes on by the
same step. Of a ball in free flight it is exactly right, and a world needs to learn only where it is not. What
moved and is gone from the newest frames goes on too, so that a world that forgot it is reminded.

Dimensions: k frames of history, C colour channels, H W frame or window.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

MOST_THINGS = 32
"""Things in one frame, above which all is noise and nothing is guessed."""
FARTHEST = 24
"""Pixels that a thing goes between two frames, at most, along each axis."""
LIKE = 16
"""Largest difference of brightness, of 255, between two looks at the same thing."""
REMINDED = 3
"""Newest frames from which a thing may be missing and go on nevertheless, at most."""
SURE_TIMES = 2
"""Looks at a thing after which it is missed when it is gone."""
MISSED = 24
"""Pixels of a thing that is missed, at most: a larger one may stand half where it mostly does, and then only
a part of it differs."""
EIGHT_NEIGHBOURS = np.ones((3, 3))


@dataclass(frozen=True)
class Thing:
    """Connected pixels that differ from what stands there most of the time.

    Attributes:
        place: (2,) line and column of the upper left of its bounding box.
        mask: (h, w) bool.
        colors: (C, n) int16, of the pixels of the mask.
        step: (2,) pixels that it goes in a frame; None while it was seen only once.
        age: frames since it was seen, 1 for one in the newest frame.
        times: that it was seen with these looks.
        is_bent: whether it has other looks in the newest frame; those that it had are kept.
    """

    place: np.ndarray
    mask: np.ndarray
    colors: np.ndarray
    step: np.ndarray | None = None
    age: int = 1
    times: int = 1
    is_bent: bool = False

    @property
    def next_place(self) -> np.ndarray:
        """Where it would be in the next frame."""
        return self.place if self.step is None else self.place + self.step * self.age

    @property
    def is_sure(self) -> bool:
        """Whether it would be missed: it is small, moves, and has kept its looks."""
        moves = self.step is not None and bool(self.step.any())
        return moves and self.times >= SURE_TIMES and self.colors.shape[1] <= MISSED

    def seen_at(self, place: np.ndarray) -> "Thing":
        """The same, seen again."""
        step = np.round((place - self.place) / self.age).astype(int)
        return replace(self, place=place, step=step, age=1, times=self.times + 1, is_bent=False)

    def looks_like(self, other: "Thing") -> bool:
        """Whether the two may be one thing."""
        same = self.mask.shape == other.mask.shape and bool((self.mask == other.mask).all())
        return same and int(np.abs(self.colors - other.colors).max()) <= LIKE

    def is_as_large_as(self, other: "Thing") -> bool:
        """Whether the two differ in size at most twofold."""
        sizes = self.colors.shape[1], other.colors.shape[1]
        return max(sizes) <= 2 * min(sizes)


@dataclass(frozen=True)
class Followed:
    """What moves in a history.

    Attributes:
        newest: (C, H, W) uint8 frame.
        still: (C, H, W) uint8, what stands where something moves most of the time, and `newest` elsewhere.
        things: that differ from it; None where nothing moves, or too much.
    """

    newest: np.ndarray
    still: np.ndarray
    things: list[Thing] | None


def follow(history_kCHW: np.ndarray) -> Followed:
    """Follow what moves.

    Args:
        history_kCHW: uint8, the newest last, k at least 2.
    """
    newest = history_kCHW[-1]
    moved = (history_kCHW[1:] != history_kCHW[:-1]).any((0, 1))
    lines, columns = moved.nonzero()
    if not len(lines):
        return Followed(newest, newest, None)
    still = newest.copy()
    still[:, lines, columns] = mostly(history_kCHW[:, :, lines, columns])
    known: list[Thing] = []
    for frame in history_kCHW:
        things = _things(frame, still)
        if things is None:
            return Followed(newest, still, None)
        known = _followed(known, things)
    return Followed(newest, still, known)


def mostly(looks_k: np.ndarray) -> np.ndarray:
    """What is seen most of the time: the median over the first axis, of an even number the upper one."""
    return np.sort(looks_k, 0)[len(looks_k) // 2]


def go_on(followed: Followed) -> np.ndarray:
    """Guess the frame (C, H, W) uint8 that follows."""
    if followed.things is None:
        return followed.newest
    guess = followed.still.copy()
    # What was seen last covers what is only remembered.
    for thing in sorted(followed.things, key=lambda thing: -thing.age):
        _draw(guess, thing)
    return guess


def faults(followed: Followed, next_frame_CHW: np.ndarray) -> int:
    """How many small things that moved and kept their looks are missing, bent or there twice.

    Args:
        followed: up to the current frame.
        next_frame_CHW: (C, H, W) uint8.
    """
    sure = [thing for thing in followed.things or [] if thing.is_sure]
    things = _things(next_frame_CHW, followed.still) if sure else None
    if followed.things is None or things is None:
        return 0
    found = _followed(followed.things, things)
    new = [thing for thing in found if thing.times == 1]
    missing = sum((thing.age > 1 and thing.is_sure) or thing.is_bent for thing in found)
    return missing + sum(any(thing.looks_like(other) for other in sure) for thing in new)


def _things(frame_CHW: np.ndarray, still_CHW: np.ndarray) -> list[Thing] | None:
    """What differs; None if that is too much."""
    labels, num_things = connected((frame_CHW != still_CHW).any(0))
    if num_things > MOST_THINGS:
        return None
    things = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        mask = labels[box] == number
        colors = frame_CHW[:, *box][:, mask].astype(np.int16)
        things.append(Thing(np.array([part.start for part in box]), mask, colors))
    return things


def connected(mask_HW: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers from 1 of the connected parts of a mask (H, W), 0 elsewhere; and how many parts there are."""
    labels = np.zeros(mask_HW.shape, np.int32)
    return labels, int(ndimage.label(mask_HW, EIGHT_NEIGHBOURS, output=labels))  # pyright: ignore[reportArgumentType]


def _followed(known: list[Thing], things: list[Thing]) -> list[Thing]:
    """The things of the next frame with their steps, and those that moved and are missing from it."""
    left, found = list(known), []
    for thing in things:
        before = _nearest(thing, [other for other in left if thing.looks_like(other)])
        if before is not None:
            left = [other for other in left if other is not before]
            thing = before.seen_at(thing.place)
        found.append(thing)
    # One that has another shape now is not missing: it is in front of something, half where it mostly is, or
    # bent.
    for index, thing in enumerate(found):
        if thing.step is None:
            before = _nearest(thing, [other for other in left if other.is_as_large_as(thing)])
            left = [other for other in left if other is not before]
            if before is not None and before.is_sure:
                found[index] = _bent(before, thing)
    missing = [
        other for other in left if other.step is not None and other.step.any() and other.age <= REMINDED
    ]
    return found + [replace(other, age=other.age + 1) for other in missing]


def _bent(before: Thing, thing: Thing) -> Thing:
    """The thing of before, in the place of one that it has become."""
    off = np.array(thing.mask.shape) - before.mask.shape
    return replace(before.seen_at(thing.place + off // 2), is_bent=True)


def _nearest(thing: Thing, others: list[Thing]) -> Thing | None:
    """The one nearest to where it was to be; None if there is none in reach."""
    near = [o for o in others if np.abs(thing.place - o.place).max() <= FARTHEST * o.age]
    return min(near, key=lambda o: int(np.abs(thing.place - o.next_place).max()), default=None)


def _draw(frame_CHW: np.ndarray, thing: Thing) -> None:
    """Draw a thing where it goes next, as far as that is in the frame."""
    lines, columns = thing.mask.nonzero()
    lines, columns = lines + thing.next_place[0], columns + thing.next_place[1]
    height, width = frame_CHW.shape[1:]
    inside = (lines >= 0) & (lines < height) & (columns >= 0) & (columns < width)
    frame_CHW[:, lines[inside], columns[inside]] = thing.colors[:, inside]
