"""Motion of every transition of a store, as a few numbers: the input of button inference.

Dimensions: N frames, T transitions or frames of a run, H W frame, F features.
"""

import numpy as np
import torch
from torch import Tensor

from ghostpad.frames.store import FrameStore
from ghostpad.labels.shards import frame_runs
from ghostpad.model.frame_format import FrameScale
from ghostpad.motion.shift import region_shifts
from ghostpad.progress import progress

LONGEST_SIDE = 160
"""Pixels that a frame is averaged down to, if it is larger."""
FIXED_SHARE = 0.7
"""Share of the pixels that equal the background from which the camera counts as fixed (0.9 to 1.0 in Atari
games whose camera is fixed; 0.3 to 0.5 in ViZDoom, Crafter and CoinRun)."""
_TOLERANCE = 5
"""Gray levels up to which a pixel equals the background."""
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
    scale = FrameScale(-(-max(background_HW.shape) // LONGEST_SIDE), picks=False)
    found = []
    for index in progress(range(len(store.episodes)), what="motion", unit="episodes"):
        for _, run_TCHW in frame_runs(store, index, True, stride):
            parts = []
            for part_NCHW in torch.from_numpy(run_TCHW).split(_AT_ONCE):  # large frames need much memory
                luma_NCHW = part_NCHW.float() / 255
                if not moves:
                    luma_NCHW = luma_NCHW - background_HW.float() / 255
                parts.append(scale.shrink(luma_NCHW)[:, 0])
            luma_THW = torch.cat(parts)
            pairs = zip(luma_THW[:-stride].split(_AT_ONCE), luma_THW[stride:].split(_AT_ONCE), strict=True)
            found += [region_shifts(*pair, windowed=moves) for pair in pairs]
    shifts_TR3 = torch.cat(found)
    pixels = shifts_TR3[..., :2]
    squashed = pixels.sign() * pixels.abs().log1p()
    return torch.cat([squashed, shifts_TR3[..., 2:]], 2).flatten(1).numpy()


def _background(store: FrameStore) -> tuple[Tensor, float]:
    """The median frame (H, W) uint8 of all episodes, and the share of pixels that equal it."""
    lengths = [episode.num_frames for episode in store.episodes]
    step = max(1, sum(lengths) // _FRAMES_FOR_BACKGROUND)
    some = np.concatenate([store.read(i, slice(0, None, step), True)[:, 0] for i in range(len(lengths))])
    some_NHW = torch.from_numpy(some)
    median_HW = some_NHW.median(0).values
    return median_HW, float(((some_NHW.short() - median_HW).abs() <= _TOLERANCE).float().mean())
