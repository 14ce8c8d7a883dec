"""Frames as small images inside the page, and heat maps over them.

Dimensions: C colour channels (1 or 3), H W frame, h w grid of codes.
"""

import base64
import io

import numpy as np

from ghostpad.evaluation.reconstruction import dilate
from ghostpad.theme import OUTLINE_RGB, SEQUENTIAL


def data_uri(picture: np.ndarray) -> str:
    """PNG of (C, H, W), (H, W) or (H, W, 3) uint8 as a `data:` address."""
    from PIL import Image

    if picture.ndim == 3 and picture.shape[0] in (1, 3) and picture.shape[2] not in (1, 3):
        picture = picture.transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(picture.squeeze()))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def film_uri(frames_THW3: np.ndarray, milliseconds: int) -> str:
    """Animated WebP of (T, H, W, 3) uint8 as a `data:` address: without loss where that is not larger."""
    from PIL import Image

    first, *others = map(Image.fromarray, frames_THW3)
    films = []
    for options in ({"lossless": True}, {"quality": 80}):
        buffer = io.BytesIO()
        first.save(
            buffer, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=0, **options
        )
        films.append(buffer.getvalue())
    return "data:image/webp;base64," + base64.b64encode(min(films, key=len)).decode()


def to_rgb(picture_CHW: np.ndarray) -> np.ndarray:
    """(C, H, W) uint8 as (H, W, 3)."""
    return np.broadcast_to(picture_CHW, (3, *picture_CHW.shape[1:])).transpose(1, 2, 0).copy()


def heat(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] (…) as colours (…, 3) uint8: black, purple, orange, light yellow."""
    from matplotlib import colormaps

    return colormaps[SEQUENTIAL](values.astype(np.float64), bytes=True)[..., :3]


def error_map(predicted_CHW: np.ndarray, true_CHW: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: black where the prediction is right, brightest from half the range of values on."""
    error = np.abs(predicted_CHW.astype(np.float32) - true_CHW).mean(0) / 255
    return heat(np.clip(2 * error, 0, 1))


def mark(picture_CHW: np.ndarray, changed_HW: np.ndarray) -> np.ndarray:
    """Picture (H, W, 3) with an outline around the pixels that changed."""
    marked = to_rgb(picture_CHW)
    inner, outer = (dilate(changed_HW[None], width)[0] for width in (1, 2))
    marked[outer & ~inner] = OUTLINE_RGB
    return marked


def over_grid(picture_CHW: np.ndarray, values_hw: np.ndarray, strength: float = 0.75) -> np.ndarray:
    """Picture (H, W, 3) under a heat map with one field per grid cell; the largest value is brightest."""
    height, width = picture_CHW.shape[1:]
    rows = np.arange(height) * values_hw.shape[0] // height
    columns = np.arange(width) * values_hw.shape[1] // width
    shares = (values_hw / max(float(values_hw.max()), 1e-12))[rows][:, columns]
    weight = strength * shares[..., None]
    return np.round(0.6 * to_rgb(picture_CHW) * (1 - weight) + heat(shares) * weight).astype(np.uint8)
