"""Decodes a unit of a recording in a worker, and writes its episodes with their palette and hash."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ghostpad.frames.encoding import HEADER_BYTES, MAX_COLORS, RGB, Encoding, Size, rgb_bytes, rgb_of
from ghostpad.frames.manifest import Episode
from ghostpad.sources.base import BadInput, Frame, IngestLog, OnBad, Rejected, Unit
from ghostpad.sources.branches import Branches
from ghostpad.sources.colors import pack_colors

_BUFFER_BYTES = 1 << 18  # a few frames per system call take half the time of one
# The hash of an episode combines hashes of parts of this many frames; in each, the first is hashed whole,
# the others as changes. It identifies frames in stores and checkpoints, and so must not change.
_HASHED_FRAMES = 1000
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class EncodeTask:
    """One unit, and how its frames are written."""

    unit: Unit
    path_prefix: str
    """Path of the files to write, without number and suffix."""
    size: Size
    """Height and width of all frames of the store."""
    resize: bool
    """Whether frames of another size are resized; otherwise they are rejected."""
    crop: bool
    """When resizing, keep the proportions and cut off what does not fit, instead of stretching."""
    palette: tuple[int, ...]
    """Colours that are known already, so that episodes agree on their indices."""
    on_bad: OnBad
    follow_links: bool = False


@dataclass(frozen=True)
class NewEpisode:
    """An episode on its way into the store."""

    episode: Episode
    encoding: Encoding
    gray: bool
    """Whether every frame came from a gray picture."""


def encode_unit(task: EncodeTask) -> tuple[list[NewEpisode], IngestLog]:
    """Decode a unit and write its episodes, none of them across a rejected frame, a gap or a cut.

    The first part of an episode keeps its name; further ones are called `name@number of the first frame`.

    Raises:
        UserError: a frame is rejected and `on_bad` is "fail".
    """
    unit, log = task.unit, IngestLog(task.on_bad, task.follow_links)
    episodes, singles = list[NewEpisode](), list[Frame]()
    parts = Counter[str]()
    for index, (_, frames) in enumerate(groupby(_fitted_frames(task, log), _EpisodeCount())):
        start = next(frames)
        parts[start.episode] += 1
        name = start.episode if parts[start.episode] == 1 else f"{start.episode}@{start.number}"
        files = Path(f"{task.path_prefix}-{index:06d}")
        writer = EpisodeWriter(files.with_suffix(".npy"), task.size, task.palette)
        for frame in chain((start,), frames):
            writer.add(frame.colors, frame.gray)
        episode = writer.close(name, unit)
        if episode.episode.num_frames == 1:
            singles.append(start)
            files.with_suffix(".npy").unlink()
            continue
        episodes.append(episode)
        _write_beside(task, start, episode.episode, log)
    for frame in singles:
        reason = "has a single frame, so there is no transition in it"
        if parts[frame.episode] > 1:  # what a cut or a gap leaves over
            reason = "has no neighbour to pair it with"
            log.rejected.append(Rejected(unit.name, frame.file, frame.number, reason))
        else:
            log.reject(unit.name, unit.path if unit.name == frame.episode else frame.episode, reason)
    return episodes, log


def _fitted_frames(task: EncodeTask, log: IngestLog) -> Iterator[Frame]:
    for frame in task.unit.decode(log):
        try:
            colors = fit(frame.colors, task.size, task.resize, task.crop)
        except BadInput as bad:
            log.reject(task.unit.name, frame.file, bad, frame.number)
        else:
            yield frame._replace(colors=colors)


class _EpisodeCount:
    """Key that groups consecutive frames by episode."""

    def __init__(self) -> None:
        self.count = 0
        self.next = ("", 0)

    def __call__(self, frame: Frame) -> int:
        self.count += frame.starts_episode or (frame.episode, frame.number) != self.next
        self.next = (frame.episode, frame.number + 1)
        return self.count


def _write_beside(task: EncodeTask, start: Frame, episode: Episode, log: IngestLog) -> None:
    """Write metadata, ground truth and branches beside the frames."""
    unit = task.unit
    try:
        metadata = unit.metadata(start.episode, start.number, episode.num_frames)
        truth = unit.truth(start.number, episode.num_frames)
        branches = unit.branches(start.number, episode.num_frames)
        if branches is not None:
            branches = _fit_branches(branches, task)
    except BadInput as bad:
        log.reject(unit.name, unit.path, bad)
        return
    if metadata is not None:
        episode.files.with_suffix(".json").write_text(json.dumps(metadata), encoding="utf-8")
    if truth is not None:
        np.savez(episode.files.with_suffix(".truth.npz"), allow_pickle=False, **truth)
    if branches is not None and len(branches):
        branches.save(episode.files.with_suffix(".branches.npz"))


def _fit_branches(branches: Branches, task: EncodeTask) -> Branches:
    """Bring the frames of branches to the size of the store; errors as for `fit`."""
    shape = branches.next_frames.shape
    if shape[2:4] == task.size or not len(branches):
        return branches
    flat = branches.next_frames.reshape(-1, *shape[2:])
    fitted = [rgb_of(fit(pack_colors(frame), task.size, task.resize, task.crop).ravel()) for frame in flat]
    return Branches(branches.frame_index, np.stack(fitted).reshape(*shape[:2], *task.size, 3))


def fit(colors: np.ndarray, size: Size, resize: bool, crop: bool) -> np.ndarray:
    """Bring (H, W) colours to a size; BadInput if they have another one and `resize` is off."""
    if colors.shape == size:
        return colors
    (height, width), (had_height, had_width) = size, colors.shape
    if not resize:
        raise BadInput(f"is {had_width}x{had_height}, but the frames before are {width}x{height}")
    image = Image.fromarray(rgb_of(colors.ravel()).reshape(had_height, had_width, 3))
    scale = ImageOps.fit if crop else Image.Image.resize
    return pack_colors(np.asarray(scale(image, (width, height), Image.Resampling.BOX)))


class EpisodeWriter:
    """Writes one episode, frame by frame.

    Consecutive frames differ in few pixels, and only those are looked up and hashed again.
    """

    def __init__(self, path: Path, size: Size, palette: tuple[int, ...]) -> None:
        """Start an episode at `path`; the colours of `palette` already have an index."""
        self._path, self._size = path, size
        self._file = self._open()
        self._palette = list(palette)
        # Index + 1 of each colour; 0 is unknown. Untouched pages of so large an array cost nothing.
        self._table = np.zeros(1 << 24, np.uint16)
        self._table[self._palette] = np.arange(1, len(palette) + 1)
        self._is_rgb, self._gray = False, True
        self._picture = self._previous = np.empty(0, np.uint32)
        self._indices = np.empty(size[0] * size[1], np.uint8)
        self._hashes: list[Any] = []
        self._first_frame = ""
        self._num_frames = self._num_still = 0

    def _open(self) -> BinaryIO:
        """Open the file and leave room for its header, which is written last."""
        file = self._path.open("w+b", buffering=_BUFFER_BYTES)
        file.seek(HEADER_BYTES)
        return file

    def add(self, picture: np.ndarray, gray: bool) -> None:
        """Append a frame, (H, W) colours."""
        colors = self._previous if picture is self._picture else picture.reshape(-1)
        changed = self._find_changed(colors)
        pixels = colors if changed is None else colors[changed]
        self._hash(pixels, changed)
        if not self._is_rgb and not self._index(pixels, changed):
            self._turn_to_rgb()
        self._file.write(rgb_bytes(colors) if self._is_rgb else self._indices.data)
        self._picture, self._previous = picture, colors
        self._gray &= gray
        self._num_frames += 1

    def close(self, name: str, unit: Unit) -> NewEpisode:
        """Finish the file and describe the episode."""
        encoding = RGB if self._is_rgb else Encoding("palette", tuple(self._palette))
        encoding.write_header(self._file, self._num_frames, self._size)
        self._file.close()
        episode = Episode(
            name=name,
            num_frames=self._num_frames,
            source=str(unit.path),
            unit=unit.name,
            split="",
            sha256=hashlib.sha256(b"".join(part.digest() for part in self._hashes)).hexdigest(),
            first_frame=self._first_frame,
            num_still=self._num_still,
            files=self._path.with_suffix(""),
            container_fps=unit.fps,
        )
        return NewEpisode(episode, encoding, self._gray)

    def _find_changed(self, colors: np.ndarray) -> np.ndarray | None:
        """Positions that differ from the frame before; None where the whole frame is to be hashed."""
        if self._num_frames == 0:
            self._first_frame = hashlib.sha256(colors.data).hexdigest()
            return None
        changed = _NOTHING if colors is self._previous else np.flatnonzero(colors != self._previous)
        self._num_still += len(changed) == 0
        is_whole = self._num_frames % _HASHED_FRAMES == 0 or len(changed) >= len(colors) // 2
        return None if is_whole else changed

    def _hash(self, pixels: np.ndarray, changed: np.ndarray | None) -> None:
        if self._num_frames % _HASHED_FRAMES == 0:
            self._hashes.append(hashlib.sha256())
        if changed is None:
            self._hashes[-1].update(b"frame")
        else:
            self._hashes[-1].update(b"change %d" % len(changed))
            self._hashes[-1].update(changed.astype("<u4").data)
        self._hashes[-1].update(pixels.data)

    def _index(self, pixels: np.ndarray, changed: np.ndarray | None) -> bool:
        """Bring `self._indices` up to date with the changed pixels; False when there are too many colours."""
        found = self._table[pixels]
        if len(found) and found.min() == 0:
            new = np.unique(pixels[found == 0])
            known = len(self._palette)
            if known + len(new) > MAX_COLORS:
                return False
            self._table[new] = np.arange(known + 1, known + len(new) + 1)
            self._palette += new.tolist()
            found = self._table[pixels]
        if changed is None:
            np.subtract(found, 1, out=self._indices, casting="unsafe")
        else:
            self._indices[changed] = found - 1
        return True

    def _turn_to_rgb(self) -> None:
        """Write the frames so far again as RGB: the palette is full."""
        self._is_rgb = True
        indices = self._path.with_suffix(".indices")
        self._file.close()
        self._path.rename(indices)
        self._file = self._open()
        RGB.append(self._file, indices, Encoding("palette", tuple(self._palette)), self._size)
        indices.unlink()
