"""Whether a video file is as long as its container says; no picture is decoded.

FFmpeg reads a truncated file up to its end and reports nothing.
"""

from pathlib import Path
from typing import BinaryIO

_MP4_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip")
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def is_cut_off(path: Path) -> bool | None:
    """Whether the end of a file is missing; None if its container does not say how long it is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[:4] == b"GIF8":
            file.seek(max(0, size - 64))
            return not file.read().rstrip(b"\0").endswith(b";")
        if head[:4] == b"RIFF":
            return 8 + int.from_bytes(head[4:8], "little") > size
        if head[:4] == _EBML.to_bytes(4, "big"):
            return _is_matroska_cut(file, size)
        return _is_mp4_cut(file, size) if head[4:8] in _MP4_BOXES else None


def _is_mp4_cut(file: BinaryIO, size: int) -> bool:
    """Whether a box of an ISO media file (ISO/IEC 14496-12) ends beyond the file."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # to the end of the file
            return False
        if length < 8:  # no box: something was appended
            return False
        position += length
    return position > size


def _is_matroska_cut(file: BinaryIO, size: int) -> bool | None:
    """Whether the segment of a Matroska file (RFC 9559) ends beyond the file; None if its size is unknown."""
    while (identity := _vint(file, keep_marker=True)) is not None:
        length = _vint(file)
        if length is None:
            return None
        if identity == _SEGMENT:
            return file.tell() + length > size
        file.seek(length, 1)
    return None


def _vint(file: BinaryIO, keep_marker: bool = False) -> int | None:
    """The next number of variable length (RFC 8794); None at the end, or if it means "unknown"."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(extra), "big")
    bits = 7 * (extra + 1)
    low = value & ((1 << bits) - 1)
    if not keep_marker and low == (1 << bits) - 1:
        return None
    return value if keep_marker else low
