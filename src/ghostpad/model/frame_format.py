"""The frames of a model: what it was trained on, what it accepts from callers, and the scale it works at.

Dimensions: N frames or pairs, B batch, C colour channels, H W frame, P palette size, h w grid.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ghostpad.errors import UserError
from ghostpad.frames.batches import Batch
from ghostpad.luma import tensor_luma


@dataclass(frozen=True)
class FrameFormat:
    """What the model was trained on; taken from the data, never set by hand."""

    height: int = 210
    """pixels"""
    width: int = 160
    """pixels"""
    grayscale: bool = True
    """one channel (ITU-R 601 luma) instead of three"""
    stride: int = 1
    """frames from a frame to its next frame"""
    palette: tuple[tuple[int, ...], ...] = ()
    """the colours (0 to 255, one or three numbers each) that occur; empty when the store has no palette"""
    downsample: int = 1
    """the model works on frames this many times smaller; its inputs and outputs keep the source size"""
    history: int = 1
    """frames that the model sees up to the current one, `stride` apart"""

    @property
    def inner_size(self) -> tuple[int, int]:
        """Height and width that the convolutions see."""
        return -(-self.height // self.downsample), -(-self.width // self.downsample)


@dataclass(frozen=True)
class FrameScale:
    """Scales source frames down by `factor`, and predictions back up."""

    factor: int
    picks: bool
    """take every n-th pixel, so that colours stay in the palette, instead of the mean"""

    def shrink(self, frames_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, ceil(H / factor), ceil(W / factor))."""
        if self.factor == 1:
            return frames_BCHW
        if self.picks:
            return frames_BCHW[:, :, :: self.factor, :: self.factor]
        return F.avg_pool2d(frames_BCHW, self.factor, ceil_mode=True, count_include_pad=False)

    def shrink_batch(self, batch: Batch) -> Batch:
        """Shrink frames and, when there are any, palette indices."""
        if self.factor == 1:
            return batch
        colors = (batch.colors, batch.next_colors)
        small = (None if c is None else c[:, :: self.factor, :: self.factor] for c in colors)
        return Batch(self.shrink(batch.frames), self.shrink(batch.next_frames), *small)

    def enlarge(self, predicted: Tensor, inner: Tensor, frames_BCHW: Tensor) -> Tensor:
        """Scale a small prediction up: changes are applied to the current frame, all else stays sharp.

        Args:
            predicted: (B, C, h, w) the small next frame.
            inner: (B, C, h, w) the small current frame, from which it was predicted.
            frames_BCHW: the current frame at the source size.
        """
        if self.factor == 1:
            return predicted
        change, blocks = predicted - inner, predicted
        for dim, size in ((2, frames_BCHW.shape[2]), (3, frames_BCHW.shape[3])):
            change = change.repeat_interleave(self.factor, dim).narrow(dim, 0, size)
            blocks = blocks.repeat_interleave(self.factor, dim).narrow(dim, 0, size)
        if self.picks:
            return torch.where((change != 0).any(1, keepdim=True), blocks, frames_BCHW)
        return (frames_BCHW + change).clamp(0, 1)


def to_frames(
    given: np.ndarray | Tensor, format: FrameFormat, device: torch.device, name: str
) -> tuple[Tensor, bool]:
    """Return frames as (N, C, H, W) float32 in [0, 1] on `device`, and whether a single frame was given.

    Raises:
        UserError: the shape, type or range does not fit; the line says which and what is needed.
    """
    if isinstance(given, np.ndarray) and not given.flags.writeable:
        given = given.copy()  # PyTorch warns about read-only arrays
    if not isinstance(given, (np.ndarray, Tensor)):
        raise UserError(f"{name} are of type {type(given).__name__}; give a numpy array or a torch tensor")
    frames, single = _to_NCHW(torch.as_tensor(given).to(device), format, name)
    converts = format.grayscale and frames.shape[1] == 3
    if frames.dtype == torch.uint8:
        return (tensor_luma(frames) if converts else frames).float() / 255, single
    if not frames.is_floating_point():
        raise UserError(f"{name} are {frames.dtype}; give uint8 in 0…255 or float in 0…1")
    frames = frames.float()
    if frames.numel() and not bool(((frames >= 0) & (frames <= 1)).all()):
        low, high = float(frames.min()), float(frames.max())
        raise UserError(f"{name} are floats from {low:g} to {high:g}; they must lie in 0…1 (divide by 255)")
    return (tensor_luma((frames * 255).round()).float() / 255 if converts else frames), single


def to_history(given: np.ndarray | Tensor, format: FrameFormat, device: torch.device) -> tuple[Tensor, bool]:
    """Return frames with their history T as (N, T·C, H, W), and whether a single frame was given.

    History is given as (N, T, C, H, W) or (N, T, H, W, C), oldest first; where it is not given the current
    frame is repeated.

    Raises:
        UserError: the frames do not fit, see `to_frames`, or are not T.
    """
    if getattr(given, "ndim", 0) != 5:
        frames, single = to_frames(given, format, device, "frames")
        return (frames if format.history == 1 else frames.repeat(1, format.history, 1, 1)), single
    if given.shape[1] != format.history:
        raise UserError(f"frames with a history of {given.shape[1]}; this model takes {format.history}")
    frames, _ = to_frames(given.reshape(-1, *given.shape[2:]), format, device, "frames")
    return frames.reshape(len(given), -1, *frames.shape[2:]), False


def to_pairs(
    frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor, format: FrameFormat, device: torch.device
) -> tuple[Tensor, bool]:
    """Return frames, their history, and next frames as (N, (T + 1)·C, H, W), and whether it is a single pair.

    Raises:
        UserError: one of them does not fit, or their numbers differ.
    """
    frames_NCHW, single = to_history(frames, format, device)
    next_NCHW, _ = to_frames(next_frames, format, device, "next_frames")
    if len(frames_NCHW) != len(next_NCHW):
        raise UserError(f"{len(frames_NCHW)} frames but {len(next_NCHW)} next_frames: give one for each")
    return torch.cat([frames_NCHW, next_NCHW], 1), single


def to_codes(
    given: np.ndarray | Tensor, shape: tuple[int, ...], num_codes: int, device: torch.device
) -> Tensor:
    """Codes as (N, h, w) int64 on `device`; a UserError for other shapes or outside [0, num_codes)."""
    codes = torch.as_tensor(given).to(device)
    if codes.is_floating_point() or codes.is_complex():
        raise UserError(f"codes are {codes.dtype}; give integers")
    codes = codes.to(torch.int64)
    codes = codes[None] if codes.ndim == 2 else codes
    if codes.shape != shape:
        raise UserError(f"codes have the shape {tuple(codes.shape)}, but {shape} is needed")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < num_codes:
        raise UserError(f"codes must lie in 0…{num_codes - 1}")
    return codes


def palette_indices(frames_NCHW: Tensor, palette_PC: Tensor) -> Tensor:
    """Indices (N, H, W) of the palette's colours in frames in [0, 1]; a UserError for another colour."""
    frames, palette = (frames_NCHW * 255).round(), (palette_PC * 255).round()
    # A colour as one number below 2²⁴, which float32 holds exactly; on a CPU far faster than integers.
    base = [1.0, 256.0, 65536.0][: palette.shape[1]]
    keys = sum((frames[:, c] * weight for c, weight in enumerate(base)), torch.zeros_like(frames[:, 0]))
    sorted_keys, order = (palette * palette.new_tensor(base)).sum(1).sort()
    places = torch.bucketize(keys, sorted_keys, out_int32=True).clamp_max(len(order) - 1)
    unknown = sorted_keys[places] != keys
    if bool(unknown.any()):
        index, y, x = (int(v) for v in unknown.nonzero()[0])
        color = tuple(int(v) for v in frames[index, :, y, x])
        raise UserError(
            f"frame {index} has the colour {color} at x={x}, y={y}, which is not among the {len(order)} "
            "colours of the model's palette; use a model trained on such frames"
        )
    return order[places]


def pairs_at_once(device: torch.device) -> int:
    """How many pairs at a time a model processes fastest without gradients."""
    # On a CPU the activations of few pairs stay in its caches.
    return 64 if device.type == "cuda" else 4


def in_fixed_batches(part: Callable[[Tensor], Tensor], pairs_N2CHW: Tensor) -> Tensor:
    """Apply `part` to a fixed number of pairs at a time, the last batch padded.

    For another batch size libraries choose another algorithm with other rounding. With a fixed one the result
    for a pair depends on the pair alone, bit for bit.
    """
    size = pairs_at_once(pairs_N2CHW.device)
    results = []
    for pairs in pairs_N2CHW.split(size) if len(pairs_N2CHW) else (pairs_N2CHW,):
        padding = pairs[-1:].expand(size - len(pairs), -1, -1, -1) if len(pairs) else pairs
        results.append(part(torch.cat([pairs, padding]))[: len(pairs)])
    return torch.cat(results)


def _to_NCHW(frames: Tensor, format: FrameFormat, name: str) -> tuple[Tensor, bool]:
    size, shape = (format.height, format.width), tuple(frames.shape)
    channels = (1, 3) if format.grayscale else (3,)
    if len(shape) == 2 and shape == size and 1 in channels:
        return frames[None, None], True
    single = len(shape) == 3
    if single:
        frames = frames[None]
    if frames.ndim == 4:
        if frames.shape[1] in channels and tuple(frames.shape[2:]) == size:
            return frames, single
        if frames.shape[3] in channels and tuple(frames.shape[1:3]) == size:
            return frames.permute(0, 3, 1, 2), single
    kind = "grayscale or RGB" if format.grayscale else "RGB"
    raise UserError(
        f"{name} have the shape {shape}; this model takes {kind} frames {format.height} high and "
        f"{format.width} wide: (N, C, H, W) or (N, H, W, C)"
    )
