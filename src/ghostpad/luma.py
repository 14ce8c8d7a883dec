"""Gray values of colours, one formula for all: ITU-R 601 luma, rounded exactly as Pillow's mode "L"."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Channel = TypeVar("Channel", int, np.ndarray, "Tensor")


def luma_of(red: Channel, green: Channel, blue: Channel) -> Channel:
    """Luma, 0…255, of channels in 0…255: integers of at least 32 bits, as scalars, arrays or tensors."""
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def luma(rgb: np.ndarray) -> np.ndarray:
    """Luma of (…, 3) uint8 as (…) uint8."""
    return luma_of(*(rgb[..., channel].astype(np.int32) for channel in range(3))).astype(np.uint8)


def to_channels(rgb_nHWC: np.ndarray, grayscale: bool) -> np.ndarray:
    """RGB frames (n, H, W, 3) uint8 as (n, C, H, W): luma (C = 1) if `grayscale`, else RGB."""
    return luma(rgb_nHWC)[:, None] if grayscale else np.ascontiguousarray(rgb_nHWC.transpose(0, 3, 1, 2))


def tensor_luma(frames_N3HW: "Tensor") -> "Tensor":
    """Luma of (N, 3, H, W) uint8 on any device as (N, 1, H, W) int32."""
    return luma_of(*frames_N3HW.int().unbind(1))[:, None]
