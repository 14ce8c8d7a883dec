"""Arrays and encoded images become the right colours, or are refused in one line."""

import io
import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image, ImageCms

from ghostpad.sources.base import BadInput, IngestLog, frame_rate
from ghostpad.sources.pixels import array_colors, image_colors, is_picture
from recordings import noise

PICTURE = noise(1)[0]


def rgb(colors: np.ndarray) -> np.ndarray:
    return np.stack([colors >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8)


def encoded(picture: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        PICTURE,
        PICTURE.transpose(2, 0, 1),
        PICTURE.astype(np.int64),
        *((PICTURE / 255).astype(dtype) for dtype in (np.float16, np.float32, np.float64)),
        np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)]),
    ],
)
def test_arrays_of_any_type_and_order_keep_their_colours(array: np.ndarray) -> None:
    log = IngestLog("fail")
    colors, gray = array_colors(array, log)
    assert np.array_equal(rgb(colors), PICTURE)
    assert not gray
    assert len(log.notices) == (array.dtype.kind == "f")


@pytest.mark.parametrize("array", [PICTURE[..., 0], PICTURE[..., :1], PICTURE[None, ..., 0]])
def test_arrays_of_one_channel_are_gray(array: np.ndarray) -> None:
    colors, gray = array_colors(array, IngestLog("fail"))
    assert np.array_equal(rgb(colors)[..., 2], PICTURE[..., 0])
    assert gray


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (PICTURE.astype(np.float32), "holds values from 0 to 255"),
        (PICTURE / 127 - 1, "holds values from -1 to"),
        (np.full((4, 4), np.nan), "holds values from nan"),
        (PICTURE.astype(np.int16) - 1, "holds values from -1"),
        (PICTURE.astype(np.uint16) * 257, "holds values from 0 to 65535"),
        (PICTURE.astype(complex), "type complex128"),
        (np.zeros((4, 48, 64), np.uint8), r"shape \(4, 48, 64\)"),
        (np.zeros(17, np.uint8), r"shape \(17,\)"),
        (np.zeros((0, 5, 3), np.uint8), r"shape \(0, 5, 3\)"),
        (np.zeros((2, 4097), np.uint8), "larger than 4096x4096"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        array_colors(array, IngestLog("fail"))


def test_only_pictures_are_offered_as_cameras() -> None:
    pictures = [((48, 64, 3), np.uint8), ((3, 48, 64), np.uint8), ((48, 64), np.uint8), ((8, 8, 3), float)]
    others = [((4, 48, 64), np.uint8), ((17,), np.uint8), ((6, 4), float), ((48, 64, 3), int)]
    assert [is_picture(*each) for each in pictures] == [True] * 4
    assert [is_picture(*each) for each in others] == [False] * 4
    assert is_picture((6, 4), "float32", np.zeros((6, 4)).tolist(), 1.0)
    assert not is_picture((6, 4, 3), "float32", -1.0, 1.0)


def test_large_texts_and_profiles_do_not_reject_a_png() -> None:
    data = encoded(PICTURE, "PNG")
    for kind, prefix in ((b"iCCP", b"p\0\0"), (b"zTXt", b"note\0\0")):
        body = kind + prefix + zlib.compress(bytes(3_000_000))
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        assert np.array_equal(rgb(image_colors(data[:33] + chunk + data[33:], IngestLog("fail"))[0]), PICTURE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_colour_profiles_other_than_srgb_are_named_in_a_notice(kind: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert "sRGB".encode("utf-16-be") in srgb
    wide = srgb.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
    for profile, is_named in ((srgb, False), (wide, True), (bytes(200), False)):
        log = IngestLog("fail")
        options = {"lossless": True} if kind == "WEBP" else {}
        image_colors(encoded(PICTURE, kind, icc_profile=profile, **options), log)
        assert any("colour profile" in text for text in log.notices) == is_named


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_images_are_turned_as_their_metadata_says(kind: str, options: dict[str, object]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise
    log = IngestLog("fail")
    flat = np.repeat(np.repeat(PICTURE[:4, :6] // 128 * 255, 8, 0), 8, 1)
    colors, _ = image_colors(encoded(flat, kind, exif=exif, **options), log)
    assert np.abs(rgb(colors).astype(int) - np.rot90(flat, -1)).mean() < (20 if kind == "JPEG" else 0.1)
    assert any("turned" in text for text in log.notices)
    assert any("JPEG" in text for text in log.notices) == (kind == "JPEG")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "PNG", "TIFF", "GIF"])
def test_damaged_and_oversized_images_are_refused(kind: str) -> None:
    data = encoded(PICTURE, kind)
    with pytest.raises(BadInput, match=r"truncated|not a readable"):
        image_colors(data[: len(data) // 2], IngestLog("fail"))
    with pytest.raises(BadInput, match="larger than"):
        image_colors(encoded(np.zeros((2, 5000), np.uint8), kind), IngestLog("fail"))


def test_animated_images_are_noticed() -> None:
    log = IngestLog("fail")
    first, second = (Image.fromarray(picture) for picture in noise(2))
    for kind in ("GIF", "PNG", "WEBP"):
        buffer = io.BytesIO()
        first.save(buffer, kind, save_all=True, append_images=[second])
        image_colors(buffer.getvalue(), log)
    assert sum("only the first" in text for text in log.notices) == 3


def test_frame_rates_are_exact() -> None:
    ntsc = Fraction(30000, 1001)
    for value in (ntsc, 29.97, "30000/1001", 30000 / 1001, "29.97"):
        assert frame_rate(value) == ntsc
    assert [frame_rate(value) for value in (60, 15.0, 12.5, 60 / 7)] == [60, 15, 12.5, Fraction(60, 7)]
    assert {frame_rate(value) for value in (None, 0, -1, "x", float("nan"), float("inf"), [3])} == {None}
