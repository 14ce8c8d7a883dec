"""Rendering: frames without composited objects and with them, and repair of the frames that a world draws.

Composited objects are removed from both frames of a transition, so that codes need not describe them, and
are drawn into the next frame at their predicted positions. All other objects are assumed to keep their
velocity, which is motion compensation.

Dimensions: C colour channels, H W frame, h w bounding box.
"""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from ghostpad.objects.detection import COLOR_TOLERANCE, Object, detect, pack_colors
from ghostpad.objects.scene import Tracks
from ghostpad.objects.tracking import locate_next_controllable, seen_again, track_next

MARGIN = 3  # pixels around an object in which its deformed appearance may lie
ROW_SCALE = 1.01  # by which rows count as farther apart than columns: games change less along rows


def without_objects(tracks: Tracks) -> np.ndarray:
    """The newest frame (C, H, W) uint8 without the composited objects."""
    picture = tracks.newest.copy()
    if tracks.controllable is not None:
        _remove_controllable(picture, tracks, tracks.controllable)
    for each in tracks.objects:
        if each.is_composited and not each.is_controllable:
            _remove(picture, tracks, each)
    return picture


def next_without_objects(tracks: Tracks, next_CHW: np.ndarray) -> np.ndarray:
    """The next frame (C, H, W) uint8 without the same objects, as far as it shows them."""
    picture, next_objects = next_CHW.copy(), tracks.next_objects
    if not any(each.is_composited for each in tracks.objects):
        return picture
    if next_objects is None:
        next_objects = track_next(tracks, next_CHW) or []
    controllable = locate_next_controllable(tracks, next_CHW, next_objects)
    if controllable is not None:
        _remove_controllable(picture, tracks, controllable)
    for index, seen in seen_again(next_objects).items():
        if tracks.objects[index].is_composited and not seen.is_controllable:
            inpaint(picture, tracks, seen)
    return picture


def extrapolate(tracks: Tracks, background_CHW: np.ndarray) -> np.ndarray:
    """The next frame (C, H, W) uint8 without the composited objects, all others at constant velocity.

    `background_CHW` is the newest frame `without_objects`.
    """
    picture = background_CHW.copy()
    others = [each for each in tracks.objects if not each.is_composited]
    for each in others:
        if each.deformed is not None or (each.velocity is not None and each.velocity.any()):
            _remove(picture, tracks, each)
    # Those that were seen last are drawn over those that are only remembered.
    for each in sorted(others, key=lambda each: -each.frames_since_seen):
        draw(picture, each, each.extrapolated_position, tracks.scene.occluders)
    return picture


def predicted_mask(tracks: Tracks) -> np.ndarray:
    """Pixels (H, W) bool that composited objects will cover, but for the controllable one."""
    mask = np.zeros(tracks.newest.shape[1:], bool)
    for each, position in _visible(tracks):
        if not each.is_controllable:
            rows, columns, _ = each.pixels_at(position, mask.shape)
            mask[rows, columns] = True
    return mask


def composite(tracks: Tracks, picture_CHW: np.ndarray) -> np.ndarray:
    """A picture (C, H, W) uint8 with the composited objects at their predicted positions."""
    picture = picture_CHW.copy()
    for each, position in _visible(tracks):
        draw(picture, each, position, tracks.scene.occluders)
    return picture


def composite_spawn(tracks: Tracks, picture_CHW: np.ndarray, spawn: Object) -> np.ndarray:
    """A picture (C, H, W) uint8 with an object that a button spawns, unless a small one is there."""
    picture = picture_CHW.copy()
    if any(each.is_small and each.has_moved for each in tracks.objects):
        return picture
    new = detect(picture_CHW, tracks.newest)
    if new is not None and not any(each.matches(spawn) for each in new):
        draw(picture, spawn, spawn.position)
    return picture


def _visible(tracks: Tracks) -> Iterator[tuple[Object, np.ndarray]]:
    """Objects that are predicted to be visible in the next frame, and their positions there."""
    for each in tracks.objects:
        if each.predicted_position is not None and not each.occluded:
            yield each, each.predicted_position


def repair(tracks: Tracks, drawn_CHW: np.ndarray) -> np.ndarray:
    """The drawn next frame (C, H, W) uint8, in agreement with the scene model and without composited objects.

    Rigid parts have one colour each, and whatever looks like a composited object or a fragment of it, and may
    come from it, is removed.
    """
    picture = drawn_CHW.copy()
    sprites = [each for each, _ in _visible(tracks) if not each.is_controllable]
    drawn = detect(picture, tracks.background, tracks.scene.row_colors) if sprites else None
    for sprite in sprites:
        for each in drawn or []:
            if sprite.may_reach(each) and _is_copy_or_fragment(picture, each, sprite, tracks):
                inpaint(picture, tracks, each)
    if tracks.scene.rigid_parts is not None:
        unify_part_colors(picture, tracks.scene.rigid_parts)
    return picture


def _is_copy_or_fragment(picture_CHW: np.ndarray, drawn: Object, sprite: Object, tracks: Tracks) -> bool:
    """Whether a drawn object looks like a sprite, or may be what it was torn into or merged with."""
    if drawn.matches(sprite):
        return True
    shown = sprite.pixels_of_its_color(picture_CHW[:, *drawn.box()], int(drawn.position[0]))
    is_near = np.abs(drawn.colors.mean(1) - sprite.colors.mean(1)).max() <= COLOR_TOLERANCE
    if drawn.area > 2 * sprite.area or not (is_near or shown[drawn.mask].all()):
        return False
    same = (each for each in tracks.objects if each.matches(drawn))
    return not any(np.abs(each.position - drawn.position).max() < 2 for each in same)


def unify_part_colors(picture_CHW: np.ndarray, parts_HW: np.ndarray) -> None:
    """Give each rigid part of a uint8 picture its commonest colour, in place."""
    inside = parts_HW.nonzero()
    parts, keys = parts_HW[inside], pack_colors(picture_CHW)[inside]
    last_keys = np.zeros(parts.max(initial=0) + 1, keys.dtype)
    last_keys[parts] = keys
    for mixed in np.unique(parts[keys != last_keys[parts]]):
        rows, columns = (part[parts == mixed] for part in inside)
        _, shown, counts = np.unique(keys[parts == mixed], return_index=True, return_counts=True)
        common = shown[counts.argmax()]
        picture_CHW[:, rows, columns] = picture_CHW[:, rows[common], columns[common], None]


def draw(
    frame_CHW: np.ndarray, drawn: Object, position_2: np.ndarray, occluders_HW: np.ndarray | None = None
) -> None:
    """Draw an object at a position, in place, as far as it is inside the frame and not behind occluders.

    One that would be hidden wholly is drawn over them: recordings may never have shown it there.
    """
    rows, columns, inside = drawn.pixels_at(position_2, frame_CHW.shape[1:])
    colors = drawn.colors_at(position_2)[:, inside]
    if occluders_HW is not None:
        visible = ~occluders_HW[rows, columns]
        if visible.any():
            rows, columns, colors = rows[visible], columns[visible], colors[:, visible]
    frame_CHW[:, rows, columns] = colors


def _remove(picture_CHW: np.ndarray, tracks: Tracks, removed: Object) -> None:
    """Remove an object from the newest frame, in place, if it is visible there."""
    if removed.deformed is not None:
        box = removed.box(MARGIN)
        part, background = picture_CHW[:, *box], tracks.background[:, *box]
        colors, counts = np.unique(part.reshape(len(part), -1), axis=1, return_counts=True)
        commonest = colors[:, counts.argmax(), None, None]
        hidden = (part != background).any(0) & (part != commonest).any(0)
        hidden[[0, -1]] = hidden[:, [0, -1]] = False
        _fill(part, background, hidden, hidden)
    elif removed.frames_since_seen == 1:
        inpaint(picture_CHW, tracks, removed)


def _remove_controllable(frame_CHW: np.ndarray, tracks: Tracks, removed: Object) -> None:
    """Remove the controllable object; where it may have rested all the time, the typical frame is shown."""
    inpaint(frame_CHW, tracks, removed)
    scene = tracks.scene
    if scene.typical_frame is not None and scene.is_typical is not None:
        rows, columns, inside = removed.pixels_at(removed.position, frame_CHW.shape[1:])
        rested = removed.always_covered[removed.mask][inside] & scene.is_typical[rows, columns]
        rows, columns = rows[rested], columns[rested]
        frame_CHW[:, rows, columns] = scene.typical_frame[:, rows, columns]


def inpaint(frame_CHW: np.ndarray, tracks: Tracks, removed: Object) -> None:
    """Replace an object by what is behind it, in place."""
    box, (height, width) = removed.box(1), removed.mask.shape
    hidden = np.zeros(frame_CHW[0, *box].shape, bool)
    top, left = removed.position[0] - box[0].start, removed.position[1] - box[1].start
    inside = slice(top, top + height), slice(left, left + width)
    hidden[inside] = removed.mask
    if tracks.scene.occluders is not None:
        # Where it is visible in front of an occluder nevertheless, it is removed.
        unchanged = (frame_CHW[:, *box] == tracks.background[:, *box]).all(0)
        hidden &= ~(tracks.scene.occluders[box] & unchanged)
    # The background may have the object's colour, but not where it changed or was covered all the time.
    uncertain = tracks.changed[box].copy()
    uncertain[inside] |= removed.always_covered
    _fill(frame_CHW[:, *box], tracks.background[:, *box], hidden, uncertain)


def _fill(
    frame_Chw: np.ndarray, background_Chw: np.ndarray, hidden_hw: np.ndarray, uncertain_hw: np.ndarray
) -> None:
    """Inpaint the hidden pixels of a part of a frame, in place.

    Each gets the colour of the background where the nearest visible pixel shows the background too, else the
    colour of that pixel: a rigid part may have vanished. Where the background has the frame's colour but is
    uncertain, the nearest pixel of another colour counts.
    """
    if not hidden_hw.any():
        return
    colors = np.unique(frame_Chw[:, hidden_hw], axis=1)
    same = (frame_Chw[:, None] == colors[:, :, None, None]).all(0).any(0)
    own = (background_Chw == frame_Chw).all(0) & hidden_hw & uncertain_hw
    for part, excluded in ((hidden_hw & ~own, hidden_hw), (own, hidden_hw | same)):
        if excluded.all() or not part.any():
            continue
        nearest = np.zeros((2, *part.shape), np.int32)
        ndimage.distance_transform_edt(excluded, (ROW_SCALE, 1), False, indices=nearest, return_indices=True)
        rows, columns = nearest[:, part]
        seen = frame_Chw[:, rows, columns]
        is_background = (seen == background_Chw[:, rows, columns]).all(0) & ~own[part]
        frame_Chw[:, part] = np.where(is_background, background_Chw[:, part], seen)
