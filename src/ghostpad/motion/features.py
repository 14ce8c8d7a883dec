"""Motion of every transition of a store, as a few numbers: the input of button inference.

Dimensions: N frames, T transitions, H W frame, F features.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ghostpad.frames.store import FrameStore
from ghostpad.motion.shift import region_shifts
from ghostpad.progress import progress

LONGEST_SIDE = 160
"""Pixels that a frame is averaged down to, if it is larger."""
FIXED_SHARE = 0.7
"""Share of the pixels that equal the background from which the camera counts as fixed (0.9 to 1.0 in Atari
games whose camera is fixed; 0.3 to 0.5 in ViZDoom, Crafter and CoinRun)."""
_TOLERANCE = 0.02
_FRAMES_FOR_BACKGROUND = 240
_AT_ONCE = 64


def motion_features(store: FrameStore, stride: int = 1) -> np.ndarray:
    """Shifts of regions for the transitions of all episodes, in the order of `Transitions(store, None)`.

    Where the camera is fixed, shifts are those of what differs from the background.

    Args:
        store: of any game.
        stride: frames from a frame to its next frame.

    Returns:
        (T, F) float32: for each region the shift down and right, sign(x)·log(1 + |x|) of the pixels, and the
        height of the peak in [0, 1].
    """
    background_HW, share = _background(store)
    moves = share < FIXED_SHARE
    factor = -(-max(background_HW.shape) // LONGEST_SIDE)
    found = []
    for index in progress(range(len(store.episodes)), what="motion", unit="episodes"):
        frames_NHW = _luma(store, index, slice(None))
        if not moves:
            frames_NHW = frames_NHW - background_HW
        if factor > 1:
            frames_NHW = F.avg_pool2d(frames_NHW[:, None], factor)[:, 0]
        pairs = zip(frames_NHW[:-stride].split(_AT_ONCE), frames_NHW[stride:].split(_AT_ONCE), strict=True)
        found += [region_shifts(*pair, windowed=moves) for pair in pairs if len(pair[0])]
    shifts_TR3 = torch.cat(found)
    pixels = shifts_TR3[..., :2]
    squashed = pixels.sign() * pixels.abs().log1p()
    return torch.cat([squashed, shifts_TR3[..., 2:]], 2).flatten(1).numpy()


def _background(store: FrameStore) -> tuple[Tensor, float]:
    """The median frame (H, W) of all episodes, and the share of pixels that equal it."""
    total = sum(episode.num_frames for episode in store.episodes)
    step = max(1, total // _FRAMES_FOR_BACKGROUND)
    some = torch.cat([_luma(store, index, slice(0, None, step)) for index in range(len(store.episodes))])
    median_HW = some.median(0).values
    return median_HW, float(((some - median_HW).abs() < _TOLERANCE).float().mean())


def _luma(store: FrameStore, index: int, frames: slice) -> Tensor:
    """Frames (N, H, W) of an episode in [0, 1], in gray."""
    return torch.from_numpy(store.read(index, frames, True)[:, 0]).float() / 255
