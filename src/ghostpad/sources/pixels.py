"""What counts as a picture: arrays and encoded images become colours here, by one set of rules.

Readers of arrays (HDF5, Arrow, npz) call `array_colors`, readers of image files and image columns
`image_colors`. Whatever a frame store cannot hold is named in a notice.

Dimensions: H W frame, C channels (1, 3 or 4).
"""

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ghostpad.sources.base import MAX_SIDE, BadInput, IngestLog, damage_is
from ghostpad.sources.colors import pack_colors

_CHANNELS = (1, 3, 4)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_HEAD = struct.Struct(">I4s")
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND")
_DEEP = ("I", "I;16", "I;16B")  # Pillow's modes of 16-bit gray
_LOSSY = "{0} images: compression has changed their colours already; record PNG or another lossless format"
_PROFILE = "images have a colour profile other than sRGB, which is not applied; convert them to sRGB first"
_LARGEST_PROFILE = 1 << 22  # bytes that are unpacked
CUT = "{0}-bit colours are cut to 8 bits"
ALPHA = "transparent pixels keep their colours, but not their transparency"
ROTATED = "frames are turned as their files say (rotation or mirroring in the metadata)"


def is_picture(shape: tuple[int, ...], dtype: Any, low: Any = None, high: Any = None) -> bool:
    """Whether arrays (H, W), (H, W, C) or (C, H, W) are pictures, by declared shape, type and bounds.

    Bytes are pictures; fractions must have three channels or bounds of 0 and 1.
    """
    dtype = np.dtype(dtype)
    if len(shape) == 3 and shape[2] not in _CHANNELS and shape[0] in (1, 3):
        shape = (*shape[1:], shape[0])
    if 0 in shape or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in _CHANNELS):
        return False
    if dtype == np.uint8:
        return True
    if low is not None and high is not None:
        return (float(np.min(low)), float(np.max(high))) in ((0, 1), (0, 255))
    return dtype.kind == "f" and shape[2:] == (3,)


def array_colors(array: Any, log: IngestLog) -> tuple[np.ndarray, bool]:
    """Colours (H, W) uint32 of a picture in an array, as in `Frame`, and whether it is gray.

    The array is (H, W), (H, W, C) or (C, H, W), of integers from 0 to 255, fractions from 0 to 1, or
    booleans.

    Raises:
        BadInput: it is no picture, or larger than 4096×4096.
    """
    array = np.asarray(array)
    shape = array.shape
    if array.ndim == 3 and shape[2] not in _CHANNELS and shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if not array.size or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        raise BadInput(f"is an array of shape {shape}, not a picture (H, W) or (H, W, C) with C = 1, 3 or 4")
    _check_size(array.shape[1], array.shape[0])
    pixels = _as_bytes(array, log)
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        log.note(ALPHA)
    gray = pixels.ndim == 2 or pixels.shape[2] == 1
    return pack_colors(pixels.reshape(pixels.shape[:2]) if gray else pixels), gray


def _as_bytes(array: np.ndarray, log: IngestLog) -> np.ndarray:
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return array
    if kind == "b":
        return array * np.uint8(255)
    if kind not in "iuf":
        raise BadInput(f"holds values of type {array.dtype}, not a picture")
    low, high, limit = array.min(), array.max(), 1 if kind == "f" else 255
    if not (low >= 0 and high <= limit):
        raise BadInput(
            f"holds values from {low:g} to {high:g}; pictures are integers from 0 to 255 or fractions "
            "from 0 to 1, so convert it"
        )
    if kind == "f":
        log.note("fractions from 0 to 1 are scaled to 0 to 255")
        array = np.rint(array.astype(np.float32) * 255)
    return array.astype(np.uint8)


def image_colors(data: bytes, log: IngestLog, only: tuple[str, ...] | None = None) -> tuple[np.ndarray, bool]:
    """Colours (H, W) uint32 of an encoded image, as in `Frame`, and whether it is gray.

    The format is one of `only`, in Pillow's names, or any that Pillow reads.

    Raises:
        BadInput: it is damaged, or larger than 4096×4096.
    """
    if not data:
        raise BadInput("is empty (0 bytes)")
    if only == ("PNG",) or data.startswith(_SIGNATURE):
        data = _checked_png(data, log)
    name = only[0] if only else "image"
    with damage_is(f"is not a readable {name}"), Image.open(io.BytesIO(data), formats=only) as image:
        _check_size(*image.size)
        frames, kind = getattr(image, "n_frames", 1), image.format or name
        if frames > 1:
            log.note(f"of animated {kind} images only the first of the pictures is taken")
        if kind in ("JPEG", "MPO") or (kind == "WEBP" and b"VP8L" not in data[:4096]):
            log.note(_LOSSY.format(kind))
        if image.mode == "I;16" or (kind == "PNG" and data[24] == 16):
            log.note(CUT.format(16))
        elif _is_transparent(image):
            log.note(ALPHA)
        _note_profile(image.info.get("icc_profile"), log)
        if (kind != "PNG" or b"eXIf" in data) and image.getexif().get(0x0112, 1) != 1:
            log.note(ROTATED)
            image = ImageOps.exif_transpose(image)
        if image.mode == "F" or (image.mode == "I" and kind != "PNG"):
            return array_colors(image, log)
        return _pillow_colors(image)


def _checked_png(data: bytes, log: IngestLog) -> bytes:
    """Compare every chunk with its checksum: Pillow does not notice a flipped bit in the pixels.

    Returns the PNG without chunks that say nothing of its pixels: Pillow refuses large texts and profiles.
    """
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
        raise BadInput("is not a PNG")
    position, kind, view = len(_SIGNATURE), b"", memoryview(data)
    kept: list[memoryview | bytes] = [_SIGNATURE]
    is_whole = True
    while kind != b"IEND":
        if position + 12 > len(data):
            raise BadInput("is truncated")
        length, kind = _CHUNK_HEAD.unpack_from(data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise BadInput("is truncated")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise BadInput("is corrupt (checksum)")
        if kind in _PIXEL_CHUNKS:
            kept.append(view[position : end + 4])
        else:
            is_whole = False
            if kind == b"iCCP":
                packed = bytes(view[position + 8 : end]).partition(b"\0")[2][1:]
                with suppress(zlib.error):
                    _note_profile(zlib.decompressobj().decompress(packed, _LARGEST_PROFILE), log)
            if kind == b"acTL":
                log.note("of animated PNG images only the first of the pictures is taken")
        position = end + 4
    _check_size(*struct.unpack_from(">II", data, 16))
    return data if is_whole else b"".join(kept)


def _note_profile(profile: bytes | None, log: IngestLog) -> None:
    """Say that an ICC profile, if it is one, is not applied; that of sRGB has its name in it."""
    names = "sRGB".encode("ascii"), "sRGB".encode("utf-16-be")
    if profile and profile[36:40] == b"acsp" and not any(name in profile for name in names):
        log.note(_PROFILE)


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise BadInput(f"is larger than {MAX_SIDE}x{MAX_SIDE} ({width}x{height})")


def _pillow_colors(image: Image.Image) -> tuple[np.ndarray, bool]:
    gray = image.mode in ("1", "L", "LA", *_DEEP)
    if image.mode in _DEEP:
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
