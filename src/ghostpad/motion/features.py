"""Motion of every transition of a store, as a few numbers: the input of button inference.

Dimensions: N frames, T transitions, H W frame, F features, K colours.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ghostpad.frames.store import FrameStore
from ghostpad.labels.shards import frame_runs
from ghostpad.luma import tensor_luma
from ghostpad.model.frame_format import FrameScale
from ghostpad.motion.colors import NUM_COLORS, coarse_colors, color_shifts
from ghostpad.motion.pose import ScreenFixedCells, cell_means
from ghostpad.motion.shift import region_shifts
from ghostpad.progress import progress

LONGEST_SIDE = 160  # pixels that a frame is averaged down to, if it is larger
FIXED_SHARE = 0.75
"""The camera counts as fixed if at least this share of the pixels equals the background of their episode.
Chosen on the twelve games of docs/games.md: 0.8 to 1.0 in MiniGrid and Atari, 0.3 to 0.7 in the others."""
_TOLERANCE = 5  # gray levels up to which a pixel equals the background
_FRAMES_FOR_BACKGROUND, _EPISODES_FOR_CAMERA = 24, 32
_AT_ONCE, _WHITE = 64, 255


@dataclass(frozen=True)
class Motion:
    """Motion of T transitions, in the order of `Transitions(store, None)`."""

    features_TF: np.ndarray
    """Float32 sign(x)·log(1 + |x|) of shifts x in pixels, down and right: of colours (see `color_shifts`) if
    the camera is fixed, else of the regions of the frame (see `regions`). After the shifts of regions, the
    colours of the next frame, in [0, 1], in the cells that keep their place while the camera moves."""
    fixed_camera: bool
    """Whether most pixels show the background of their episode."""
    tracked_K: np.ndarray | None = None
    """The colours whose shifts are measured before a fixed camera."""
    screen_fixed_RC: np.ndarray | None = None
    """Mask of the cells that keep their place while the camera moves (see `ScreenFixedCells`)."""

    @property
    def num_shifts(self) -> int:
        """How many features are shifts; the others are colours."""
        cells = 0 if self.screen_fixed_RC is None else int(self.screen_fixed_RC.sum())
        return self.features_TF.shape[1] - 3 * cells


def motion_features(store: FrameStore, stride: int = 1) -> Motion:
    """Measure the motion of all transitions: of colours under a fixed camera, else of regions and sprite."""
    fixed, tracked_K = _camera(store)
    if fixed:
        return Motion(_color_motion(store, stride, tracked_K), True, tracked_K)
    cells = ScreenFixedCells()
    shifts_TF = region_motion(store, stride, cells=cells)
    screen_fixed_RC = cells.found()
    if not screen_fixed_RC.any():
        return Motion(shifts_TF, False)
    colors_TF = _colors_after(store, stride, screen_fixed_RC)
    return Motion(np.concatenate([shifts_TF, colors_TF], 1), False, None, screen_fixed_RC)


def features_of_pairs(
    motion: Motion, store: FrameStore, episode: int, before_NCHW: np.ndarray, after_NCHW: np.ndarray
) -> np.ndarray:
    """Features (N, F), as in `motion`, of pairs of uint8 RGB frames that are not neighbours in the store.

    `episode` is the one whose background they have.
    """
    if motion.fixed_camera:
        assert motion.tracked_K is not None
        background_HW = _background(_some_frames(store, episode))[1]
        in_turn_NHW = coarse_colors(
            np.stack([before_NCHW, after_NCHW], 1).reshape(-1, *before_NCHW.shape[1:])
        )
        return _squashed(color_shifts(in_turn_NHW, background_HW, motion.tracked_K)[::2])
    scale = _scale(store)
    before_NHW, after_NHW = (
        scale.shrink(tensor_luma(torch.from_numpy(each)).float() / _WHITE)[:, 0]
        for each in (before_NCHW, after_NCHW)
    )
    shifts_NF = _squashed(region_shifts(before_NHW, after_NHW)[..., :2].flatten(1).numpy())
    if motion.screen_fixed_RC is None:
        return shifts_NF
    return np.concatenate([shifts_NF, _colors(after_NCHW, motion.screen_fixed_RC)], 1)


def _scale(store: FrameStore) -> FrameScale:
    return FrameScale(-(-max(store.height, store.width) // LONGEST_SIDE), picks=False)


def region_motion(
    store: FrameStore, stride: int = 1, off_background: bool = False, cells: ScreenFixedCells | None = None
) -> np.ndarray:
    """Shifts (T, F) of the regions of the frame, as in `Motion`, or of what is off the background there.

    `cells` are given all pairs of frames and the shifts of the whole picture.
    """
    scale, found = _scale(store), []
    for index in progress(range(len(store.episodes)), what="motion", unit="episodes"):
        background_HW = _background(_some_frames(store, index))[0] if off_background else 0
        for _, run_TCHW in frame_runs(store, index, True, stride):
            parts = []
            for part_NCHW in torch.from_numpy(run_TCHW).split(_AT_ONCE):  # large frames need much memory
                luma_NCHW = part_NCHW.int() - background_HW
                parts.append(scale.shrink(luma_NCHW.float() / _WHITE)[:, 0])
            luma_THW = torch.cat(parts)
            for pair in zip(
                luma_THW[:-stride].split(_AT_ONCE), luma_THW[stride:].split(_AT_ONCE), strict=True
            ):
                shifts_NR2 = region_shifts(*pair, windowed=not off_background)[..., :2]
                found.append(shifts_NR2.flatten(1))
                if cells is not None:
                    cells.add(*pair, shifts_NR2[:, 0])
    return _squashed(torch.cat(found).numpy())


def _color_motion(store: FrameStore, stride: int, tracked_K: np.ndarray) -> np.ndarray:
    """Shifts (T, F) of colours, as in `Motion`."""
    found = []
    for index in progress(range(len(store.episodes)), what="motion", unit="episodes"):
        background_HW = _background(_some_frames(store, index))[1]
        for _, run_TCHW in frame_runs(store, index, False, stride):
            found.append(color_shifts(coarse_colors(run_TCHW), background_HW, tracked_K, stride))
    return _squashed(np.concatenate(found))


def _colors_after(store: FrameStore, stride: int, screen_fixed_RC: np.ndarray) -> np.ndarray:
    """Colours (T, F) of each next frame, as in `Motion`."""
    runs = (run for index in range(len(store.episodes)) for run in frame_runs(store, index, False, stride))
    return np.concatenate([_colors(run_TCHW[stride:], screen_fixed_RC) for _, run_TCHW in runs])


def _colors(frames_NCHW: np.ndarray, screen_fixed_RC: np.ndarray) -> np.ndarray:
    parts = torch.from_numpy(frames_NCHW).split(_AT_ONCE)
    colors_N3RC = torch.cat([cell_means(part.float() / _WHITE) for part in parts])
    return colors_N3RC.numpy()[..., screen_fixed_RC].reshape(len(frames_NCHW), -1)


def _squashed(shifts_TF: np.ndarray) -> np.ndarray:
    """sign(x)·log(1 + |x|), so that large shifts weigh less."""
    return np.sign(shifts_TF) * np.log1p(np.abs(shifts_TF))


def _camera(store: FrameStore) -> tuple[bool, np.ndarray]:
    """Whether the camera is fixed; and the commonest colours (K,) off the background."""
    shares, counts = [], np.zeros(64, np.int64)
    for index in np.linspace(0, len(store.episodes) - 1, min(len(store.episodes), _EPISODES_FOR_CAMERA)):
        some_NCHW = _some_frames(store, int(index))
        luma_HW, colors_HW = _background(some_NCHW)
        off_N1HW = (tensor_luma(torch.from_numpy(some_NCHW)) - luma_HW).abs() > _TOLERANCE
        shares.append(1 - float(off_N1HW.float().mean()))
        colors_NHW = coarse_colors(some_NCHW)
        counts += np.bincount(colors_NHW[colors_NHW != colors_HW], minlength=64)
    fixed = float(np.median(shares)) >= FIXED_SHARE
    commonest = np.argsort(-counts, kind="stable")[:NUM_COLORS]
    return fixed, commonest[counts[commonest] > 0]


def _some_frames(store: FrameStore, index: int) -> np.ndarray:
    """Frames (N, 3, H, W) uint8 that are spread over an episode."""
    step = max(1, store.episodes[index].num_frames // _FRAMES_FOR_BACKGROUND)
    return store.read(index, slice(0, None, step), False)


def _background(some_NCHW: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Median luma (H, W) int32 and median colour (H, W) uint8: the commonest where one covers most frames."""
    luma_HW = tensor_luma(torch.from_numpy(some_NCHW))[:, 0].median(0).values
    return luma_HW, np.sort(coarse_colors(some_NCHW), axis=0)[len(some_NCHW) // 2]
