"""The metrics of every validation during training."""

import sys

import numpy as np

from ghostpad.evaluation.codebook import summarize_codes
from ghostpad.evaluation.inference import Model, as_unit, batches, decode, to_numpy
from ghostpad.evaluation.reconstruction import (
    counterfactual_sums,
    delta_psnr,
    pair_sums,
    structural_similarity,
    summarize,
)
from ghostpad.evaluation.schema import get
from ghostpad.frames.pairs import current_frames
from ghostpad.games import recognize
from ghostpad.sums import Sums, total

IGNORED_DB = 0.5  # ΔPSNR below which the decoder counts as ignoring the codes
COLLAPSED_USAGE = 0.05  # share of codes in use below which the codebook counts as collapsed
# SSIM is slow and steady: every fourth pair is enough.
_SSIM_EVERY = 4


def validation_metrics(model: Model, frames: np.ndarray, next_frames: np.ndarray) -> dict[str, float]:
    """A few metrics of a model on held-out pairs; prints a line for each alarm.

    Args:
        model: in evaluation mode; while its `quantizing` is false, nothing raises an alarm.
        frames: (N, C, H, W) uint8, or (N, T, C, H, W) with a history, as the model sees them.
        next_frames: (N, C, H, W) uint8, one for each of `frames`.

    Returns:
        Numbers under their names in `metrics.json`, `alarms` (how many), and the key metrics of the game. A
        number that is not defined on these pairs is left out.
    """
    num = len(frames)
    codes = np.concatenate(
        [to_numpy(model.encode(frames[rows], next_frames[rows])) for rows in batches(model, num)]
    )
    current_frames_NCHW = current_frames(frames)
    game = recognize(current_frames_NCHW)
    partners = np.roll(np.arange(num), num // 2 or 1)
    parts: list[Sums] = []
    similarities: list[np.ndarray] = []
    for rows in batches(model, num):
        predicted = decode(model, frames[rows], codes[rows])
        true, current = as_unit(next_frames[rows]), as_unit(current_frames_NCHW[rows])
        similarities.append(structural_similarity(predicted[::_SSIM_EVERY], true[::_SSIM_EVERY]))
        others = partners[rows]
        swapped = decode(model, frames[rows], codes[others])
        sources = as_unit(current_frames_NCHW[others]), as_unit(next_frames[others])
        sums = pair_sums(predicted, true, current)
        sums |= counterfactual_sums(swapped, predicted, true, current, *sources)
        if game:
            sums |= game.score_elements(
                *map(game.detect, (predicted, next_frames[rows], current_frames_NCHW[rows]))
            )
        parts.append(sums)
    sums = total({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    reconstruction = summarize(sums)
    numbers = {key: reconstruction[key] for key in ("psnr_db", "gain_over_copy_db", "moving_psnr_db")}
    numbers["ssim"] = np.concatenate(similarities).mean()
    if num > 1:
        numbers["delta_psnr_db"] = delta_psnr(sums)["delta_psnr_db"]
    codebook = summarize_codes(codes, model.codebook_size)
    numbers |= {key: codebook[key] for key in ("usage", "perplexity")}
    if game:
        elements = game.summarize_elements(sums)
        numbers |= {name: elements[key] for name, key in game.key_metrics.items()}
    # Codes mean nothing before training quantizes.
    quantizes = getattr(model, "quantizing", True)
    lines = alarms({"reconstruction": numbers, "codebook": codebook}) if quantizes else []
    for line in lines:
        print(f"ghostpad: alarm: {line}", file=sys.stderr)
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)} | {
        "alarms": float(len(lines))
    }


def alarms(metrics: dict) -> list[str]:
    """Failures that make every other number meaningless, one line each; empty when all is well."""
    lines = []
    delta = get(metrics, "reconstruction.delta_psnr_db")
    if delta is not None and delta < IGNORED_DB:
        lines.append(f"the decoder ignores the codes: wrong codes cost only {delta:.2f} dB (ΔPSNR)")
    usage, size = get(metrics, "codebook.usage"), get(metrics, "codebook.size")
    if usage is not None and usage * size <= max(2, COLLAPSED_USAGE * size):
        lines.append(f"the codebook has collapsed: {round(usage * size)} of {size} codes are in use")
    return lines
