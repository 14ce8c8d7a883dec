"""The frame store: every frame of a data set, lossless and memory-mapped.

A folder with `manifest.json` and one `.npy` array per episode. Frames are palette indices if the data set has
at most 256 colours (a third of the size of RGB), gray values if the sources are gray, RGB otherwise.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.encoding import MAX_COLORS, Encoding, EncodingName, rgb_of
from ghostpad.frames.manifest import MANIFEST, Episode, read_manifest
from ghostpad.frames.splits import Splitting
from ghostpad.luma import luma, to_channels
from ghostpad.sources.actions import MOST_CONTROLS
from ghostpad.sources.base import MAX_SIDE, BadInput, damage_is
from ghostpad.sources.branches import Branches
from ghostpad.sources.colors import pack_colors

_WHITE = np.float32(255)


@dataclass(frozen=True)
class FrameStore:
    """All frames of a data set; open one with `FrameStore.open`."""

    path: Path
    height: int
    width: int
    pixel_encoding: Encoding
    episodes: tuple[Episode, ...]
    fingerprint: str
    """SHA-256 (hex) over names, lengths and pixels of the episodes."""
    splitting: Splitting
    """How its episodes were assigned to splits."""
    options: dict[str, Any]
    """Options of the ingest that decided its frames."""
    units: dict[str, str]
    """Fingerprint of each unit of the recording, by name."""
    action_offset: int = 0
    """The control of the transition from frame t is the recorded action t + offset."""
    action_offset_why: str = ""
    """How the offset was found."""
    notices: tuple[str, ...] = ()
    """What the recording holds and the store does not, or holds changed."""

    @classmethod
    def open(cls, path: Path | str) -> "FrameStore":
        """Open the store at `path`.

        Raises:
            UserError: `path` is not a complete store of this version.
        """
        path = Path(path)
        manifest = read_manifest(path)
        try:
            colors = np.array(manifest["colors"], np.uint8).reshape(-1, 1, 3)
            if manifest["encoding"] not in get_args(EncodingName) or len(colors) > MAX_COLORS:
                raise ValueError("not an encoding")
            if not (1 <= int(manifest["height"]) <= MAX_SIDE and 1 <= int(manifest["width"]) <= MAX_SIDE):
                raise ValueError("not a size")
            if not manifest["episodes"]:
                raise ValueError("no episodes")
            offset = manifest.get("action_offset") or {"frames": 0, "why": ""}
            return cls(
                path=path,
                height=int(manifest["height"]),
                width=int(manifest["width"]),
                pixel_encoding=Encoding(manifest["encoding"], tuple(pack_colors(colors)[:, 0].tolist())),
                episodes=tuple(Episode.from_row(path, row) for row in manifest["episodes"]),
                fingerprint=manifest["fingerprint"],
                splitting=Splitting(**manifest.get("splitting", {})),
                options=dict(manifest["options"]),
                units=dict(manifest["units"]),
                action_offset=int(offset["frames"]),
                action_offset_why=str(offset["why"]),
                notices=tuple(map(str, manifest.get("notices", ()))),
            )
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
            raise UserError(f"{path / MANIFEST}: damaged; delete {path} and ingest again") from None

    @property
    def encoding(self) -> EncodingName:
        """How frames are stored: `palette`, `gray` or `rgb`."""
        return self.pixel_encoding.name

    @cached_property
    def palette(self) -> np.ndarray | None:
        """(P, 3) uint8 RGB, None unless the encoding is `palette`."""
        return (
            np.ascontiguousarray(rgb_of(self.pixel_encoding.colors)) if self.encoding == "palette" else None
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a path: memory maps would be pickled as their contents."""
        return (FrameStore.open, (self.path,))

    @cached_property
    def _arrays(self) -> dict[int, np.ndarray]:
        return {}

    def array(self, episode_index: int) -> np.ndarray:
        """Frames of an episode as stored, memory-mapped: uint8 (N, H, W), or (N, H, W, 3) for `rgb`."""
        if episode_index not in self._arrays:
            path = self.episodes[episode_index].files.with_suffix(".npy")
            try:
                # a plain view of the map: numpy's memmap class makes every small access slow
                array = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
            except (OSError, ValueError):
                raise UserError(f"{path}: missing or damaged; delete {self.path} and ingest again") from None
            channels = (3,) if self.encoding == "rgb" else ()
            shape = (self.episodes[episode_index].num_frames, self.height, self.width, *channels)
            if array.shape != shape or array.dtype != np.uint8:
                raise UserError(f"{path}: differs from the manifest; delete {self.path} and ingest again")
            self._arrays[episode_index] = array
        return self._arrays[episode_index]

    def colors(self, grayscale: bool) -> np.ndarray | None:
        """The palette as (P, 3) uint8, or as (P, 1) luma (ITU-R 601, as Pillow's "L"); None without one."""
        if self.palette is None or not grayscale:
            return self.palette
        return luma(self.palette)[:, None]

    def read(self, episode_index: int, frame_indices: np.ndarray | slice, grayscale: bool) -> np.ndarray:
        """Read frames of one episode as uint8 (n, C, H, W): luma (C = 1) if `grayscale`, else RGB (C = 3)."""
        frames = self.array(episode_index)[frame_indices]
        if self.encoding == "palette":
            indices, tables = frames.tobytes(), self._tables[grayscale]
            return np.stack([_look_up(indices, table).reshape(frames.shape) for table in tables], axis=1)
        if self.encoding == "gray":
            return np.stack([frames] * (1 if grayscale else 3), axis=1)
        return to_channels(frames, grayscale)

    def read_pair(self, episode_index: int, frame: int, next_frame: int, grayscale: bool) -> np.ndarray:
        """Read two frames of one episode as float32 (2, C, H, W) in [0, 1], C = 1 if `grayscale` else 3.

        Fast for neighbours: of the second frame only the pixels that differ are looked up.
        """
        if self.encoding != "palette":
            pair = self.read(episode_index, np.array([frame, next_frame]), grayscale)
            return pair / _WHITE
        array, tables = self.array(episode_index), self._tables[grayscale]
        first, second = array[frame].reshape(-1), array[next_frame].reshape(-1)
        changed = np.flatnonzero(first != second)
        indices, new_indices = first.tobytes(), second[changed].tobytes()
        pair = np.empty((2, len(tables), self.height * self.width), np.float32)
        for channel, table in enumerate(tables):
            np.divide(_look_up(indices, table), _WHITE, out=pair[0, channel])
            pair[1, channel] = pair[0, channel]
            pair[1, channel, changed] = _look_up(new_indices, table) / _WHITE
        return pair.reshape(2, -1, self.height, self.width)

    @cached_property
    def _tables(self) -> dict[bool, list[bytes]]:
        """By `grayscale`, per channel: the value of each of the 256 possible indices."""
        tables = {}
        for grayscale in (True, False):
            colors = self.colors(grayscale)
            assert colors is not None
            padded = np.zeros((colors.shape[1], 256), np.uint8)
            padded[:, : len(colors)] = colors.T
            tables[grayscale] = [channel.tobytes() for channel in padded]
        return tables

    def truth(self, episode_index: int) -> dict[str, np.ndarray] | None:
        """The true state of the game in each frame, read from its memory; None when not recorded."""
        path = self.episodes[episode_index].files.with_suffix(".truth.npz")
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)

    def branches(self, episode_index: int) -> Branches | None:
        """The next frame of some frames under every control, in RGB; None when not recorded."""
        path = self.episodes[episode_index].files.with_suffix(".branches.npz")
        if not path.exists():
            return None
        try:
            with damage_is("damaged"):
                return Branches.load(path)
        except BadInput as bad:
            raise UserError(f"{path}: {bad}; delete {self.path} and ingest again") from None

    def controls(self, episode_index: int) -> np.ndarray | None:
        """The control held during each transition, int8 (N − 1,); None when not recorded.

        Some recordings store with a frame the action taken in it, others the one that led to it: the action
        offset is applied here. Beyond the first and the last recorded action these are repeated.
        """
        metadata = self.episodes[episode_index].metadata
        if not metadata or "controls" not in metadata:
            return None
        controls = np.array([*metadata["controls"], *metadata.get("controls_after", [])], np.int64)
        if metadata.get("names_by_episode"):
            shared = {name: number for number, name in enumerate(self._shared_names)}
            numbers = [shared.get(name, MOST_CONTROLS - 1) for name in metadata["control_names"]]
            controls = np.array(numbers, np.int64)[controls]
        places = np.arange(len(metadata["controls"])) + self.action_offset
        return controls[np.clip(places, 0, len(controls) - 1)].astype(np.int8)

    def control_names(self, episode_index: int) -> list[str] | None:
        """Names of the controls, by their number; None when no controls were recorded."""
        metadata = self.episodes[episode_index].metadata
        if not metadata:
            return None
        if metadata.get("names_by_episode"):
            return self._shared_names
        return metadata.get("control_names") or (self._number_names if "controls" in metadata else None)

    @cached_property
    def _shared_names(self) -> list[str]:
        """Names of all episodes that number them by themselves, in the order of their appearance."""
        names: dict[str, None] = {}
        for episode in self.episodes:
            if (metadata := episode.metadata) and metadata.get("names_by_episode"):
                names |= dict.fromkeys(metadata["control_names"])
        return list(names) if len(names) <= MOST_CONTROLS else [*list(names)[: MOST_CONTROLS - 1], "other"]

    @cached_property
    def _number_names(self) -> list[str] | None:
        """Names for controls that have none in any episode: their numbers."""
        known = [episode.metadata for episode in self.episodes if episode.metadata]
        if any(metadata.get("control_names") for metadata in known):
            return None
        highest = max((max(metadata.get("controls") or [-1]) for metadata in known), default=-1)
        return [str(number) for number in range(highest + 1)]


def _look_up(indices: bytes, table: bytes) -> np.ndarray:
    """Value of each index; `translate` looks single bytes up several times faster than numpy does."""
    return np.frombuffer(indices.translate(table), np.uint8)
