"""How a store writes pixels: palette indices, gray values or RGB, in `.npy` files of one encoding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

MAX_COLORS = 256
HEADER_BYTES = 128
"""Size of the header of every `.npy` file here: numpy pads it, so that it can be written last."""
EncodingName = Literal["palette", "rgb", "gray"]
Size = tuple[int, int]  # height and width of a frame
_BLOCK_FRAMES = 64  # frames in memory at a time
_GRAY_LEVELS = tuple(level * 0x010101 for level in range(MAX_COLORS))


@dataclass(frozen=True)
class Encoding:
    """How the frames of a store, or of a chunk on its way there, are written."""

    name: EncodingName
    colors: tuple[int, ...]
    """The colours that occur, each `red | green << 8 | blue << 16`; empty for `rgb`."""

    @property
    def palette(self) -> tuple[int, ...]:
        """Colour of each index; empty for `rgb`."""
        return _GRAY_LEVELS if self.name == "gray" else self.colors

    def frame_bytes(self, size: Size) -> int:
        """Bytes of one frame."""
        return size[0] * size[1] * (3 if self.name == "rgb" else 1)

    def table_from(self, other: "Encoding") -> np.ndarray | None:
        """Table from indices of `other` to bytes of this encoding, uint8 (P,) or (P, 3); None if equal."""
        if other.palette == self.palette[: len(other.palette)]:
            return None
        if self.name == "rgb":
            return rgb_of(other.palette)
        places = {color: index for index, color in enumerate(self.palette)}
        # Colours without a place (gray levels, for example) do not occur, so that any index will do.
        return np.array([places.get(color, 0) for color in other.palette], np.uint8)

    def write_header(self, file: BinaryIO, num_frames: int, size: Size) -> None:
        """Write the header of uint8 (N, H, W), or (N, H, W, 3) for RGB, at the start of a `.npy` file."""
        shape = (num_frames, *size, 3) if self.name == "rgb" else (num_frames, *size)
        file.seek(0)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        assert file.tell() == HEADER_BYTES

    def append(self, file: BinaryIO, source: Path, before: "Encoding", size: Size) -> None:
        """Append the frames of the `.npy` file `source`, which are written in another encoding."""
        table, block_bytes = self.table_from(before), before.frame_bytes(size) * _BLOCK_FRAMES
        with source.open("rb") as frames:
            frames.seek(HEADER_BYTES)
            while block := frames.read(block_bytes):
                file.write(block if table is None else table[np.frombuffer(block, np.uint8)].tobytes())

    def read_frame(self, path: Path, index: int, size: Size) -> bytes:
        """Bytes of one frame. Not through a memory map, whose pages would count as memory of this process."""
        count = self.frame_bytes(size)
        return np.fromfile(path, np.uint8, count, offset=HEADER_BYTES + index * count).tobytes()


RGB = Encoding("rgb", ())
NO_FRAMES = Encoding("gray", ())  # the encoding of an empty store, which suits whatever is added


def smallest_encoding(previous: Encoding, added: Iterable[tuple[Encoding, bool]]) -> Encoding:
    """The smallest lossless encoding of all frames; `previous` indices keep their meaning if they can.

    `added` has the encoding of each new chunk, and whether its source was gray throughout.
    """
    colors, gray, rgb = dict.fromkeys(previous.colors), previous.name == "gray", previous.name == "rgb"
    for encoding, is_gray in added:
        colors |= dict.fromkeys(encoding.colors)
        gray, rgb = gray and is_gray, rgb or encoding.name == "rgb"
    if rgb or len(colors) > MAX_COLORS:
        return RGB
    return Encoding("gray" if gray else "palette", tuple(colors))


def rgb_bytes(colors: np.ndarray) -> bytes:
    """Packed colours (P,) uint32 as P times three bytes; Pillow does it six times faster than NumPy."""
    return Image.frombuffer("RGBX", (len(colors), 1), colors, "raw", "RGBX", 0, 1).tobytes("raw", "RGB")


def rgb_of(colors: Sequence[int] | np.ndarray) -> np.ndarray:
    """Packed colours (P,) as (P, 3) uint8."""
    return np.asarray(colors, "<u4").view(np.uint8).reshape(-1, 4)[:, :3]
