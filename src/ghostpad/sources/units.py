"""What a worker decodes in one go, wherever the frames come from.

Every source (PNG folders, videos, Minari, LeRobot) lists *units*; a unit yields frames. A unit is small and
can be pickled: it names files, and opens them in the worker.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from ghostpad.sources.faults import BadInput, Rejected

MAX_SIDE = 4096
"""Most pixels that a frame may be high or wide."""
PIECE_FRAMES = 1000
"""Most frames that are decoded and hashed in one go; longer episodes are done in parts of this length."""


class Frame(NamedTuple):
    """A decoded frame."""

    episode: str
    number: int
    """Its number in the episode; a gap in the numbers begins a new episode."""
    colors: np.ndarray
    """(H, W) uint32, each `red | green << 8 | blue << 16`."""
    gray: bool
    """Whether the source has no colours at all."""
    file: str
    """File that it comes from, for error messages."""
    new_episode: bool = False
    """Whether an episode begins here although the numbers go on (a scene cut)."""


class Notice(NamedTuple):
    """Something that the user should know; said once per ingest."""

    text: str


@dataclass(frozen=True)
class Fit:
    """The size that all frames of a store have."""

    height: int
    width: int
    resize: bool = False
    """Whether frames of another size are brought to this one; else they are faults."""
    crop: bool = False
    """Keep the proportions and cut off what sticks out, instead of squeezing."""

    def __call__(self, colors: np.ndarray) -> np.ndarray:
        """Bring (H, W) colours to size.

        Raises:
            BadInput: the size is another one and resizing was not asked for.
        """
        height, width = colors.shape
        if (height, width) == (self.height, self.width):
            return colors
        if not self.resize:
            raise BadInput(f"is {width}x{height}, but the frames before are {self.width}x{self.height}")
        pixels = np.ascontiguousarray(colors, "<u4").view(np.uint8).reshape(height, width, 4)
        picture, size = Image.fromarray(np.ascontiguousarray(pixels[..., :3])), (self.width, self.height)
        box = Image.Resampling.BOX
        picture = ImageOps.fit(picture, size, box) if self.crop else picture.resize(size, box)
        return rgb_to_colors(np.asarray(picture))


def rgb_to_colors(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to (H, W) uint32 colours."""
    wide = rgb.astype(np.uint32)
    return wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def gray_to_colors(gray: np.ndarray) -> np.ndarray:
    """(H, W) uint8 to (H, W) uint32 colours."""
    return gray.astype(np.uint32) * 0x010101


@dataclass(frozen=True)
class Unit(ABC):
    """Frames that one worker decodes."""

    name: str
    """The episode folder, video file or episode; several units may share one (a long episode in parts)."""
    state: str
    """Fingerprint of the files behind `name`: unchanged means that they need not be read again."""
    num_frames: int
    """How many frames to expect (an estimate for some videos)."""

    @abstractmethod
    def frames(self) -> Iterator[Frame | Rejected | Notice]:
        """Decode the frames in order."""

    def source(self) -> str:
        """Where the frames come from, for the manifest."""
        return self.name

    def metadata(self, episode: str, start: int, num_frames: int) -> dict[str, Any] | None:
        """What is known about frames `start` … of an episode (as in `episode.json`), None if nothing.

        Raises:
            BadInput: it is damaged.
        """
        del episode, start, num_frames
        return None

    def truth(self, start: int, num_frames: int) -> dict[str, np.ndarray] | None:
        """The state of the game in frames `start` … (as in `truth.npz`), None if nobody recorded it.

        Raises:
            BadInput: it is damaged.
        """
        del start, num_frames
        return None


def slice_metadata(metadata: dict[str, Any], start: int, num_frames: int) -> dict[str, Any]:
    """Cut the lists of `episode.json`, per frame or per transition, to `num_frames` frames from `start`."""
    lengths = {"controls": num_frames - 1, "rewards": num_frames - 1, "lives": num_frames}
    cut = dict(metadata)
    for name, length in lengths.items():
        values = metadata.get(name)
        part = values[start : start + length] if isinstance(values, list) else []
        if len(part) == length:
            cut[name] = part
        else:
            cut.pop(name, None)
    return cut
