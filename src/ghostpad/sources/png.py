"""Decode one PNG, distrusting it: every chunk is checked before Pillow sees the picture."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from ghostpad.sources.base import MAX_SIDE, BadInput, IngestLog, damage_is

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_HEAD = struct.Struct(">I4s")


def decode_png(data: bytes, log: IngestLog) -> tuple[np.ndarray, bool]:
    """Decode the bytes of a PNG; `log` gets a warning about what a store cannot hold.

    Returns:
        Its colours (H, W) uint32, as in `Frame`, and whether it is gray.

    Raises:
        BadInput: it is damaged, or larger than 4096×4096.
    """
    if not data:
        raise BadInput("is empty (0 bytes)")
    _check_integrity(data)
    width, height = struct.unpack_from(">II", data, 16)
    if max(width, height) > MAX_SIDE:
        raise BadInput(f"is larger than {MAX_SIDE}x{MAX_SIDE} ({width}x{height})")
    with damage_is("is not a readable PNG"), Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if data[24] == 16:
            log.warnings.add("16-bit PNGs are cut to 8 bits per colour")
        elif _is_transparent(image):
            log.warnings.add("transparent PNGs keep their colours, but not their transparency")
        return _colors(image)


def _check_integrity(data: bytes) -> None:
    """Compare every chunk with its checksum: Pillow does not notice a flipped bit in the pixels."""
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
        raise BadInput("is not a PNG")
    position, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise BadInput("is truncated")
        length, kind = _CHUNK_HEAD.unpack_from(data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise BadInput("is truncated")
        if zlib.crc32(memoryview(data)[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise BadInput("is corrupt (checksum)")
        position = end + 4


def _colors(image: Image.Image) -> tuple[np.ndarray, bool]:
    gray = image.mode in ("1", "L", "LA", "I", "I;16", "I;16B")
    if image.mode in ("I", "I;16", "I;16B"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode != "RGB":
        image = image.convert("RGB")
    # Pillow keeps four bytes per pixel: this reads a pixel as one number, without a copy per channel.
    packed = np.frombuffer(image.tobytes("raw", "RGBX"), "<u4") & 0xFFFFFF
    return packed.reshape(image.height, image.width), gray


def _is_transparent(image: Image.Image) -> bool:
    if image.mode in ("RGBA", "LA"):
        return image.getchannel("A").getextrema()[0] < 255  # type: ignore[operator]
    return "transparency" in image.info
