"""What callers may hand to a model, checked and brought to one form.

Dimensions: N frames or pairs, C colour channels, H W frame, P palette size, h w grid.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ghostpad.errors import UserError
from ghostpad.luma import tensor_luma
from ghostpad.model.frame_format import FrameFormat

# Plain PyTorch is fastest on a CPU with few pairs at a time: their activations stay in its caches.
_PAIRS_AT_ONCE = {"cpu": 4, "cuda": 64}


def to_frames(
    given: np.ndarray | Tensor, wanted: FrameFormat, device: torch.device, name: str
) -> tuple[Tensor, bool]:
    """Return frames as (N, C, H, W) float32 in [0, 1] on `device`, and whether one single frame was given.

    Raises:
        UserError: the shape, type or range does not fit; the line says which and what is needed.
    """
    if isinstance(given, np.ndarray) and not given.flags.writeable:
        given = given.copy()  # PyTorch warns of arrays that it could write to but must not
    if not isinstance(given, (np.ndarray, Tensor)):
        raise UserError(f"{name} are of type {type(given).__name__}; give a numpy array or a torch tensor")
    frames = torch.as_tensor(given).to(device)
    frames, single = _with_batch(frames, wanted, name)
    if frames.dtype == torch.uint8:
        if wanted.grayscale and frames.shape[1] == 3:
            frames = tensor_luma(frames)
        return frames.float() / 255, single
    if not frames.is_floating_point():
        raise UserError(f"{name} are {frames.dtype}; give uint8 in 0…255 or float in 0…1")
    frames = frames.float()
    if frames.numel() and not bool(((frames >= 0) & (frames <= 1)).all()):
        low, high = float(frames.min()), float(frames.max())
        raise UserError(f"{name} are floats from {low:g} to {high:g}; they must lie in 0…1 (divide by 255)")
    if wanted.grayscale and frames.shape[1] == 3:
        frames = tensor_luma((frames * 255).round()).float() / 255
    return frames, single


def to_pairs(
    frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor, wanted: FrameFormat, device: torch.device
) -> tuple[Tensor, bool]:
    """Return frames and next frames as (N, 2·C, H, W), and whether one single pair was given.

    Raises:
        UserError: one of them does not fit, or there are more of one than of the other.
    """
    shown, single = to_frames(frames, wanted, device, "frames")
    next_shown, _ = to_frames(next_frames, wanted, device, "next_frames")
    if shown.shape != next_shown.shape:
        raise UserError(f"{len(shown)} frames but {len(next_shown)} next_frames: one is needed for each")
    return torch.cat([shown, next_shown], 1), single


def to_codes(
    given: np.ndarray | Tensor, wanted: tuple[int, ...], num_codes: int, device: torch.device
) -> Tensor:
    """Return codes as (N, h, w) int64 on `device`.

    Raises:
        UserError: they are no integers in [0, num_codes), or not of the shape that is wanted.
    """
    codes = torch.as_tensor(given).to(device)
    if codes.is_floating_point() or codes.is_complex():
        raise UserError(f"codes are {codes.dtype}; give integers")
    codes = codes.to(torch.int64)
    codes = codes[None] if codes.ndim == 2 else codes
    if codes.shape != wanted:
        raise UserError(f"codes have the shape {tuple(codes.shape)}, but {wanted} is needed")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < num_codes:
        raise UserError(f"codes must lie in 0…{num_codes - 1}")
    return codes


def pairs_at_once(device: torch.device) -> int:
    """How many pairs at a time a model is quickest with, when no gradient is wanted."""
    return _PAIRS_AT_ONCE.get(device.type, _PAIRS_AT_ONCE["cpu"])


def in_fixed_batches(part: Callable[[Tensor], Tensor], pairs_N2CHW: Tensor) -> Tensor:
    """Apply `part` to a fixed number of pairs at a time, the last of them filled up.

    For another batch size libraries choose another algorithm, which rounds otherwise: this way what a pair
    gives depends on the pair alone, bit for bit.
    """
    size = pairs_at_once(pairs_N2CHW.device)
    results = []
    for pairs in pairs_N2CHW.split(size) if len(pairs_N2CHW) else (pairs_N2CHW,):
        filling = pairs[-1:].expand(size - len(pairs), -1, -1, -1) if len(pairs) else pairs
        results.append(part(torch.cat([pairs, filling]))[: len(pairs)])
    return torch.cat(results)


def _with_batch(frames: Tensor, wanted: FrameFormat, name: str) -> tuple[Tensor, bool]:
    size, shape = (wanted.height, wanted.width), tuple(frames.shape)
    channels = (1, 3) if wanted.grayscale else (3,)
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
    kind = "grayscale or RGB" if wanted.grayscale else "RGB"
    raise UserError(
        f"{name} have the shape {shape}; this model takes {kind} frames {wanted.height} high and "
        f"{wanted.width} wide: (N, C, H, W) or (N, H, W, C)"
    )


def palette_indices(frames_NCHW: Tensor, palette_PC: Tensor) -> Tensor:
    """Indices (N, H, W) of the palette's colours in frames in [0, 1].

    Raises:
        UserError: a pixel has a colour that is not in the palette.
    """
    frames, palette = (frames_NCHW * 255).round(), (palette_PC * 255).round()
    # A colour as one number below 2²⁴, which float32 holds exactly; on a CPU far quicker than integers.
    base = [1.0, 256.0, 65536.0][: palette.shape[1]]
    keys = sum((frames[:, c] * weight for c, weight in enumerate(base)), torch.zeros_like(frames[:, 0]))
    sorted_keys, order = (palette * palette.new_tensor(base)).sum(1).sort()
    places = torch.bucketize(keys, sorted_keys, out_int32=True).clamp_max(len(order) - 1)
    foreign = sorted_keys[places] != keys
    if bool(foreign.any()):
        index, y, x = (int(v) for v in foreign.nonzero()[0])
        color = tuple(int(v) for v in frames[index, :, y, x])
        raise UserError(
            f"frame {index} has the colour {color} at x={x}, y={y}, which the model's palette of "
            f"{len(order)} colours does not hold; use a model trained on such frames"
        )
    return order[places]
