"""The scene model is fitted to recordings without labels: background, occluders, rigid parts, row colours.

A border never changes: objects pass behind it. The pixels of a segment of a digit always change together,
which makes them a rigid part.

Dimensions: C colour channels, H W frame.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from statistics import mode

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from ghostpad.frames.store import FrameStore
from ghostpad.objects.detection import Object, RowColors, detect, pack_colors, temporal_mode
from ghostpad.objects.recordings import Recordings, TrackedObject, appearance_key
from ghostpad.objects.scene import SceneModel

ClipChanges = tuple[np.ndarray, np.ndarray]  # flat indices of pixels whose mode changed, and packed colours

CLIP = 8  # frames whose temporal mode is taken: what passes by is not in most of them
MAX_CHANGED_SHARE = 1 / 4  # of a frame, above which a change between clips is a change of scene
MIN_CO_CHANGE = 0.5  # intersection over union of the changes of two neighbouring pixels of a part
MIN_CHANGED_SHARE = 0.9  # of a part, of which any changes, on average
MIN_CHANGES = 2  # of a part
MIN_PART_AREA, MAX_PART_AREA = 4, 512  # pixels
MIN_OCCLUDER_SIDE = 6  # pixels; in smaller areas that never change no object happened to pass
TYPICAL_FRAMES, TYPICAL_SHARE = 256, 0.5  # recorded frames, and the share that must show their mode
MIN_ROW_COUNT, ROW_COLOR_SHARE = 2, 0.9  # objects that show a row, and the share that has its colour
MIN_KNOWN_ROWS = 0.5  # share of the rows with objects whose colour is known, for row colours to be used


def fit_scene(
    scene: SceneModel, recordings: Recordings, rows: np.ndarray, tracked: Sequence[TrackedObject]
) -> None:
    """Fit occluders, rigid parts, row colours and the typical frame, in place.

    Row colours are sought in the transitions `rows`.
    """
    occluders, rigid_parts = find_background(recordings)
    typical_frame, is_typical = find_typical_frame(recordings)
    scene.store(occluders=occluders, rigid_parts=rigid_parts)
    scene.store(typical_frame=typical_frame, is_typical=is_typical)
    small = commonest_sprite(tracked)
    if small is not None:
        found = find_row_colors(recordings, rows, small)
        if found is not None:
            scene.store_object("small", small)
            scene.store(row_colors=found.colors, row_colors_known=found.known)


def find_background(recordings: Recordings) -> tuple[np.ndarray, np.ndarray]:
    """Occluders and rigid parts (H, W) of all episodes, see `Scene`."""
    episodes = np.unique(recordings.transitions.episode_index).tolist()
    work = partial(_changes_of, recordings.transitions.store, recordings.gray)
    changes = recordings.in_processes(work, episodes, "finding the background", "episodes")
    ever = np.any([mask for mask, _ in changes], axis=0)
    # Where nothing moves at all, there is no telling occluders. They may extend beyond the frame.
    margin = MIN_OCCLUDER_SIDE
    padded = np.pad(~ever, margin, constant_values=True)
    occluders = ndimage.binary_opening(padded, np.ones((margin, margin)))[margin:-margin, margin:-margin]
    return occluders & ever.any(), _part_numbers([clip for _, clips in changes for clip in clips], ever.shape)


def _changes_of(store: FrameStore, gray: bool, episode: int) -> tuple[np.ndarray, list[ClipChanges]]:
    """Pixels (H, W) of an episode that ever change, and the changes of their mode by clip."""
    num_frames, mode_before, last = store.episodes[episode].num_frames, None, None
    ever = np.zeros((store.height, store.width), bool)
    clips: list[ClipChanges] = []
    for first in range(0, num_frames, CLIP):
        frames = store.read(episode, np.arange(first, min(first + CLIP, num_frames)), gray)
        joined = frames if last is None else np.concatenate([last, frames])
        changed = (joined[1:] != joined[:-1]).any((0, 1))
        ever |= changed
        if len(frames) < CLIP:
            break
        mode_now = pack_colors(frames[-1])
        mode_now[changed] = pack_colors(temporal_mode(frames[:, :, changed]))
        if mode_before is not None:
            differs = mode_now != mode_before
            if differs.mean() <= MAX_CHANGED_SHARE:
                clips.append((np.flatnonzero(differs), mode_now[differs]))
        mode_before, last = mode_now, frames[-1:]
    return ever, clips


def _part_numbers(clips: Sequence[ClipChanges], size: tuple[int, ...]) -> np.ndarray:
    """Number (H, W) of the rigid part of each pixel: a component of pixels that change together."""
    labels = _co_changing([pixels for pixels, _ in clips], *size)
    areas = np.bincount(labels)
    num_changes, shares = np.zeros((2, len(areas)))
    for pixels, keys in clips:
        parts, part_of, counts = np.unique(labels[pixels], return_inverse=True, return_counts=True)
        # A part of two colours did not change as a whole.
        last_keys = np.zeros(len(parts), keys.dtype)
        last_keys[part_of] = keys
        is_mixed = np.bincount(part_of, keys != last_keys[part_of]) > 0
        num_changes[parts] += 1
        shares[parts] += np.where(is_mixed, 0, counts / areas[parts])
    is_part = (areas >= MIN_PART_AREA) & (areas <= MAX_PART_AREA) & (num_changes >= MIN_CHANGES)
    is_part &= shares >= MIN_CHANGED_SHARE * num_changes
    return np.where(is_part, is_part.cumsum(), 0)[labels].reshape(size).astype(np.int32)


def _co_changing(pixels: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Component (H · W,) of each pixel, where neighbours that mostly change together are joined."""
    num = height * width
    counts, with_right, with_below = (np.zeros(num + width, np.int64) for _ in range(3))
    changes = np.zeros(num + width, bool)
    for changed in pixels:
        changes[changed] = True
        counts[changed] += 1
        with_right[changed] += changes[changed + 1] & ((changed + 1) % width > 0)
        with_below[changed] += changes[changed + width]
        changes[changed] = False
    pairs = []
    for both, offset in ((with_right[:num], 1), (with_below[:num], width)):
        either = counts[:num] + counts[offset : num + offset] - both
        joined = np.flatnonzero((both >= MIN_CHANGES) & (both >= MIN_CO_CHANGE * either))
        pairs.append(np.stack([joined, joined + offset]))
    first, second = np.concatenate(pairs, 1)
    graph = sparse.coo_array((np.ones(len(first), bool), (first, second)), shape=(num, num))
    return connected_components(graph, directed=False)[1]


def find_typical_frame(recordings: Recordings) -> tuple[np.ndarray, np.ndarray]:
    """The temporal mode (C, H, W) uint8 of recorded frames, and where (H, W) bool most of them show it."""
    rng = np.random.default_rng(recordings.seed)
    rows = rng.permutation(len(recordings.transitions))[:TYPICAL_FRAMES]
    frames = np.stack([recordings.read(row, 1)[0] for row in rows])
    typical = temporal_mode(frames)
    return typical, (frames == typical).all(1).mean(0) >= TYPICAL_SHARE


def commonest_sprite(tracked: Sequence[TrackedObject]) -> Object | None:
    """A sprite of the commonest appearance."""
    sprites = [each.object for each in tracked if each.object.is_sprite and not each.is_new]
    keys = [appearance_key(each) for each in sprites]
    return sprites[keys.index(mode(keys))] if keys else None


def find_row_colors(recordings: Recordings, rows: np.ndarray, small: Object) -> RowColors | None:
    """The colour that new objects with the shape of a small one have on each row.

    None where the row seldom decides on it, as with two objects of one shape.
    """
    height = recordings.transitions.store.height
    colors, known = np.zeros((len(small.colors), height), np.int16), np.zeros(height, bool)
    seen: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    work = partial(_colors_by_row, recordings, small.mask)
    for row, color in recordings.in_chunks(work, rows, "finding row colours"):
        seen[row].append(color)
    for row, shown in seen.items():
        if len(shown) >= MIN_ROW_COUNT:
            colors[:, row] = mode(shown)
            known[row] = shown.count(mode(shown)) >= ROW_COLOR_SHARE * len(shown)
    if known.sum() < MIN_KNOWN_ROWS * len(seen):
        return None
    return RowColors(small.mask, colors, known)


def _colors_by_row(
    recordings: Recordings, mask: np.ndarray, rows: np.ndarray
) -> list[tuple[int, tuple[int, ...]]]:
    found = []
    for row in rows:
        before, now = recordings.read(row, 2)
        for each in detect(now, before) or []:
            if np.array_equal(each.mask, mask):
                color = tuple(each.colors[:, 0].tolist())
                found += [(int(each.position[0]) + offset, color) for offset in range(len(mask))]
    return found


def clear_resting_area(scene: SceneModel, edges: tuple[np.ndarray, np.ndarray]) -> None:
    """Remove rigid parts within the range of the controllable object, in place: it rests there now and then.

    `edges` are its lowest and highest row and column (2,).
    """
    controllable = scene.object("controllable")
    assert controllable is not None
    (top, left), (bottom, right) = edges[0], edges[1] + controllable.mask.shape
    scene.get_buffer("rigid_parts")[top:bottom, left:right] = 0
