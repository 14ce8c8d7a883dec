"""Things: connected pixels of one colour that differ from what stands there most of the time.

A small thing may take another colour on each line, as a ball does that an Atari 2600 draws with the colour of
its bricks; where these colours are known, they count as one.

Dimensions: k frames, C colour channels, H W frame or window, h w bounding box, n pixels of a thing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

MOST_THINGS = 32
"""Things in one frame, above which all is noise and nothing is guessed."""
FARTHEST = 24
"""Pixels that a thing goes between two frames, at most, along each axis."""
MOST_COLORS = 8
"""Colours of what moves in a frame up to which each is looked at by itself."""
BACKGROUND = 512
"""Pixels of one colour above which they are background, which stays where it is."""
LIKE = 16
"""Largest difference of brightness, of 255, between two looks at the same thing."""
NEARLY = 1.3
"""How many times as large a thing may be that is taken for the same, bent."""
REMINDED = 3
"""Newest frames from which a thing may be missing and go on nevertheless, at most."""
SURE_TIMES = 2
"""Looks at a thing after which it is missed when it is gone."""
MISSED = 24
"""Pixels of a thing that is missed, at most: of larger ones the codes say where they are."""
EIGHT_NEIGHBOURS = np.ones((3, 3))
AROUND = 8
"""Pixels around what has changed in which all of it is looked for first."""
TINTED = -1
"""Stands for the colours of `Tints` among those that are `packed`."""


@dataclass(frozen=True)
class Tints:
    """The colour that things of one shape have on each line.

    Attributes:
        mask: (h, w) bool, their shape.
        colors: (C, H) int16.
        known: (H,) bool, lines of which the colour is known.
    """

    mask: np.ndarray
    colors: np.ndarray
    known: np.ndarray

    def shown(self, part_Chw: np.ndarray, top: int = 0) -> np.ndarray:
        """Pixels (h, w) bool that have the colour of their line, in a part of a frame from the line `top`."""
        lines = slice(top, top + part_Chw.shape[1])
        off = np.abs(part_Chw.astype(np.int16) - self.colors[:, lines, None]).max(0)
        return (off <= LIKE) & self.known[lines, None]

    def below(self, top: int, height: int) -> "Tints":
        """Those of a window of the frame; beyond the frame nothing is known."""
        lines = slice(top, top + height)
        lacking = height - len(self.known[lines])
        colors = np.pad(self.colors[:, lines], ((0, 0), (0, lacking)))
        return Tints(self.mask, colors, np.pad(self.known[lines], (0, lacking)))


@dataclass(frozen=True)
class Thing:
    """Connected pixels of one colour, some of which differ from what stands there most of the time.

    Attributes:
        place: (2,) line and column of the upper left of its bounding box.
        mask: (h, w) bool.
        colors: (C, n) int16, of the pixels of the mask.
        step: (2,) pixels that it goes in a frame; None while it was seen only once.
        went: its steps so far, the newest last.
        age: frames since it was seen, 1 for one in the newest frame.
        times: that it was seen with these looks.
        bent: the other looks that it has in the newest frame, as those that it had are kept; else None.
        has_moved: whether it was seen at more than one place.
        foreseen: (2,) place in the next frame, from who knows better than `next_place`; None if nobody does.
        hides: whether it is foreseen not to be seen in the next frame as it is.
        number: by which one who follows it knows it again; negative for one that is new.
        tints: the colours that it has on each line; None for one that keeps its own.
        is_steered: whether it goes where a button sends it.
    """

    place: np.ndarray
    mask: np.ndarray
    colors: np.ndarray
    step: np.ndarray | None = None
    went: tuple[tuple[int, int], ...] = ()
    age: int = 1
    times: int = 1
    bent: "Thing | None" = None
    has_moved: bool = False
    foreseen: np.ndarray | None = None
    hides: bool = False
    number: int = -1
    tints: Tints | None = None
    is_steered: bool = False

    @property
    def next_place(self) -> np.ndarray:
        """Where it would be in the next frame, if it went on as it did."""
        return self.place if self.step is None else self.place + self.step * self.age

    @property
    def moves(self) -> bool:
        """Whether its last step led elsewhere."""
        return self.step is not None and bool(self.step.any())

    @property
    def is_sure(self) -> bool:
        """Whether it would be missed: it is small and known."""
        return self.is_known and self.is_small

    @property
    def stood(self) -> np.ndarray:
        """Pixels (h, w) of its place that it has covered all the time."""
        height, width = self.mask.shape
        counts, off = self.mask.astype(int), np.zeros(2, int)
        for step in reversed(self.went):
            off = off - step
            lines, columns, _ = pixels(self, off, (height, width))
            counts[lines, columns] += 1
        return counts > len(self.went)

    @property
    def is_apart(self) -> bool:
        """Whether codes need not speak of it, since it is foreseen where it goes."""
        return self.is_steered or self.foreseen is not None

    @property
    def is_due(self) -> bool:
        """Whether it is foreseen to be seen in the next frame as it is."""
        return self.foreseen is not None and not self.hides

    @property
    def is_known(self) -> bool:
        """Whether it has moved and kept its looks, or has those of things that are known."""
        return self.tints is not None or (self.has_moved and self.times >= SURE_TIMES)

    @property
    def is_small(self) -> bool:
        """Whether it may be missed, see `MISSED`."""
        return self.colors.shape[1] <= MISSED

    def box(self, margin: int = 0) -> tuple[slice, slice]:
        """Lines and columns that it covers, and some around them."""
        first, last = self.place - margin, self.place + self.mask.shape + margin
        return slice(max(0, int(first[0])), int(last[0])), slice(max(0, int(first[1])), int(last[1]))

    def seen_at(self, place: np.ndarray) -> "Thing":
        """The same, seen again."""
        step = np.round((place - self.place) / self.age).astype(int)
        moved = self.has_moved or bool(step.any())
        colors, went = self.colors_at(place), (*self.went, (int(step[0]), int(step[1])))
        known = replace(self, place=place, colors=colors, step=step, went=went)
        return replace(known, age=1, times=self.times + 1, bent=None, has_moved=moved)

    def looks_like(self, other: "Thing") -> bool:
        """Whether the two may be one thing."""
        same = self.has_shape(other.mask)
        if same and self.tints is not None and other.tints is not None:
            return True
        return same and int(np.abs(self.colors - other.colors).max()) <= LIKE

    def has_shape(self, mask: np.ndarray) -> bool:
        """Whether these (h, w) are its pixels."""
        return self.mask.shape == mask.shape and bool((self.mask == mask).all())

    def colors_at(self, place: np.ndarray) -> np.ndarray:
        """Its colours (C, n) at another place; where nobody knows them, as they are."""
        if self.tints is None:
            return self.colors
        lines = self.mask.nonzero()[0] + place[0]
        inside = (lines >= 0) & (lines < len(self.tints.known))
        lines = np.where(inside, lines, 0)
        return np.where(inside & self.tints.known[lines], self.tints.colors[:, lines], self.colors)

    def has_color_of(self, other: "Thing") -> bool:
        """Whether it is of the colour of another, or of those that this has on these lines."""
        if np.abs(self.colors.mean(1) - other.colors.mean(1)).max() <= LIKE:
            return True
        lines = self.mask.nonzero()[0] + self.place[0]
        if other.tints is None or lines[-1] >= len(other.tints.known):
            return False
        off = np.abs(self.colors - other.tints.colors[:, lines]).max(0)
        return bool((other.tints.known[lines] & (off <= LIKE)).all())

    def shown_in(self, part_Chw: np.ndarray, top: int) -> np.ndarray:
        """Pixels (h, w) bool that have its colour, in a part of a frame that begins at the line `top`."""
        if self.tints is not None:
            return self.tints.shown(part_Chw, top)
        color = self.colors.mean(1).astype(np.int16)
        return np.abs(part_Chw.astype(np.int16) - color[:, None, None]).max(0) <= LIKE

    def covers(self, other: "Thing") -> bool:
        """Whether all pixels of another are pixels of this."""
        lines, columns, inside = pixels(other, other.place - self.place, self.mask.shape)
        return bool(inside.all() and self.mask[lines, columns].all())

    def is_nearly(self, other: "Thing") -> bool:
        """Whether the two differ by a few pixels, and not in colour."""
        sizes = self.colors.shape[1], other.colors.shape[1]
        alike = np.abs(self.colors.mean(1) - other.colors.mean(1)).max() <= LIKE
        return max(sizes) <= NEARLY * min(sizes) and bool(alike)

    def is_as_large_as(self, other: "Thing") -> bool:
        """Whether the two differ in size at most twofold."""
        sizes = self.colors.shape[1], other.colors.shape[1]
        return max(sizes) <= 2 * min(sizes)


def things_in(frame_CHW: np.ndarray, still_CHW: np.ndarray, tints: Tints | None = None) -> list[Thing] | None:
    """Whatever has one colour, is no background and differs somewhere; None if that is too much.

    Those of `tints` count as one.
    """
    changed = (frame_CHW != still_CHW).any(0)
    if not changed.any():
        return []
    keys = packed(frame_CHW, 0)
    if tints is not None:
        keys[tints.shown(frame_CHW)] = TINTED
    colors = np.unique(keys[changed])
    masks = [keys == key for key in colors] if len(colors) <= MOST_COLORS else [changed]
    things: list[Thing] = []
    for mask in masks:
        if np.count_nonzero(mask) > mask.size // 4:
            continue
        for where, inside in _parts_of(mask, changed & mask):
            if np.count_nonzero(inside) <= BACKGROUND:
                thing = thing_at(frame_CHW, where, inside)
                if tints is not None and keys[where][inside][0] == TINTED and thing.has_shape(tints.mask):
                    thing = replace(thing, tints=tints)
                things.append(thing)
    return things if len(things) <= MOST_THINGS else None


def thing_at(frame_CHW: np.ndarray, where: tuple[slice, slice], inside_hw: np.ndarray) -> Thing:
    """What some pixels of a part of a frame show, seen for the first time."""
    place = np.array([side.start for side in where])
    return Thing(place, inside_hw, frame_CHW[:, *where][:, inside_hw].astype(np.int16))


def pixels(
    thing: Thing, place_2: np.ndarray, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lines and columns (n,) of a thing at a place, and which of its pixels are inside of a size.

    The lines and columns are those of the pixels inside.
    """
    height, width = size
    lines, columns = thing.mask.nonzero()
    lines, columns = lines + place_2[0], columns + place_2[1]
    inside = (lines >= 0) & (lines < height) & (columns >= 0) & (columns < width)
    return lines[inside], columns[inside], inside


def nearest(thing: Thing, others: list[Thing]) -> Thing | None:
    """The one nearest to where it was to be; None if there is none in reach."""
    near = [o for o in others if np.abs(thing.place - o.place).max() <= FARTHEST * o.age]
    return min(near, key=lambda o: int(np.abs(thing.place - o.next_place).max()), default=None)


def mostly(looks_kC: np.ndarray) -> np.ndarray:
    """What is seen most of the time (C, …) of looks (k, C, …): the colour in the middle of their order."""
    middle = np.argsort(packed(looks_kC, 1), 0, kind="stable")[len(looks_kC) // 2]
    return np.take_along_axis(looks_kC, middle[None, None], 0)[0]


def packed(colors: np.ndarray, axis: int) -> np.ndarray:
    """One integer for each colour, over the channels of an axis."""
    first, *others = np.moveaxis(colors, axis, 0)
    keys = first.astype(np.int32)
    for part in others:
        keys <<= 8
        keys |= part
    return keys


def _parts_of(mask_HW: np.ndarray, among_HW: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Connected parts of a mask with pixels among some of its own: their boxes, and their pixels in these.

    They are looked for around those pixels, and farther away only as far as they reach.
    """
    lines, columns = (np.flatnonzero(among_HW.any(axis)) for axis in (1, 0))
    if not len(lines):
        return
    margin = AROUND
    while True:
        top, left = max(0, lines[0] - margin), max(0, columns[0] - margin)
        box = slice(top, lines[-1] + margin + 1), slice(left, columns[-1] + margin + 1)
        labels, _ = connected(mask_HW[box])
        numbers = np.unique(labels[among_HW[box]])
        edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        if margin >= max(mask_HW.shape) or not np.isin(numbers, edges).any():
            break
        margin *= 4
    boxes = ndimage.find_objects(labels)
    for number in numbers:
        down, right = boxes[number - 1]
        where = (
            slice(down.start + top, down.stop + top),
            slice(right.start + left, right.stop + left),
        )
        yield where, labels[down, right] == number


def connected(mask_HW: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers from 1 of the connected parts of a mask (H, W), 0 elsewhere; and how many parts there are."""
    labels = np.zeros(mask_HW.shape, np.int32)
    return labels, int(ndimage.label(mask_HW, EIGHT_NEIGHBOURS, output=labels))  # pyright: ignore[reportArgumentType]
