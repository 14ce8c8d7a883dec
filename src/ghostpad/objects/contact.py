"""Objects that share pixels with others of their colour or are partly occluded: found by their template.

Templates are compared by masks: scikit-image's `match_template` takes 149 µs for a window of 40×40 pixels,
and its correlation does not say which pixels are explained.

Dimensions: C colour channels, H W frame, h w bounding box.
"""

from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from ghostpad.objects.detection import MAX_DISPLACEMENT, MAX_SPRITE_AREA, Object, label_components

MIN_VISIBLE = 2  # pixels of an object that nothing else explains, at least
MAX_MERGED_RATIO = 2  # between the areas of a component and of the controllable object in it
MIN_OUTLINE = 0.5  # share of the controllable object's outline that must be visible


def recover_hidden(
    missing: list[Object],
    found: list[Object],
    frame_CHW: np.ndarray,
    background_CHW: np.ndarray,
    occluders_HW: np.ndarray | None,
) -> tuple[list[Object], list[Object]]:
    """Missing tracks and detections, after confirmed tracks were sought in what is not explained yet.

    A ball on the paddle is one component with it: the paddle is found in that component, and the ball in what
    remains. Detections that belong to a track have a velocity.
    """
    for track in sorted((each for each in missing if each.is_confirmed), key=lambda each: each.is_small):
        position = _search(track, found, frame_CHW, background_CHW, occluders_HW)
        if position is not None:
            seen = track.detected_at(position)
            missing = [each for each in missing if each is not track]
            found = [each for each in found if each.velocity is not None or not seen.overlaps(each)] + [seen]
    return missing, found


def _search(
    track: Object,
    found: list[Object],
    frame_CHW: np.ndarray,
    background_CHW: np.ndarray,
    occluders_HW: np.ndarray | None,
) -> np.ndarray | None:
    """Position where a track explains most of a component and has its colour or is occluded elsewhere."""
    size, reach = np.array(track.mask.shape), MAX_DISPLACEMENT * track.frames_since_seen
    first = np.maximum(track.position - reach, 0)
    last = np.minimum(track.position + size + reach, frame_CHW.shape[1:])
    if (last - first < size).any():
        return None
    window = slice(first[0], last[0]), slice(first[1], last[1])
    own = track.pixels_of_its_color(frame_CHW[:, *window], int(first[0]))
    unexplained = own & (frame_CHW[:, *window] != background_CHW[:, *window]).any(0)
    for each in found:
        if each.velocity is not None:
            rows, columns, _ = each.pixels_at(each.position - first, own.shape)
            unexplained[rows, columns] = False
    labels, boxes = label_components(unexplained)
    if not boxes:
        return None
    # Only small objects are partly occluded, and only large ones leave pixels to an object that touches them.
    allowed = own | occluders_HW[window] if occluders_HW is not None and track.is_small else own
    most_left = 0 if track.is_small else MAX_SPRITE_AREA
    fits = (sliding_window_view(allowed, track.mask.shape) | ~track.mask).all((2, 3))
    positions = first + np.argwhere(fits)
    away = np.abs(positions - track.extrapolated_position).max(1)
    best, best_position = (MIN_VISIBLE - 1, 0), None
    for number in range(1, len(boxes) + 1):
        component = labels == number
        covered = (sliding_window_view(component, track.mask.shape) & track.mask).sum((2, 3))[fits]
        for index in np.flatnonzero(np.count_nonzero(component) - covered <= most_left):
            if (covered[index], -away[index]) > best:
                best, best_position = (covered[index], -away[index]), positions[index]
    return best_position


def locate_controllable(frame_CHW: np.ndarray, objects: list[Object], template: Object) -> Object | None:
    """The controllable object in a frame, whether it moves or not: one of the objects, or where it rests.

    Where it touches a wall of its colour, it is at the position with the most visible outline.
    """
    for each in objects:
        if each.is_seen_whole and each.matches(template):
            return each
    mask = np.pad(template.mask, 1)
    outline = ndimage.binary_dilation(mask) & ~mask
    labels, boxes = label_components(template.pixels_of_its_color(frame_CHW))
    best, best_position = MIN_OUTLINE * np.count_nonzero(outline), None
    for number, box in enumerate(boxes, 1):
        part = np.pad(labels[box] == number, 1)
        too_small = any(has < needs for has, needs in zip(part.shape, mask.shape, strict=True))
        if too_small or np.count_nonzero(part) > MAX_MERGED_RATIO * template.area:
            continue
        windows = sliding_window_view(part, mask.shape)
        visible = np.where((windows | ~mask).all((2, 3)), (~windows & outline).sum((2, 3)), 0)
        if visible.max() > best:
            best, offset = visible.max(), np.unravel_index(visible.argmax(), visible.shape)
            best_position = np.array([box[0].start, box[1].start]) + offset
    return None if best_position is None else replace(template, position=best_position)
