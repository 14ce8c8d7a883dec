"""Pieces become episodes, and episodes a store: one encoding for all, one palette, one manifest."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from ghostpad.frames.manifest import Encoding
from ghostpad.sources.pieces import HEADER_BYTES, MAX_COLORS, Piece, copy_frames, npy_header, palette_rgb

_GRAY_LEVELS = tuple(level * 0x010101 for level in range(MAX_COLORS))


@dataclass(frozen=True)
class Coding:
    """How the frames of a store, or of a piece, are written."""

    encoding: Encoding
    colors: tuple[int, ...]
    """The colours that occur; of `rgb`, empty."""

    @property
    def palette(self) -> tuple[int, ...]:
        """Colour of each index; of `rgb`, empty."""
        return _GRAY_LEVELS if self.encoding == "gray" else self.colors

    @property
    def pixel_bytes(self) -> int:
        """Bytes per pixel."""
        return 3 if self.encoding == "rgb" else 1


@dataclass(frozen=True)
class Draft:
    """An episode that is about to enter the store."""

    name: str
    unit: str
    start: int
    """Number of its first frame in the unit's episode."""
    pieces: tuple[Piece, ...]

    @property
    def num_frames(self) -> int:
        """Length of the episode."""
        return sum(piece.num_frames for piece in self.pieces)

    @property
    def sha256(self) -> str:
        """Hash of its pixels (hex)."""
        return sha256(b"".join(piece.sha256 for piece in self.pieces)).hexdigest()

    @property
    def num_still(self) -> int:
        """Transitions in which no pixel changes."""
        borders = zip(self.pieces, self.pieces[1:], strict=False)
        return sum(p.num_still for p in self.pieces) + sum(a.last == b.first for a, b in borders)


def join_pieces(unit: str, pieces: list[Piece]) -> list[Draft]:
    """Join the pieces of a unit where the frame numbers go on; every other border begins a new episode.

    The first part of an episode keeps its name; further ones are called `name@number of the first frame`.
    """
    runs: list[list[Piece]] = []
    for piece in pieces:
        before = runs[-1][-1] if runs else None
        if (
            before is None
            or piece.new_episode
            or piece.episode != before.episode
            or piece.number != before.number + before.num_frames
        ):
            runs.append([])
        runs[-1].append(piece)
    drafts, used = [], set()
    for run in runs:
        name = run[0].episode if run[0].episode not in used else f"{run[0].episode}@{run[0].number}"
        used.add(name)
        drafts.append(Draft(name, unit, run[0].number, tuple(run)))
    return drafts


def choose_coding(pieces: list[Piece], old: Coding | None) -> Coding:
    """Choose the smallest encoding that loses nothing; old indices keep their meaning if they can."""
    if any(piece.palette is None for piece in pieces) or (old is not None and old.encoding == "rgb"):
        return Coding("rgb", ())
    colors: dict[int, None] = dict.fromkeys(old.colors if old else ())
    for piece in pieces:
        colors |= dict.fromkeys(piece.palette or ())
    if all(piece.gray for piece in pieces) and (old is None or old.encoding == "gray"):
        return Coding("gray", tuple(colors))
    return Coding("palette", tuple(colors)) if len(colors) <= MAX_COLORS else Coding("rgb", ())


def recoding(palette: tuple[int, ...] | None, target: Coding) -> np.ndarray | None:
    """Table from the indices of a file to bytes of `target`; None if they are the same already."""
    if not palette or palette == target.palette[: len(palette)]:
        return None
    if target.encoding == "rgb":
        return palette_rgb(palette)
    place = {color: index for index, color in enumerate(target.palette)}
    # indices of colours that do not occur (gray levels, say) have no place, and need none
    return np.array([place.get(color, 0) for color in palette], np.uint8)


def write_episode(draft: Draft, path: Path, target: Coding, height: int, width: int) -> None:
    """Move the pieces of `draft` into one `.npy` file at `path`, in the coding of the store."""
    tables = [recoding(piece.palette, target) for piece in draft.pieces]
    first, rest = draft.pieces[0], draft.pieces[1:]
    header = npy_header(draft.num_frames, height, width, target.encoding == "rgb")
    if tables[0] is None:
        first.path.rename(path)
    else:
        _copy(first.path, path, header, tables[0], height * width)
        first.path.unlink()
    for piece, table in zip(rest, tables[1:], strict=True):
        _copy(piece.path, path, b"", table, height * width)
        piece.path.unlink()
    with path.open("r+b") as file:
        file.write(header)


def recode_file(source: Path, path: Path, old: Coding, new: Coding, shape: tuple[int, int, int]) -> None:
    """Write the `.npy` file `source` (N, H, W) of an older store again at `path`, in a new coding."""
    num_frames, height, width = shape
    header = npy_header(num_frames, height, width, new.encoding == "rgb")
    _copy(source, path, header, recoding(old.palette, new), height * width * old.pixel_bytes)


def _copy(source: Path, path: Path, header: bytes, table: np.ndarray | None, frame_bytes: int) -> None:
    """Copy the frames of a file behind `header`, or, if that is empty, behind what is there."""
    with path.open("wb" if header else "ab") as target:
        target.write(header)
        copy_frames(source, target, frame_bytes, table)


assert HEADER_BYTES % 64 == 0, "numpy maps the data of a file at a multiple of 64 bytes"
