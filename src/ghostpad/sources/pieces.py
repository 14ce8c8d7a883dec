"""Frames on their way into a store: discover the palette, hash the pixels, write them without loss.

A *piece* is a run of consecutive frames of one episode that one worker writes; `ingest` makes episodes of
pieces.
Colours are numbers `red | green << 8 | blue << 16`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ghostpad.sources.units import PIECE_FRAMES, Frame

MAX_COLORS = 256
HEADER_BYTES = 128
_BUFFER_BYTES = 1 << 18  # a few frames per system call take half the time of one
_RECODE_FRAMES = 64
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Piece:
    """A written run of frames."""

    episode: str
    """Name of the episode it comes from."""
    number: int
    """Number of its first frame in that episode."""
    num_frames: int
    path: Path
    """The `.npy` file: (N, H, W) palette indices, or (N, H, W, 3) RGB."""
    palette: tuple[int, ...] | None
    """Colour of each index, None if the file is RGB."""
    gray: bool
    """Whether every frame came from a gray picture."""
    sha256: bytes
    """Of the pixels; independent of palette and compression."""
    num_still: int
    """Transitions inside the piece in which no pixel changes."""
    first: bytes
    last: bytes
    """SHA-256 of the first and of the last frame alone."""
    new_episode: bool = False
    """Whether an episode begins here even though the numbers go on."""


class PieceWriter:
    """Writes one piece, frame by frame.

    Neighbouring frames differ in few pixels, and only those are looked up and hashed again.
    """

    def __init__(self, path: Path, start: Frame, palette: tuple[int, ...]) -> None:
        """Begin a piece.

        Args:
            path: file to write.
            start: its first frame, which is yet to be added.
            palette: colours that already have an index.
        """
        self._path, self._start = path, start
        self._height, self._width = start.colors.shape
        self._file: BinaryIO = self._begin()
        self._colors = list(palette)
        # index + 1 by colour; zero is unknown. Untouched pages of so large an array cost nothing.
        self._table = np.zeros(1 << 24, np.uint16)
        self._table[self._colors] = np.arange(1, len(palette) + 1)
        self._rgb = False
        self._picture = self._previous = np.empty(0, np.uint32)
        self._indices = np.empty(self._height * self._width, np.uint8)
        self._digest = hashlib.sha256()
        self._first = b""
        self._gray = True
        self._num_still = 0
        self.num_frames = 0

    def _begin(self) -> BinaryIO:
        """Open the file with room for its header, which is written last."""
        file = self._path.open("w+b", buffering=_BUFFER_BYTES)
        file.write(b"\0" * HEADER_BYTES)
        return file

    def continues(self, frame: Frame) -> bool:
        """Whether `frame` belongs to this piece: the next one of its episode, and the piece is not full."""
        return (
            self.num_frames < PIECE_FRAMES
            and not frame.new_episode
            and frame.number == self._start.number + self.num_frames
            and frame.episode == self._start.episode
        )

    def add(self, frame: Frame) -> None:
        """Append a frame."""
        colors = self._previous if frame.colors is self._picture else frame.colors.reshape(-1)
        self._picture = frame.colors
        changed = self._changed(colors)
        self._hash(colors, changed)
        self._gray &= frame.gray
        if not self._rgb and not self._index(colors, changed):
            self._turn_to_rgb()
        self._file.write(_to_rgb_bytes(colors) if self._rgb else self._indices.data)
        self._previous = colors
        self.num_frames += 1

    def close(self) -> Piece:
        """Finish the file and describe it."""
        self._file.seek(0)
        self._file.write(npy_header(self.num_frames, self._height, self._width, self._rgb))
        self._file.close()
        return Piece(
            episode=self._start.episode,
            number=self._start.number,
            num_frames=self.num_frames,
            path=self._path,
            palette=None if self._rgb else tuple(self._colors),
            gray=self._gray,
            sha256=self._digest.digest(),
            num_still=self._num_still,
            first=self._first,
            last=hashlib.sha256(self._previous.data).digest(),
            new_episode=self._start.new_episode,
        )

    def discard(self) -> None:
        """Drop the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _changed(self, colors: np.ndarray) -> np.ndarray | None:
        """Positions that differ from the frame before; None for the first frame, or when most do."""
        if self.num_frames == 0:
            self._first = hashlib.sha256(colors.data).digest()
            return None
        changed = _NOTHING if colors is self._previous else np.flatnonzero(colors != self._previous)
        self._num_still += len(changed) == 0
        return changed if len(changed) < len(colors) // 2 else None

    def _hash(self, colors: np.ndarray, changed: np.ndarray | None) -> None:
        if changed is None:
            self._digest.update(b"frame")
            self._digest.update(colors.data)
        else:
            self._digest.update(b"change %d" % len(changed))
            self._digest.update(changed.astype("<u4").data)
            self._digest.update(colors[changed].data)

    def _index(self, colors: np.ndarray, changed: np.ndarray | None) -> bool:
        """Bring `self._indices` up to date; False when there are too many colours."""
        wanted = colors if changed is None else colors[changed]
        found = self._table[wanted]
        if len(found) and found.min() == 0:
            if not self._discover(np.unique(wanted[found == 0])):
                return False
            found = self._table[wanted]
        if changed is None:
            np.subtract(found, 1, out=self._indices, casting="unsafe")
        else:
            self._indices[changed] = found - 1
        return True

    def _discover(self, new: np.ndarray) -> bool:
        if len(self._colors) + len(new) > MAX_COLORS:
            return False
        self._table[new] = np.arange(len(self._colors) + 1, len(self._colors) + len(new) + 1)
        self._colors += new.tolist()
        return True

    def _turn_to_rgb(self) -> None:
        """Rewrite what is there as RGB: the palette is full."""
        self._rgb = True
        source = self._path.with_suffix(".indices")
        self._file.close()
        self._path.rename(source)
        self._file = self._begin()
        copy_frames(source, self._file, self._height * self._width, palette_rgb(self._colors))
        source.unlink()


def npy_header(num_frames: int, height: int, width: int, rgb: bool) -> bytes:
    """Header of a `.npy` file (version 1.0), always of the same length, so that it can be written last."""
    shape = (num_frames, height, width, 3) if rgb else (num_frames, height, width)
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + text.encode("latin1")


def palette_rgb(colors: list[int] | tuple[int, ...]) -> np.ndarray:
    """Colours as (P, 3) uint8."""
    return np.array(colors, "<u4").view(np.uint8).reshape(-1, 4)[:, :3]


def _to_rgb_bytes(colors: np.ndarray) -> bytes:
    return np.ascontiguousarray(
        colors.astype("<u4", copy=False).view(np.uint8).reshape(-1, 4)[:, :3]
    ).tobytes()


def copy_frames(source: Path, target: BinaryIO, frame_bytes: int, table: np.ndarray | None) -> None:
    """Append the frames of `source` to `target`, each index looked up in `table` if there is one.

    Args:
        source: a `.npy` file with the header of `npy_header`.
        target: an open file.
        frame_bytes: size of a frame in `source`.
        table: uint8 (256,) for new indices or (256, 3) for RGB; None copies as it is.
    """
    with source.open("rb") as file:
        file.seek(HEADER_BYTES)
        while block := file.read(frame_bytes * _RECODE_FRAMES):
            target.write(block if table is None else table[np.frombuffer(block, np.uint8)].tobytes())
