"""Single frames as PNG, for labels that carry their frames along."""

import io

import numpy as np
from PIL import Image


def to_png(frame: np.ndarray, palette: np.ndarray | None) -> bytes:
    """Compress a frame: palette indices (H, W) with their palette (P, 3), gray (H, W), or RGB (H, W, 3)."""
    if palette is None:
        image = Image.fromarray(np.asarray(frame))
    else:
        image = Image.frombytes("P", (frame.shape[1], frame.shape[0]), frame.tobytes())
        image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=4)
    return buffer.getvalue()


def to_rgb(png: bytes) -> np.ndarray:
    """Decompress a PNG to RGB uint8 (H, W, 3)."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))
