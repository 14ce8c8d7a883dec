"""Tracking: objects of one colour are associated from frame to frame; lost ones are remembered for a while.

Objects that touch others of their colour, or are partly occluded, are found by their template. Templates are
compared by masks: scikit-image's `match_template` takes 149 µs for a window of 40×40 pixels, and its
correlation does not say which pixels are explained.

Dimensions: k frames of history, C colour channels, H W frame, h w bounding box.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from ghostpad.objects.detection import (
    MAX_DISPLACEMENT,
    MAX_SPRITE_AREA,
    Object,
    detect,
    label_components,
    temporal_mode,
)
from ghostpad.objects.scene import MAX_FRAMES_UNSEEN, Scene, Tracks

FORBIDDEN = 1e6  # cost of associating a detection with a track that it cannot belong to
MIN_VISIBLE = 2  # pixels of an object that nothing else explains, at least
MAX_MERGED_RATIO = 2  # between the areas of a component and of the controllable object in it
MIN_OUTLINE = 0.5  # share of the controllable object's outline that must be visible


def track(history_kCHW: np.ndarray, scene: Scene | None = None, last: Tracks | None = None) -> Tracks:
    """Track all that moves in a history, and the controllable object whether it moves or not.

    The newest of the k ≥ 2 frames (uint8) is last. `last` are the tracks of the history a frame before in the
    same scene, which save time.
    """
    scene = scene or Scene()
    tracks = _track_moving(history_kCHW, scene, last)
    controllable = locate_controllable(tracks.newest, tracks.objects, scene.controllable)
    if controllable is None:
        return tracks
    others = [each for each in tracks.objects if each is not controllable]
    if controllable.velocity is None:
        # It was at rest all the time, or it was elsewhere before.
        moved = bool(tracks.changed[controllable.box()].any())
        displacements = () if moved else ((0, 0),) * (len(history_kCHW) - 1)
        controllable = replace(controllable, velocity=np.zeros(2, int), displacements=displacements)
    return replace(tracks, objects=[*others, replace(controllable, is_controllable=True)])


def _track_moving(history_kCHW: np.ndarray, scene: Scene, last: Tracks | None) -> Tracks:
    newest, previous = history_kCHW[-1], history_kCHW[-2]
    changed = (history_kCHW[1:] != history_kCHW[:-1]).any((0, 1))
    tracks = Tracks(newest, previous, newest, changed, scene=scene)
    rows, columns = changed.nonzero()
    if not len(rows):
        return tracks
    background = newest.copy()
    background[:, rows, columns] = temporal_mode(history_kCHW[:, :, rows, columns])
    tracks = replace(tracks, background=background)
    reusable = last is not None and np.array_equal(last.background, background)
    detections = list(last.detections[1:]) if last is not None and reusable else []
    for frame in history_kCHW[len(detections) :]:
        detected = detect(frame, background, scene.row_colors)
        if detected is None:
            return replace(tracks, too_many=True)
        detections.append(detected)
    objects: list[Object] = []
    for detected, frame in zip(detections, history_kCHW, strict=True):
        objects = _associate(objects, detected, frame, tracks)
    return replace(tracks, objects=objects, detections=detections)


def track_next(tracks: Tracks, next_CHW: np.ndarray) -> list[Object] | None:
    """The objects after the next frame (C, H, W) uint8; None where there is too much motion.

    Each that was tracked before has its index in `tracks.objects`.
    """
    detections = detect(next_CHW, tracks.background, tracks.scene.row_colors)
    if detections is None or (tracks.too_many and not tracks.objects):
        return None
    known = [replace(each, index=index) for index, each in enumerate(tracks.objects)]
    return _associate(known, detections, next_CHW, tracks)


def seen_again(next_objects: list[Object]) -> dict[int, Object]:
    """Those of `track_next` that were tracked before and are seen whole, by their index."""
    return {each.index: each for each in next_objects if each.index >= 0 and each.is_seen_whole}


def _associate(
    objects: list[Object], detections: list[Object], frame_CHW: np.ndarray, tracks: Tracks
) -> list[Object]:
    """The objects after a frame: those that it shows, and moving ones that are lost."""
    pairs = _assign(objects, detections, Object.matches)
    found = [
        objects[pairs[number]].detected_at(each.position) if number in pairs else each
        for number, each in enumerate(detections)
    ]
    missing = [each for number, each in enumerate(objects) if number not in pairs.values()]
    missing, found = _recover_hidden(missing, found, frame_CHW, tracks)
    # A new detection of another shape may be a missing object that is deformed or partly covered.
    new = [number for number, each in enumerate(found) if each.is_new]
    pairs = _assign(missing, [found[number] for number in new], _has_similar_area)
    for place, column in pairs.items():
        before, detection = missing[column], found[new[place]]
        growth = np.array(detection.mask.shape) - before.mask.shape
        moved = before.detected_at(detection.position + growth // 2)
        if before.is_sprite:
            found[new[place]] = replace(moved, deformed=detection)
        elif before.is_small and detection.is_small:
            found[new[place]] = replace(detection, velocity=moved.velocity, has_moved=moved.has_moved)
    lost = [
        replace(each, frames_since_seen=each.frames_since_seen + 1)
        for number, each in enumerate(missing)
        if number not in pairs.values() and each.has_moved and each.frames_since_seen <= MAX_FRAMES_UNSEEN
    ]
    return found + lost


def _assign(
    objects: list[Object], detections: list[Object], fits: Callable[[Object, Object], bool]
) -> dict[int, int]:
    """The object of each detection that has one: least sum of distances from constant velocity."""
    if not objects or not detections:
        return {}
    costs = np.full((len(detections), len(objects)), FORBIDDEN)
    for row, detection in enumerate(detections):
        for column, each in enumerate(objects):
            if each.may_reach(detection) and fits(detection, each):
                costs[row, column] = np.abs(detection.position - each.extrapolated_position).max()
    pairs = zip(*linear_sum_assignment(costs), strict=True)
    return {int(row): int(column) for row, column in pairs if costs[row, column] < FORBIDDEN}


def _has_similar_area(detection: Object, before: Object) -> bool:
    return max(before.area, detection.area) <= 2 * min(before.area, detection.area)


def _recover_hidden(
    missing: list[Object], found: list[Object], frame_CHW: np.ndarray, tracks: Tracks
) -> tuple[list[Object], list[Object]]:
    """Missing objects and detections, after confirmed objects were sought in pixels not explained yet.

    Objects of one colour that touch are one component: the large one is found in it first, and the small one
    in what remains.
    """
    for each in sorted((each for each in missing if each.is_confirmed), key=lambda each: each.is_small):
        position = _search(each, found, frame_CHW, tracks)
        if position is not None:
            seen = each.detected_at(position)
            missing = [other for other in missing if other is not each]
            found = [other for other in found if not (other.is_new and seen.overlaps(other))]
            found.append(seen)
    return missing, found


def _search(sought: Object, found: list[Object], frame_CHW: np.ndarray, tracks: Tracks) -> np.ndarray | None:
    """Where it covers most of an unexplained component; its other pixels have its colour or are occluded."""
    size, reach = np.array(sought.mask.shape), MAX_DISPLACEMENT * sought.frames_since_seen
    first = np.maximum(sought.position - reach, 0)
    last = np.minimum(sought.position + size + reach, frame_CHW.shape[1:])
    if (last - first < size).any():
        return None
    window = slice(first[0], last[0]), slice(first[1], last[1])
    own = sought.pixels_of_its_color(frame_CHW[:, *window], int(first[0]))
    unexplained = own & (frame_CHW[:, *window] != tracks.background[:, *window]).any(0)
    for each in found:
        if not each.is_new:
            rows, columns, _ = each.pixels_at(each.position - first, own.shape)
            unexplained[rows, columns] = False
    if not unexplained.any():
        return None
    labels, boxes = label_components(unexplained)
    # Only small objects are partly occluded, and only large ones leave pixels to an object that touches them.
    occluders, most_left = tracks.scene.occluders, 0 if sought.is_small else MAX_SPRITE_AREA
    allowed = own | occluders[window] if occluders is not None and sought.is_small else own
    fits = (sliding_window_view(allowed, sought.mask.shape) | ~sought.mask).all((2, 3))
    positions = first + np.argwhere(fits)
    away = np.abs(positions - sought.extrapolated_position).max(1)
    best, best_position = (MIN_VISIBLE - 1, 0), None
    for number in range(1, len(boxes) + 1):
        component = labels == number
        covered = (sliding_window_view(component, sought.mask.shape) & sought.mask).sum((2, 3))[fits]
        for index in np.flatnonzero(np.count_nonzero(component) - covered <= most_left):
            if (covered[index], -away[index]) > best:
                best, best_position = (covered[index], -away[index]), positions[index]
    return best_position


def locate_controllable(
    frame_CHW: np.ndarray, objects: list[Object], template: Object | None
) -> Object | None:
    """The controllable object in a frame, whether it moves or not: one of the objects, or where it rests.

    Where it touches a wall of its colour, it is at the position with the most visible outline.
    """
    if template is None:
        return None
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


def locate_next_controllable(
    tracks: Tracks, next_CHW: np.ndarray, next_objects: list[Object] | None
) -> Object | None:
    """The controllable object in the next frame, whose `track_next` are these; None if it is not visible."""
    if tracks.controllable is None:
        return None
    again = [each for each in next_objects or [] if each.is_controllable and each.is_seen_whole]
    return again[0] if again else locate_controllable(next_CHW, [], tracks.scene.controllable)
