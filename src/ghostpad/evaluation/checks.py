"""The light version of an evaluation, for every validation during training."""

import sys
from typing import Any

import numpy as np

from ghostpad.evaluation.codebook import summarize_codes
from ghostpad.evaluation.measure import Model, as_unit, batch_size, draw, to_numpy
from ghostpad.evaluation.reconstruction import (
    counterfactual_sums,
    delta_psnr,
    pair_sums,
    structural_similarity,
    summarize,
)
from ghostpad.evaluation.report.summary import alarms
from ghostpad.games import recognize
from ghostpad.sums import Sums, total

_KEPT = ("psnr_db", "gain_over_copy_db", "moving_psnr_db")
# SSIM is slow and steady: every fourth pair is enough to watch it.
_SSIM_EVERY = 4


def light_checks(model: Model, frames: np.ndarray, next_frames: np.ndarray) -> dict[str, float]:
    """A few numbers about a model on held-out pairs; prints a line when the model has gone wrong.

    Args:
        model: in evaluation mode; while its `quantizing` is false, nothing is called wrong.
        frames: (N, C, H, W) uint8, as the model sees them.
        next_frames: the same, one for each of `frames`.

    Returns:
        `psnr_db`, `gain_over_copy_db`, `moving_psnr_db`, `delta_psnr_db` (dB), `ssim`, `usage` (share of
        codes), `perplexity`, `alarms` (number of lines printed), and the key metrics of the game. A number
        that is not defined on these pairs is left out.
    """
    codes = np.concatenate(
        [to_numpy(model.encode(frames[rows], next_frames[rows])) for rows in _batches(model, len(frames))]
    )
    game = recognize(frames)
    partners = np.roll(np.arange(len(frames)), len(frames) // 2 or 1)
    parts: list[Sums] = []
    similarities: list[np.ndarray] = []
    for rows in _batches(model, len(frames)):
        drawn = draw(model, frames[rows], codes[rows])
        true, current = as_unit(next_frames[rows]), as_unit(frames[rows])
        sums = pair_sums(drawn, true, current)
        similarities.append(structural_similarity(drawn[::_SSIM_EVERY], true[::_SSIM_EVERY]))
        others = partners[rows]
        scene = {"frames": as_unit(frames[others]), "next_frames": as_unit(next_frames[others])}
        swapped = draw(model, frames[rows], codes[others])
        sums |= counterfactual_sums(swapped, drawn, true, current, scene)
        if game:
            states = (game.detect(shown) for shown in (drawn, next_frames[rows], frames[rows]))
            sums |= game.score_elements(*states)
        parts.append(sums)
    sums = total({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    reconstruction = summarize(sums)
    numbers: dict[str, Any] = {name: reconstruction[name] for name in _KEPT}
    numbers["ssim"] = np.concatenate(similarities).mean()
    if len(frames) > 1:
        numbers["delta_psnr_db"] = delta_psnr(sums)["delta_psnr_db"]
    codebook = summarize_codes(codes, model.codebook_size)
    numbers |= {name: codebook[name] for name in ("usage", "perplexity")}
    if game:
        found = game.summarize_elements(sums)
        numbers |= {name: found[key] for name, key in game.key_metrics.items()}
    # Before a training quantizes, its codes cannot mean anything yet.
    quantizes = getattr(model, "quantizing", True)
    lines = alarms({"reconstruction": numbers, "codebook": codebook}) if quantizes else []
    for line in lines:
        print(f"ghostpad: alarm: {line}", file=sys.stderr)
    numbers["alarms"] = len(lines)
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def _batches(model: Model, num: int) -> list[slice]:
    size = batch_size(model)
    return [slice(start, min(start + size, num)) for start in range(0, num, size)]
