"""Which arrays of a file hold frames, actions and the ends of episodes: found by shape and name, or given.

Keys are paths in the file, `data/demo_0/obs/image`. A *trajectory* is a group of arrays that is one episode.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ghostpad.errors import UserError
from ghostpad.sources.base import BadInput, natural_key
from ghostpad.sources.pixels import is_picture

Shapes = dict[str, tuple[tuple[int, ...], np.dtype]]  # shape and type of every array, by its key


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# The last part of a key, as `plain_name` gives it; the most telling names first.
FRAMES = _words(
    "frames frame images image imgs img pixels rgb screens screen video videos observations observation obs "
    "states state"
)
ACTIONS = _words("actions action acts act controls control buttons button keys keyspressed")
_NAMES = _words("controlnames actionnames actionmeanings")
_NOT_FRAMES = _words("next depth mask seg thumb latent feature")
FLAGS = _words(
    "done dones terminal terminals terminated terminations truncated truncations timeout timeouts islast "
    "isterminal"
)
"""Arrays that are true in the last frame of an episode."""
STARTS = _words("isfirst first episodestart episodestarts starts start reset resets")
"""Arrays that are true in the first frame of an episode, or hold its number."""
ENDS = _words("episodeends ends trajends")
"""Arrays with a number per episode: of its last frame, or of the first frame after it (as in Zarr)."""
LENGTHS = _words("episodelengths lengths episodelens trajlengths")
IDS = _words("episode episodeid episodeids episodeindex episodeidx traj trajid trajectoryid trajectoryindex")
"""Arrays that change with the episode."""
_CAMERAS = re.compile(r"(cam|camera|view|image|img|rgb|sensor)s?[_-]?\d*$", re.IGNORECASE)
_EPISODES = re.compile(
    r"(arr|ep|episode|traj|trajectory|demo|seq|sequence|rollout|run|game|video|clip|chunk)?s?[_-]?\d+$",
    re.IGNORECASE,
)
_SMALLEST_SIDE = 8
_LARGEST_STACK = 16


@dataclass(frozen=True)
class Keys:
    """The arrays of one trajectory."""

    name: str
    """Path of the trajectory in the file; empty when the file has no such groups."""
    frames: tuple[str, ...]
    """One array of frames, or several of a picture each."""
    actions: tuple[str, ...]
    names: str | None
    """Names of the controls."""
    borders: tuple[str, ...]
    """Arrays that say where episodes begin or end; none in a trajectory among several."""


def plain_name(key: str) -> str:
    """The last part of a key, in small letters, without punctuation and digits."""
    return re.sub(r"[^a-z]", "", key.rpartition("/")[2].lower())


def best_named(keys: Iterable[str], names: tuple[str, ...] = FRAMES) -> list[str]:
    """The keys, in their order, whose plain names come first in `names`; keys with other names come last."""
    order = {name: rank for rank, name in enumerate(names)}
    ranks = {key: order.get(plain_name(key), len(order)) for key in keys}
    best = min(ranks.values(), default=0)
    return [key for key, rank in ranks.items() if rank == best]


def is_frames_name(name: str) -> bool:
    """Whether an array of this name, without a number, is likely to hold frames."""
    return name.lower() in FRAMES


def find_trajectories(
    shapes: Shapes, encoded: tuple[str, ...], frames_key: str | None, actions_key: str | None
) -> list[Keys]:
    """The trajectories of a file in natural order.

    `encoded` are keys of arrays that hold encoded images. Frames and actions are found where no key, or the
    end of one, is given.

    Raises:
        BadInput: there are no frames.
        UserError: several arrays may be the frames, or a key that was given is not there.
    """
    pictures = [key for key in shapes if key in encoded or _holds_frames(*shapes[key])]
    if frames_key is not None:
        pictures = _matching(shapes, frames_key, "--frames-key")
    if not pictures:
        raise BadInput(f"holds no array of frames, but {_listing(shapes)}; name one with --frames-key")
    groups: dict[str, list[str]] = {}
    for key in pictures:
        groups.setdefault(_trajectory_of(key, shapes), []).append(key)
    found = []
    for name in sorted(groups, key=natural_key):
        inside = [key for key in shapes if len(groups) == 1 or key.startswith(f"{name}/")]
        frames = _choose_frames(groups[name], shapes)
        actions = [key for key in inside if plain_name(key) in ACTIONS]
        if actions_key is not None:
            actions = [key for key in inside if _matches(key, actions_key)] or _matching(
                shapes, actions_key, "--actions-key"
            )
        actions.sort(key=natural_key)
        if len(frames) == 1:
            actions = best_named(actions, ACTIONS)
        borders = [key for key in inside if plain_name(key) in (*FLAGS, *STARTS, *ENDS, *LENGTHS, *IDS)]
        found.append(
            Keys(
                name=name if len(groups) > 1 else "",
                frames=frames,
                actions=tuple(actions if len(frames) == len(actions) > 1 else actions[:1]),
                names=next((key for key in shapes if plain_name(key) in _NAMES), None),
                borders=tuple(borders if len(groups) == 1 else ()),
            )
        )
    return found


def find_starts(name: str, values: np.ndarray, num_frames: int) -> np.ndarray:
    """Numbers of the frames that start an episode, by an array of this name."""
    is_per_frame = len(values) in (num_frames, num_frames - 1)
    if name in LENGTHS:
        return np.cumsum(values.astype(np.int64))
    if name in IDS:
        return np.flatnonzero(np.diff(values)) + 1 if is_per_frame else np.empty(0, np.int64)
    if is_per_frame and np.isin(values, (0, 1)).all():
        if name in STARTS:
            return np.flatnonzero(values)
        last_false = np.flatnonzero(values == 0).max(initial=-1)
        ends = np.flatnonzero(values[: last_false + 1])  # flags that stay on to the end mean one end
        return ends + 1 + num_frames - len(values)
    if name in FLAGS:
        return np.empty(0, np.int64)
    inclusive = name in ENDS and values.max(initial=0) == num_frames - 1
    return values.astype(np.int64) + inclusive


def _holds_frames(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether an array is frames (N, …), episodes of frames (E, N, …), or one picture (H, W, 3)."""
    if len(shape) == 3 and shape[2] == 3 and dtype == np.uint8:
        return min(shape[:2]) >= _SMALLEST_SIDE
    picture = shape[2:] if len(shape) == 5 else shape[1:]
    if len(picture) == 3 and min(picture[0], picture[2]) <= _LARGEST_STACK:  # any number of stacked frames
        picture = picture[1:] if picture[0] < picture[2] else picture[:2]
        dtype = np.dtype(np.uint8) if dtype.kind in "fiu" else dtype
    return len(picture) == 2 and min(picture) >= _SMALLEST_SIDE and is_picture(picture, dtype)


def _trajectory_of(key: str, shapes: Shapes) -> str:
    parts = key.split("/")
    for depth in range(1, len(parts)):
        prefix = "/".join(parts[:depth])
        has_actions = any(f"{prefix}/{name}" in shapes for name in ACTIONS)
        if has_actions or (parts[depth - 1][-1:].isdigit() and not _CAMERAS.match(parts[depth - 1])):
            return prefix
    return key if len(shapes[key][0]) > 3 and _EPISODES.match(parts[-1]) else ""


def _choose_frames(keys: list[str], shapes: Shapes) -> tuple[str, ...]:
    if len(keys) > 1 and all(len(shapes[key][0]) == 3 and re.search(r"\d", key) for key in keys):
        patterns = {re.sub(r"\d+", "#", key) for key in keys}
        if len(patterns) == 1:  # a picture each
            return tuple(sorted(keys, key=natural_key))
    keys = [key for key in keys if not any(word in plain_name(key) for word in _NOT_FRAMES)] or keys
    best = best_named(keys)
    if len(best) > 1:
        listing = _listing({key: shapes[key] for key in best})
        raise UserError(f"several arrays may be the frames: {listing}; choose one with --frames-key")
    return (best[0],)


def _matches(key: str, wanted: str) -> bool:
    key, wanted = f"/{key}", "/" + wanted.strip("/")
    return key.endswith(wanted) or re.sub(r"\d+", "#", key).endswith(wanted)


def _matching(shapes: Shapes, wanted: str, flag: str) -> list[str]:
    found = [key for key in shapes if _matches(key, wanted)]
    if not found:
        raise UserError(f"{flag} {wanted}: there is no such array; there are {_listing(shapes)}")
    return found


def _listing(shapes: Shapes, most: int = 8) -> str:
    texts = [f"{key} {dtype}{list(shape)}" for key, (shape, dtype) in list(shapes.items())[:most]]
    return ", ".join(texts) + (f" and {len(shapes) - most} more" if len(shapes) > most else "") or "nothing"
