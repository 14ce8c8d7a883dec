"""What the next frame would be if all that moves went on as it did.

The oldest guess of video coding, motion compensation: what is found again at another place goes on by the same step.
Of a ball in free flight it is exactly right, and a world needs to learn only where it is not. What moved and is gone
from the newest frames goes on too, so that a world that forgot it is reminded.

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
    """

    place: np.ndarray
    mask: np.ndarray
    colors: np.ndarray
    step: np.ndarray | None = None
    age: int = 1

    @property
    def next_place(self) -> np.ndarray:
        """Where it would be in the next frame."""
        return self.place if self.step is None else self.place + self.step * self.age

    def looks_like(self, other: "Thing") -> bool:
        """Whether the two may be one thing."""
        same = self.mask.shape == other.mask.shape and bool((self.mask == other.mask).all())
        return same and int(np.abs(self.colors - other.colors).max()) <= LIKE

    def is_as_large_as(self, other: "Thing") -> bool:
        """Whether the two differ in size at most twofold."""
        sizes = self.colors.shape[1], other.colors.shape[1]
        return max(sizes) <= 2 * min(sizes)


def go_on(history_kCHW: np.ndarray) -> np.ndarray:
    """Guess the frame (C, H, W) uint8 that follows.

    Args:
        history_kCHW: uint8, the newest last, k at least 2.
    """
    newest = history_kCHW[-1]
    moved = (history_kCHW[1:] != history_kCHW[:-1]).any((0, 1))
    lines, columns = moved.nonzero()
    if not len(lines):
        return newest
    still = newest.copy()
    still[:, lines, columns] = np.sort(history_kCHW[:, :, lines, columns], 0)[len(history_kCHW) // 2]
    known: list[Thing] = []
    for frame in history_kCHW[-REMINDED - 2 :]:
        things = _things(frame, still)
        if things is None:
            return newest
        known = _followed(known, things)
    # What was seen last covers what is only remembered.
    for thing in sorted(known, key=lambda thing: -thing.age):
        _draw(still, thing)
    return still


def _things(frame_CHW: np.ndarray, still_CHW: np.ndarray) -> list[Thing] | None:
    """What differs; None if that is too much."""
    labels, num_things = ndimage.label((frame_CHW != still_CHW).any(0), EIGHT_NEIGHBOURS)
    if num_things > MOST_THINGS:
        return None
    things = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        mask = labels[box] == number
        colors = frame_CHW[:, *box][:, mask].astype(np.int16)
        things.append(Thing(np.array([part.start for part in box]), mask, colors))
    return things


def _followed(known: list[Thing], things: list[Thing]) -> list[Thing]:
    """The things of the next frame with their steps, and those that moved and are missing from it."""
    left, found = list(known), []
    for thing in things:
        before = _nearest(thing, [other for other in left if thing.looks_like(other)])
        if before is not None:
            left = [other for other in left if other is not before]
            thing = replace(thing, step=np.round((thing.place - before.place) / before.age).astype(int))
        found.append(thing)
    # One that has another shape now is not missing: in front of something else, or half where it mostly is.
    for thing in found:
        if thing.step is None:
            before = _nearest(thing, [other for other in left if other.is_as_large_as(thing)])
            left = [other for other in left if other is not before]
    missing = [other for other in left if other.step is not None and other.step.any() and other.age <= REMINDED]
    return found + [replace(other, age=other.age + 1) for other in missing]


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
