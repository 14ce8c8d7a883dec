"""What a worker does: decode a unit and write its frames as chunks, with their palette and hash.

A *chunk* is a run of consecutive frames of one episode. `ghostpad.frames.update` joins chunks to episodes.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ghostpad.frames.encoding import (
    HEADER_BYTES,
    MAX_COLORS,
    Encoding,
    Size,
    copy_frames,
    rgb_of,
    write_header,
)
from ghostpad.sources.base import CHUNK_FRAMES, BadInput, Frame, IngestLog, OnBad, Unit
from ghostpad.sources.parsing import pack_colors

_BUFFER_BYTES = 1 << 18  # a few frames per system call take half the time of one
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class EncodeTask:
    """One unit, and how its frames are written."""

    unit: Unit
    path_prefix: str
    """Path of the chunks, without number and suffix."""
    size: Size
    """Height and width of all frames of the store."""
    resize: bool
    """Whether frames of another size are resized; otherwise they are rejected."""
    crop: bool
    """When resizing, keep the proportions and cut off what does not fit, instead of stretching."""
    palette: tuple[int, ...]
    """Colours that are known already, so that chunks agree on their indices."""
    on_bad: OnBad


@dataclass(frozen=True)
class Chunk:
    """A written chunk."""

    episode: str
    start: int
    """Number of its first frame in that episode."""
    starts_episode: bool
    """Whether a new episode starts here even though the numbers are consecutive."""
    num_frames: int
    path: Path
    encoding: Encoding
    gray: bool
    """Whether every frame came from a gray picture."""
    sha256: bytes
    """Hash of the pixels; independent of palette and compression."""
    num_still: int
    """Transitions within the chunk in which no pixel changes."""
    first_frame: bytes
    last_frame: bytes
    """SHA-256 of the first and of the last frame alone."""


def encode_unit(task: EncodeTask) -> tuple[list[Chunk], IngestLog]:
    """Decode a unit and write its frames as chunks, none of them across a rejected frame, a gap or a cut.

    Raises:
        UserError: a frame is rejected and `on_bad` is "fail".
    """
    log, chunks = IngestLog(task.on_bad), list[Chunk]()
    writer: ChunkWriter | None = None
    for frame in task.unit.frames(log):
        try:
            colors = fit(frame.colors, task.size, task.resize, task.crop)
        except BadInput as bad:
            log.reject(task.unit.name, frame.file, bad, frame.number)
            continue
        if writer is not None and not writer.is_continued_by(frame):
            chunks.append(writer.close())
            writer = None
        if writer is None:
            path = Path(f"{task.path_prefix}-{len(chunks):06d}.npy")
            writer = ChunkWriter(path, frame, task.size, task.palette)
        writer.add(colors, frame.gray)
    if writer is not None:
        chunks.append(writer.close())
    return chunks, log


def fit(colors: np.ndarray, size: Size, resize: bool, crop: bool) -> np.ndarray:
    """Bring (H, W) colours to a size.

    Raises:
        BadInput: they have another size and `resize` is off.
    """
    if colors.shape == size:
        return colors
    (height, width), (had_height, had_width) = size, colors.shape
    if not resize:
        raise BadInput(f"is {had_width}x{had_height}, but the frames before are {width}x{height}")
    image = Image.fromarray(rgb_of(colors.ravel()).reshape(had_height, had_width, 3))
    scale = ImageOps.fit if crop else Image.Image.resize
    return pack_colors(np.asarray(scale(image, (width, height), Image.Resampling.BOX)))


class ChunkWriter:
    """Writes one chunk, frame by frame.

    Consecutive frames differ in few pixels, and only those are looked up and hashed again.
    """

    def __init__(self, path: Path, start: Frame, size: Size, palette: tuple[int, ...]) -> None:
        """Start a chunk at `path`; its first frame `start` is yet to be added."""
        self._path, self._start, self._size = path, start, size
        self._file = self._open()
        self._palette = list(palette)
        # Index + 1 of each colour; 0 is unknown. Untouched pages of so large an array cost nothing.
        self._table = np.zeros(1 << 24, np.uint16)
        self._table[self._palette] = np.arange(1, len(palette) + 1)
        self._is_rgb, self._gray = False, True
        self._picture = self._previous = np.empty(0, np.uint32)
        self._indices = np.empty(size[0] * size[1], np.uint8)
        self._digest, self._first_frame = hashlib.sha256(), b""
        self._num_frames = self._num_still = 0

    def _open(self) -> BinaryIO:
        """Open the file and leave room for its header, which is written last."""
        file = self._path.open("w+b", buffering=_BUFFER_BYTES)
        file.seek(HEADER_BYTES)
        return file

    def is_continued_by(self, frame: Frame) -> bool:
        """Whether `frame` is the next one of the same episode, and the chunk is not full."""
        return (
            self._num_frames < CHUNK_FRAMES
            and not frame.starts_episode
            and frame.number == self._start.number + self._num_frames
            and frame.episode == self._start.episode
        )

    def add(self, picture: np.ndarray, gray: bool) -> None:
        """Append a frame, (H, W) colours."""
        colors = self._previous if picture is self._picture else picture.reshape(-1)
        changed = self._find_changed(colors)
        pixels = colors if changed is None else colors[changed]
        if changed is None:
            self._digest.update(b"frame")
        else:
            self._digest.update(b"change %d" % len(changed))
            self._digest.update(changed.astype("<u4").data)
        self._digest.update(pixels.data)
        if not self._is_rgb and not self._index(pixels, changed):
            self._turn_to_rgb()
        self._file.write(rgb_of(colors).tobytes() if self._is_rgb else self._indices.data)
        self._picture, self._previous = picture, colors
        self._gray &= gray
        self._num_frames += 1

    def close(self) -> Chunk:
        """Finish the file and describe it."""
        encoding = Encoding("rgb", ()) if self._is_rgb else Encoding("palette", tuple(self._palette))
        write_header(self._file, self._num_frames, self._size, encoding.pixel_bytes)
        self._file.close()
        return Chunk(
            episode=self._start.episode,
            start=self._start.number,
            starts_episode=self._start.starts_episode,
            num_frames=self._num_frames,
            path=self._path,
            encoding=encoding,
            gray=self._gray,
            sha256=self._digest.digest(),
            num_still=self._num_still,
            first_frame=self._first_frame,
            last_frame=hashlib.sha256(self._previous.data).digest(),
        )

    def _find_changed(self, colors: np.ndarray) -> np.ndarray | None:
        """Positions that differ from the frame before; None for the first frame, or when most do."""
        if self._num_frames == 0:
            self._first_frame = hashlib.sha256(colors.data).digest()
            return None
        changed = _NOTHING if colors is self._previous else np.flatnonzero(colors != self._previous)
        self._num_still += len(changed) == 0
        return changed if len(changed) < len(colors) // 2 else None

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
        copy_frames(indices, self._file, self._indices.size, rgb_of(self._palette))
        indices.unlink()
