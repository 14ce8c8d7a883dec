"""Episodes in arrays: the base of the readers of npz, HDF5, zarr and the like.

A format provides an `ArrayFile`, which lists named arrays and reads them block by block. Everything else is
here: frames are decoded, actions become controls; flags, positions, time or scene cuts start new episodes.

Dimensions: N frames, E episodes of T frames, H W frame, C channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ghostpad.errors import UserError
from ghostpad.sources.actions import Controls, UnitWithActions, controls_or_reason
from ghostpad.sources.array_keys import Keys, Shapes, find_starts, find_trajectories, plain_name
from ghostpad.sources.base import (
    Frame,
    IngestLog,
    Source,
    Unit,
    damage_is,
    damage_is_rejected,
    fingerprint,
    frame_rate,
    stamp,
    stamps,
)
from ghostpad.sources.pixels import array_colors, image_colors

BLOCK_BYTES = 1 << 22
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")  # JPEG, PNG, WebP


class ArrayFile(ABC):
    """An opened file of named arrays."""

    shapes: Shapes
    """Shape and type of every array, by its path in the file."""
    attributes: Mapping[str, Any]
    """What the file says about itself: `fps` is looked for."""

    @abstractmethod
    def blocks(self, key: str) -> Iterator[np.ndarray]:
        """An array along its first axis, a few rows at a time; at least two rows, except at the end."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def read(self, key: str) -> np.ndarray:
        """A whole array."""
        return np.concatenate(list(self.blocks(key)))

    def rows_at_once(self, key: str) -> int:
        """Rows of a block: a few megabytes."""
        shape, dtype = self.shapes[key]
        return max(2, BLOCK_BYTES // max(1, int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize))

    def holds_images(self, key: str) -> bool:
        """Whether the rows of an array are encoded images."""
        shape, dtype = self.shapes[key]
        is_text = len(shape) == 1 and dtype.kind in "OSV"
        is_padded = len(shape) == 2 and dtype == np.uint8 and shape[1] > 100
        if not (is_text or is_padded) or not shape[0]:
            return False
        first = next(self.blocks(key))[0]
        return not isinstance(first, str) and bytes(first)[:4].startswith(_MAGIC)


Opener = Callable[[Path], ArrayFile]


class ArraySource(Source):
    """Files of arrays: a file, or each trajectory in it, is an episode or several."""

    options = ("frames_key", "actions_key", "fps", "episode_seconds", "scene_cut")
    is_episode = True
    suffixes: ClassVar[tuple[str, ...]]
    opener: ClassVar[Opener]

    def recognizes(self, path: Path) -> bool:
        """Whether `path` has the suffix of such a file."""
        return path.name.lower().endswith(self.suffixes) and not path.is_dir()

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """The trajectories of a file; only the headers of its arrays are read."""
        opener = type(self).opener
        wanted = options.get("frames_key"), options.get("actions_key")
        trajectories: list[Keys] = []
        images, shapes, fps = tuple[str, ...](), Shapes(), None
        with damage_is_rejected(path, log), closing(opener(path)) as file:
            images = tuple(key for key in file.shapes if file.holds_images(key))
            trajectories = find_trajectories(file.shapes, images, *wanted)
            shapes, fps = file.shapes, frame_rate(file.attributes.get("fps"))
        fps = options.get("fps") or fps
        seconds = options.get("episode_seconds")
        if trajectories and seconds is not None and fps is None:
            raise UserError(
                f"{path} does not say how many frames a second it has: --episode-seconds needs --fps"
            )
        units: list[Unit] = []
        for keys in trajectories:
            name = f"{path.name}/{keys.name}" if keys.name else path.name
            (shape, _), *more = (shapes[key] for key in keys.frames)
            per_episode = shape[1] if len(shape) == 5 else None
            steps = per_episode or (round(seconds * fps) if seconds and fps else None)
            count = 1 + len(more) if more else shape[0] * (per_episode or 1)
            own, is_encoded = fingerprint(repr((name, stamps(path), keys))), keys.frames[0] in images
            extra = {"fps": fps, "scene_cut": options.get("scene_cut")}
            units.append(ArrayUnit(name, own, count, path, opener, keys, is_encoded, steps, **extra))
        return units


@dataclass(frozen=True)
class ArrayUnit(UnitWithActions):
    """The frames of one trajectory."""

    opener: Opener
    keys: Keys
    is_encoded: bool
    """Whether the frames are encoded images."""
    steps: int | None
    """Start a new episode after this many frames."""

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the frames."""
        with closing(self.opener(self.path)) as file:
            starts = self._starts(file)
            for number, picture in enumerate(self._pictures(file)):
                decoded = (image_colors if self.is_encoded else array_colors)(picture, log)
                yield Frame(self.name, number, *decoded, str(self.path), number in starts)

    def controls(self, episode: str) -> Controls | str | None:
        """See `UnitWithActions`."""
        return _read_controls(self, stamp(self.path)) if self.keys.actions else None

    def _pictures(self, file: ArrayFile) -> Iterator[Any]:
        first, *more = self.keys.frames
        if more:
            yield from map(file.read, self.keys.frames)
            return
        stacked = None
        for block in file.blocks(first):
            if self.is_encoded:
                yield from map(bytes, block)
                continue
            block = block.reshape(-1, *block.shape[2:]) if block.ndim == 5 else block
            stacked = _stack_axis(block) if stacked is None else stacked
            yield from block.take(-1, stacked) if stacked else block

    def _starts(self, file: ArrayFile) -> set[int]:
        """Numbers of the frames that start an episode."""
        found = set(range(0, self.num_frames, self.steps)) if self.steps else set()
        for key in self.keys.borders:
            values = np.atleast_1d(file.read(key)).reshape(-1)
            if values.dtype.kind in "biuf":
                found |= set(find_starts(plain_name(key), values, self.num_frames).tolist())
        return found


def _stack_axis(block: np.ndarray) -> int:
    """The axis along which pictures are stacks, the newest frame last; 0 if they are no stacks."""
    for axis in (1, block.ndim - 1) if block.ndim == 4 else ():
        if block.shape[axis] in (2, *range(4, 17)):
            places = range(block.shape[axis])
            older, newer = block[1:].take(places[:-1], axis), block[:-1].take(places[1:], axis)
            if len(older) and (older == newer).all((1, 2, 3)).mean() > 0.5:
                return axis
    return 0


@lru_cache(maxsize=8)
def _read_controls(unit: ArrayUnit, when: tuple[int, int]) -> Controls | str:
    keys, count = unit.keys, unit.num_frames
    with damage_is("has actions that cannot be read"), closing(unit.opener(unit.path)) as file:
        first, *more = (file.read(key) for key in keys.actions)
        actions = np.stack([first, *more]) if more else first
        names = np.atleast_1d(file.read(keys.names)).astype(str).tolist() if keys.names else None
    if unit.steps and actions.ndim > 1 and len(actions) * unit.steps == count and len(actions) != count:
        if actions.shape[1] == unit.steps - 1:  # no action in the last frame of an episode
            actions = np.concatenate([actions, actions[:, -1:]], 1)
        actions = actions.reshape(-1, *actions.shape[2:])
    if len(actions) not in (count, count - 1):
        return f"actions are {len(actions)}, but there are {count} frames"
    return controls_or_reason(actions, names)
