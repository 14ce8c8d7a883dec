"""Detection: objects are connected pixels of one colour that differ from the background of a history.

The background is the temporal mode of the frames. A small object may have another colour on each row,
because an Atari 2600 changes colours from line to line; row colours that are known count as one colour.

Components are labelled by `scipy.ndimage`: 24 µs for three objects, where scikit-image's `label` with
`regionprops` takes 55 µs.

Dimensions: k frames, C colour channels, H W frame, h w bounding box, n pixels of an object.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

MAX_OBJECTS = 32  # detections in a frame above which all of them count as noise
MAX_COLORS = 8  # of changed pixels, up to which the components of each are objects of their own
MAX_AREA = 512  # pixels of a component above which it belongs to the background
MAX_SPRITE_AREA = 24  # pixels of a small object; larger ones are left to the codes
MAX_DISPLACEMENT = 24  # pixels that an object moves in a frame along each axis
COLOR_TOLERANCE = 16  # of 255, between colours that count as the same
ROW_COLOR_KEY = -1  # packed colour that stands for all row colours


@dataclass(frozen=True)
class RowColors:
    """The colour that objects of one shape have on each row.

    Attributes:
        mask: (h, w) bool, their shape.
        colors: (C, H) int16.
        known: (H,) bool, rows whose colour is known.
    """

    mask: np.ndarray
    colors: np.ndarray
    known: np.ndarray

    def matching(self, part_Chw: np.ndarray, top: int = 0) -> np.ndarray:
        """Pixels (h, w) bool that have the colour of their row, in a part of a frame from the row `top`."""
        rows = slice(top, top + part_Chw.shape[1])
        difference = np.abs(part_Chw.astype(np.int16) - self.colors[:, rows, None]).max(0)
        return (difference <= COLOR_TOLERANCE) & self.known[rows, None]


@dataclass(frozen=True)
class Object:
    """A detection, or the track that it belongs to.

    Attributes:
        position: (2,) row and column of the upper left of its bounding box.
        mask: (h, w) bool.
        colors: (C, n) int16, of the pixels of the mask.
        velocity: (2,) pixels a frame; None after a single detection.
        displacements: between its detections with this appearance, the newest last.
        frames_since_seen: 1 for an object in the newest frame.
        deformed: its appearance in the newest frame where that differs from `mask` and `colors`.
        has_moved: whether it was detected at more than one position.
        predicted_position: (2,) in the next frame; None where constant velocity is assumed.
        occluded: whether it is predicted to be occluded or deformed in the next frame.
        index: of the track of the frame before; negative for others.
        row_colors: None for an object of a colour of its own.
        is_controllable: whether buttons move it.
    """

    position: np.ndarray
    mask: np.ndarray
    colors: np.ndarray
    velocity: np.ndarray | None = None
    displacements: tuple[tuple[int, int], ...] = ()
    frames_since_seen: int = 1
    deformed: "Object | None" = None
    has_moved: bool = False
    predicted_position: np.ndarray | None = None
    occluded: bool = False
    index: int = -1
    row_colors: RowColors | None = None
    is_controllable: bool = False

    @property
    def area(self) -> int:
        """Number of its pixels n."""
        return self.colors.shape[1]

    @property
    def extrapolated_position(self) -> np.ndarray:
        """Position in the next frame at constant velocity."""
        if self.velocity is None:
            return self.position
        return self.position + self.velocity * self.frames_since_seen

    @property
    def is_new(self) -> bool:
        """Whether it was detected once, and belongs to no track."""
        return self.velocity is None

    @property
    def is_confirmed(self) -> bool:
        """Whether it has moved and kept its appearance, or has known row colours."""
        return self.row_colors is not None or (self.has_moved and len(self.displacements) > 0)

    @property
    def is_small(self) -> bool:
        """Whether it has at most `MAX_SPRITE_AREA` pixels."""
        return self.area <= MAX_SPRITE_AREA

    @property
    def is_sprite(self) -> bool:
        """Whether object dynamics predict it: it is small and confirmed."""
        return self.is_confirmed and self.is_small

    @property
    def is_composited(self) -> bool:
        """Whether its position is predicted, so that it is drawn by code and codes need not describe it."""
        return self.is_controllable or self.predicted_position is not None

    @property
    def is_seen_whole(self) -> bool:
        """Whether the newest frame shows it as it is."""
        return self.frames_since_seen == 1 and self.deformed is None

    def box(self, margin: int = 0) -> tuple[slice, slice]:
        """Rows and columns of its bounding box, and some around it."""
        first, last = self.position - margin, self.position + self.mask.shape + margin
        return slice(max(0, int(first[0])), int(last[0])), slice(max(0, int(first[1])), int(last[1]))

    def pixels_at(
        self, position_2: np.ndarray, size: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns of its pixels at a position, as far as inside `size`; and which (n,) these are."""
        rows, columns = self.mask.nonzero()
        rows, columns = rows + position_2[0], columns + position_2[1]
        inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
        return rows[inside], columns[inside], inside

    @property
    def always_covered(self) -> np.ndarray:
        """Pixels (h, w) of its bounding box that it has covered at all its detections."""
        counts = self.mask.astype(int)
        for offset in -np.cumsum(self.displacements[::-1], 0):
            rows, columns, _ = self.pixels_at(offset, self.mask.shape)
            counts[rows, columns] += 1
        return counts > len(self.displacements)

    def colors_at(self, position: np.ndarray) -> np.ndarray:
        """Its colours (C, n) at another position; unchanged on rows whose colour is unknown."""
        if self.row_colors is None:
            return self.colors
        by_row, rows = self.row_colors, self.mask.nonzero()[0] + position[0]
        inside = (rows >= 0) & (rows < len(by_row.known))
        rows = np.where(inside, rows, 0)
        return np.where(inside & by_row.known[rows], by_row.colors[:, rows], self.colors)

    def detected_at(self, position: np.ndarray) -> "Object":
        """The track after another detection with the same appearance."""
        velocity = np.round((position - self.position) / self.frames_since_seen).astype(int)
        return replace(
            self,
            position=position,
            colors=self.colors_at(position),
            velocity=velocity,
            displacements=(*self.displacements, (int(velocity[0]), int(velocity[1]))),
            frames_since_seen=1,
            deformed=None,
            has_moved=self.has_moved or bool(velocity.any()),
        )

    def matches(self, other: "Object") -> bool:
        """Whether the two have the same appearance."""
        if not np.array_equal(self.mask, other.mask):
            return False
        both_by_row = self.row_colors is not None and other.row_colors is not None
        return both_by_row or int(np.abs(self.colors - other.colors).max()) <= COLOR_TOLERANCE

    def pixels_of_its_color(self, part_Chw: np.ndarray, top: int = 0) -> np.ndarray:
        """Pixels (h, w) bool that have its colour, in a part of a frame from the row `top`."""
        if self.row_colors is not None:
            return self.row_colors.matching(part_Chw, top)
        color = self.colors.mean(1).astype(np.int16)
        return np.abs(part_Chw.astype(np.int16) - color[:, None, None]).max(0) <= COLOR_TOLERANCE

    def overlaps(self, other: "Object") -> bool:
        """Whether the two share a pixel."""
        rows, columns, _ = other.pixels_at(other.position - self.position, self.mask.shape)
        return bool(self.mask[rows, columns].any())

    def may_reach(self, other: "Object") -> bool:
        """Whether it can have come to the position of another object since it was last seen."""
        distance = np.abs(other.position - self.position).max()
        return int(distance) <= MAX_DISPLACEMENT * self.frames_since_seen


def detect(
    frame_CHW: np.ndarray, background_CHW: np.ndarray, row_colors: RowColors | None = None
) -> list[Object] | None:
    """Objects in a uint8 frame: components of one colour that differ from the background somewhere.

    Returns:
        None where there are too many to be objects.
    """
    changed = (frame_CHW != background_CHW).any(0)
    if not changed.any():
        return []
    keys = pack_colors(frame_CHW)
    if row_colors is not None:
        keys[row_colors.matching(frame_CHW)] = ROW_COLOR_KEY
    colors = np.unique(keys[changed])
    masks = [keys == key for key in colors] if len(colors) <= MAX_COLORS else [changed]
    objects: list[Object] = []
    for mask in masks:
        if np.count_nonzero(mask) > mask.size // 4:
            continue
        labels, boxes = label_components(mask)
        for number in np.unique(labels[changed & mask]):
            box = boxes[number - 1]
            inside = labels[box] == number
            if np.count_nonzero(inside) <= MAX_AREA:
                position = np.array([side.start for side in box])
                found = Object(position, inside, frame_CHW[:, *box][:, inside].astype(np.int16))
                by_row = row_colors is not None and np.array_equal(found.mask, row_colors.mask)
                if by_row and keys[box][inside][0] == ROW_COLOR_KEY:
                    found = replace(found, row_colors=row_colors)
                objects.append(found)
    return objects if len(objects) <= MAX_OBJECTS else None


def label_components(mask_HW: np.ndarray) -> tuple[np.ndarray, list[tuple[slice, slice]]]:
    """Numbers (H, W) from 1 of the connected components of a mask, and their bounding boxes."""
    labels = np.zeros(mask_HW.shape, np.int32)
    ndimage.label(mask_HW, np.ones((3, 3)), output=labels)
    return labels, ndimage.find_objects(labels)


def temporal_mode(frames_kC: np.ndarray) -> np.ndarray:
    """The commonest colour (C, …) of frames (k, C, …), as far as it fills half of them.

    It is the middle one of the colours in order, which is the mode then.
    """
    middle = np.argsort(pack_colors(frames_kC, 1), 0, kind="stable")[len(frames_kC) // 2]
    return np.take_along_axis(frames_kC, middle[None, None], 0)[0]


def pack_colors(colors: np.ndarray, axis: int = 0) -> np.ndarray:
    """One int32 for each colour, over the channels along an axis."""
    first, *others = np.moveaxis(colors, axis, 0)
    keys = first.astype(np.int32)
    for part in others:
        keys <<= 8
        keys |= part
    return keys
