"""Reconstruction: error of predicted next frames, beside that of a model that copies the current frame.

The metrics are functions of sums over transitions (`ghostpad.sums`).

Dimensions: N transitions, C colour channels (1 or 3), H W frame. Frames are float32 in [0, 1].
"""

import numpy as np
from scipy.ndimage import maximum_filter

from ghostpad.sums import Sums, ratio

PSNR_CAP_DB = 100.0  # PSNR of a perfect prediction, instead of infinity
SSIM_WINDOW = 11
MOVING_MARGIN = 2  # pixels by which changed pixels are dilated for the moving PSNR


def psnr_db(mse: np.ndarray | float) -> np.ndarray:
    """10·log10(1/MSE) for values in [0, 1], at most `PSNR_CAP_DB`; NaN where the MSE is."""
    return -10 * np.log10(np.maximum(np.asarray(mse, np.float64), 10 ** (-PSNR_CAP_DB / 10)))


def changed(frames_NCHW: np.ndarray, next_frames_NCHW: np.ndarray) -> np.ndarray:
    """(N, H, W) bool: the pixels that differ between two frames."""
    return (frames_NCHW != next_frames_NCHW).any(1)


def dilate(mask_NHW: np.ndarray, margin: int = MOVING_MARGIN) -> np.ndarray:
    """Grow a mask by `margin` pixels in every direction, diagonals included."""
    return maximum_filter(mask_NHW, (1, 2 * margin + 1, 2 * margin + 1), mode="constant")


def pair_sums(predicted: np.ndarray, true: np.ndarray, current: np.ndarray) -> Sums:
    """Sums over the pixels of each transition.

    All frames are (N, C, H, W) float32; the copy model predicts the current ones.

    Returns:
        `pixels` (values per frame, C·H·W), `squared`, `absolute`, `moving_pixels`, `moving_squared`, and
        `copy_squared`, `copy_absolute`, `copy_moving_squared`; each (N,) float64.
    """
    moving = dilate(changed(current, true))[:, None]
    pixels = np.full(len(true), np.prod(true.shape[1:]), np.float64)
    sums = {"pixels": pixels, "moving_pixels": _total(moving) * true.shape[1]}
    for prefix, frames in (("", predicted), ("copy_", current)):
        error = frames - true
        squared = np.square(error)
        sums[f"{prefix}squared"] = _total(squared)
        sums[f"{prefix}absolute"] = _total(np.abs(error))
        sums[f"{prefix}moving_squared"] = _total(squared * moving)
    return sums


def squared_error(frames_NCHW: np.ndarray, others_NCHW: np.ndarray) -> np.ndarray:
    """(N,) sums over the values, in [0, 1], of uint8 frames."""
    error = (frames_NCHW.astype(np.float32) - others_NCHW) / 255
    return np.square(error).sum((1, 2, 3), dtype=np.float64)


def summarize(sums: Sums) -> Sums:
    """Metrics of sums over transitions, see docs/metrics.md; NaN where there is nothing to divide by."""
    metrics = {}
    for prefix in ("", "copy_"):
        metrics[f"{prefix}psnr_db"] = psnr_db(ratio(sums[f"{prefix}squared"], sums["pixels"]))
        metrics[f"{prefix}l1"] = ratio(sums[f"{prefix}absolute"], sums["pixels"])
        metrics[f"{prefix}l2"] = ratio(sums[f"{prefix}squared"], sums["pixels"])
        moving = ratio(sums[f"{prefix}moving_squared"], sums["moving_pixels"])
        metrics[f"{prefix}moving_psnr_db"] = psnr_db(moving)
    metrics["gain_over_copy_db"] = metrics["psnr_db"] - metrics["copy_psnr_db"]
    metrics["moving_gain_db"] = metrics["moving_psnr_db"] - metrics["copy_moving_psnr_db"]
    return metrics


def structural_similarity(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """SSIM of each pair of frames, (N,): Gaussian window 11, σ 1.5 (torchmetrics); NaN in smaller frames."""
    if min(true.shape[-2:]) < SSIM_WINDOW:
        return np.full(len(true), np.nan)
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(
        torch.from_numpy(predicted), torch.from_numpy(true), data_range=1.0, reduction="none"
    )
    assert isinstance(similarity, torch.Tensor)
    return similarity.reshape(len(true)).double().numpy()


def counterfactual_sums(
    swapped: np.ndarray,
    predicted: np.ndarray,
    true: np.ndarray,
    current: np.ndarray,
    source: np.ndarray,
    next_source: np.ndarray,
) -> Sums:
    """Effect of decoding with the codes of another transition, whose frames are `source` and `next_source`.

    All frames are (N, C, H, W) float32; `swapped` is decoded with those codes, `predicted` with their own.

    Returns:
        `swapped_squared` and `own_squared` for ΔPSNR (as in Genie, https://arxiv.org/abs/2402.15391);
        `leaked` and `leakable` for the leak test: over the pixels that are static in both transitions, the
        projection of the change caused by the other codes onto the difference between the two frames.
    """
    static = ~dilate(changed(current, true)) & ~dilate(changed(source, next_source))
    difference = (source - current) * static[:, None]
    return {
        "swapped_pixels": np.full(len(true), np.prod(true.shape[1:]), np.float64),
        "swapped_squared": _total(np.square(swapped - true)),
        "own_squared": _total(np.square(predicted - true)),
        "leaked": _total((swapped - predicted) * difference),
        "leakable": _total(np.square(difference)),
    }


def delta_psnr(sums: Sums) -> Sums:
    """`delta_psnr_db`: PSNR with own codes less PSNR with codes of others; `leak_share`: 0 is no leak."""
    own, swapped = (
        psnr_db(ratio(sums[f"{codes}_squared"], sums["swapped_pixels"])) for codes in ("own", "swapped")
    )
    return {"delta_psnr_db": own - swapped, "leak_share": ratio(sums["leaked"], sums["leakable"])}


def _total(values_NCHW: np.ndarray) -> np.ndarray:
    return values_NCHW.reshape(len(values_NCHW), -1).sum(1).astype(np.float64)
