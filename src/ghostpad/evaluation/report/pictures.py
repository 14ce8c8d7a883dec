"""Frames as small PNGs inside the page: crisp, and heat maps of errors.

Dimensions: C colour channels (1 or 3), H W frame, h w grid of codes.
"""

import base64
import io

import numpy as np

from ghostpad.evaluation.reconstruction import dilate

MARK_RGB = (255, 64, 255)
"""Colour of the frame drawn around what changed: no game of the Atari shows it."""
_HEAT_STOPS = ((0, 0, 0), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""The colour map "inferno" of matplotlib at five places."""


def data_uri(picture: np.ndarray) -> str:
    """PNG of (C, H, W), (H, W) or (H, W, 3) uint8 as a `data:` address."""
    from PIL import Image

    if picture.ndim == 3 and picture.shape[0] in (1, 3) and picture.shape[2] not in (1, 3):
        picture = picture.transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(picture.squeeze()))
    if image.mode == "RGB" and image.getcolors(256) is not None:
        image = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        if not np.array_equal(np.asarray(image.convert("RGB")), picture.squeeze()):
            image = Image.fromarray(np.ascontiguousarray(picture.squeeze()))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def to_rgb(picture_CHW: np.ndarray) -> np.ndarray:
    """(C, H, W) uint8 as (H, W, 3)."""
    return np.broadcast_to(picture_CHW, (3, *picture_CHW.shape[1:])).transpose(1, 2, 0).copy()


def error_map(predicted_CHW: np.ndarray, true_CHW: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: black where right, through red to light yellow where the error is half the range."""
    error = np.abs(predicted_CHW.astype(np.float32) - true_CHW).mean(0) / 255
    return heat(np.clip(2 * error, 0, 1))


def heat(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] (…) as colours (…, 3) uint8."""
    places = np.linspace(0, 1, len(_HEAT_STOPS))
    channels = [np.interp(values, places, [stop[channel] for stop in _HEAT_STOPS]) for channel in range(3)]
    return np.round(np.stack(channels, -1)).astype(np.uint8)


def mark(picture_CHW: np.ndarray, changed_HW: np.ndarray) -> np.ndarray:
    """Picture (H, W, 3) with a line around the pixels that changed."""
    drawn = to_rgb(picture_CHW)
    wide = dilate(changed_HW[None], 2)[0]
    drawn[wide & ~dilate(changed_HW[None], 1)[0]] = MARK_RGB
    return drawn


def over_grid(picture_CHW: np.ndarray, values_hw: np.ndarray, strength: float = 0.75) -> np.ndarray:
    """Picture (H, W, 3) with a heat map over it, one field per cell of the grid; the most is brightest."""
    height, width = picture_CHW.shape[1:]
    rows = np.arange(height) * values_hw.shape[0] // height
    columns = np.arange(width) * values_hw.shape[1] // width
    top = values_hw.max()
    shares = (values_hw / top if top > 0 else values_hw)[rows][:, columns]
    colors = heat(shares)
    weight = strength * shares[..., None]
    dim = to_rgb(picture_CHW) * 0.6
    return np.round(dim * (1 - weight) + colors * weight).astype(np.uint8)
