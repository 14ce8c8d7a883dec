"""Tracking: objects of one colour are associated from frame to frame; lost ones are remembered for a while.

Dimensions: k frames of history, C colour channels, H W frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from ghostpad.objects.contact import locate_controllable, recover_hidden
from ghostpad.objects.detection import Object, detect, temporal_mode
from ghostpad.objects.scene import MAX_FRAMES_UNSEEN, Scene, Tracks

FORBIDDEN = 1e6  # cost of associating a detection with a track that it cannot belong to


def track(history_kCHW: np.ndarray, scene: Scene | None = None, last: Tracks | None = None) -> Tracks:
    """Track whatever moves in a history, and the controllable object whether it moves or not.

    Args:
        history_kCHW: uint8, the newest frame last, k at least 2.
        scene: the scene model.
        last: tracks of the history a frame before, with the same scene; saves time.
    """
    scene = scene or Scene()
    tracks = _track_moving(history_kCHW, scene, last)
    if scene.controllable is None:
        return tracks
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
    rows, columns = changed.nonzero()
    tracks = Tracks(newest, previous, newest, changed, scene=scene)
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
        objects = _associate(objects, detected, frame, background, scene.occluders)
    return replace(tracks, objects=objects, detections=detections)


def _associate(
    tracks: list[Object],
    detections: list[Object],
    frame_CHW: np.ndarray,
    background_CHW: np.ndarray,
    occluders_HW: np.ndarray | None,
) -> list[Object]:
    """The tracks after a frame: those that it shows, and moving ones that it does not show any more."""
    pairs = _assign(tracks, detections, Object.matches)
    found = [
        tracks[pairs[number]].detected_at(each.position) if number in pairs else each
        for number, each in enumerate(detections)
    ]
    missing = [each for number, each in enumerate(tracks) if number not in pairs.values()]
    missing, found = recover_hidden(missing, found, frame_CHW, background_CHW, occluders_HW)
    # A new detection of another shape may be a missing object that is deformed or partly covered.
    new = [number for number, each in enumerate(found) if each.velocity is None]
    pairs = _assign(missing, [found[number] for number in new], _is_similar)
    for place, column in pairs.items():
        before, detection = missing[column], found[new[place]]
        moved = _deformed(before, detection)
        if before.is_sprite:
            found[new[place]] = moved
        elif before.is_small and detection.is_small:
            found[new[place]] = replace(detection, velocity=moved.velocity, has_moved=moved.has_moved)
    lost = [
        each
        for number, each in enumerate(missing)
        if number not in pairs.values() and each.has_moved and each.frames_since_seen <= MAX_FRAMES_UNSEEN
    ]
    return found + [replace(each, frames_since_seen=each.frames_since_seen + 1) for each in lost]


def _assign(
    tracks: list[Object], detections: list[Object], fits: Callable[[Object, Object], bool]
) -> dict[int, int]:
    """The track of each detection that has one, so that the sum of their distances is least.

    Args:
        tracks: extrapolated at constant velocity.
        detections: in the new frame.
        fits: whether a detection may belong to a track that can have reached it.
    """
    if not tracks or not detections:
        return {}
    costs = np.full((len(detections), len(tracks)), FORBIDDEN)
    for row, detection in enumerate(detections):
        for column, each in enumerate(tracks):
            if each.may_reach(detection) and fits(detection, each):
                costs[row, column] = np.abs(detection.position - each.extrapolated_position).max()
    pairs = zip(*linear_sum_assignment(costs), strict=True)
    return {int(row): int(column) for row, column in pairs if costs[row, column] < FORBIDDEN}


def _is_similar(detection: Object, track: Object) -> bool:
    """Whether the areas of two objects differ at most twofold."""
    return max(track.area, detection.area) <= 2 * min(track.area, detection.area)


def _deformed(track: Object, detection: Object) -> Object:
    """The track at the position of its deformed appearance."""
    slack = np.array(detection.mask.shape) - track.mask.shape
    return replace(track.detected_at(detection.position + slack // 2), deformed=detection)


def track_next(tracks: Tracks, next_CHW: np.ndarray) -> list[Object] | None:
    """The tracks after the next frame (C, H, W) uint8; None where there is too much motion.

    Each that was tracked before has its index in `tracks.objects`.
    """
    detections = detect(next_CHW, tracks.background, tracks.scene.row_colors)
    if detections is None or (tracks.too_many and not tracks.objects):
        return None
    known = [replace(each, index=index) for index, each in enumerate(tracks.objects)]
    return _associate(known, detections, next_CHW, tracks.background, tracks.scene.occluders)


def seen_again(next_objects: list[Object]) -> dict[int, Object]:
    """Those of `track_next` that were tracked before and are seen whole, by their index."""
    return {each.index: each for each in next_objects if each.index >= 0 and each.is_seen_whole}


def newly_detected(next_objects: list[Object]) -> list[Object]:
    """Those of `track_next` that belong to no track of before."""
    return [each for each in next_objects if each.index < 0 and each.velocity is None]


def locate_next_controllable(
    tracks: Tracks, next_CHW: np.ndarray, next_objects: list[Object] | None
) -> Object | None:
    """The controllable object in the next frame, whose `track_next` are these; None if it is not visible."""
    if tracks.controllable is None or tracks.scene.controllable is None:
        return None
    again = [each for each in next_objects or [] if each.is_controllable and each.is_seen_whole]
    return again[0] if again else locate_controllable(next_CHW, [], tracks.scene.controllable)


def same_apart_from_controllable(tracks: Sequence[Tracks], others: Sequence[Tracks]) -> bool:
    """Whether all objects but the controllable one are predicted the same, of tracks of the same frames."""
    pairs = [
        (one, other)
        for each, same in zip(tracks, others, strict=True)
        for one, other in zip(each.objects, same.objects, strict=True)
        if not one.is_controllable
    ]
    return all(
        one.occluded == other.occluded and np.array_equal(one.predicted_position, other.predicted_position)  # pyright: ignore[reportArgumentType]
        for one, other in pairs
    )
