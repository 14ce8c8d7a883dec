"""What several recording formats share: packed colours, natural order, fingerprints, controls, cameras."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.errors import UserError


def pack_colors(pixels: np.ndarray) -> np.ndarray:
    """(H, W) gray or (H, W, 3) RGB uint8 to the (H, W) uint32 colours of a `Frame`."""
    wide = pixels.astype(np.uint32)
    return wide * 0x010101 if wide.ndim == 2 else wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def natural_key(name: str) -> list[Any]:
    """Sort key that puts `episode_2` before `episode_10`."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)] + [name]


def stamp(path: Path) -> tuple[int, int]:
    """Size and modification time of a file, for fingerprints; zeros if it is missing."""
    status = path.stat() if path.exists() else None
    return (status.st_size, status.st_mtime_ns) if status else (0, 0)


def is_control(value: Any) -> bool:
    """Whether a recorded action is a discrete control: an integer from 0 to 127."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= int(value) <= 127


def choose_camera(root: Path, cameras: list[str], wanted: str | None) -> str:
    """The image stream of a dataset to ingest: the wanted one, or the only one.

    Raises:
        UserError: there is none, or `wanted` does not decide between several.
    """
    if wanted in cameras or (wanted is None and len(cameras) == 1):
        return wanted or cameras[0]
    if not cameras:
        raise UserError(f"{root}: this dataset holds no images; see docs/inputs.md")
    unknown = "" if wanted is None else f"no camera {wanted}; "
    raise UserError(f"{root}: {unknown}choose one with --camera: {', '.join(cameras)}")
