"""Metrics of what a pass over transitions measured.

Dimensions: T transitions.
"""

from typing import Any

import numpy as np

from ghostpad.evaluation.codebook import summarize_codes
from ghostpad.evaluation.measure import Measured, Model
from ghostpad.evaluation.reconstruction import delta_psnr, psnr_db, summarize
from ghostpad.evaluation.schema import nest
from ghostpad.games import REFERENCE_GAME, Game
from ghostpad.sums import Sums, bootstrap, ratio, total


def flat_metrics(game: Game | None, sums: Sums) -> Sums:
    """Every metric that is a function of sums over transitions, by its key in `metrics.json`."""
    metrics = {f"reconstruction.{key}": value for key, value in summarize(sums).items()}
    if "drawn_squared" in sums:
        metrics |= {f"reconstruction.{key}": value for key, value in delta_psnr(sums).items()}
    if "transfer_moved" in sums:
        for near in ("", "_near"):
            share = ratio(sums[f"transfer_right{near}"], sums[f"transfer_moved{near}"])
            metrics[f"transfer.paddle_direction{near}"] = share
    if game:
        metrics |= {f"elements.{key}": value for key, value in game.summarize_elements(sums).items()}
    return metrics


def collect(
    model: Model, measured: Measured, game: Game | None, seed: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """The metrics of reconstruction, codebook, elements and transfer, nested, and why any is not there."""
    sums = measured.sums
    flat: dict[str, Any] = {**flat_metrics(game, total(sums)), **_means(sums)}
    absent = {}
    if game:
        flat |= {f"elements.{key}": value for key, value in game.distance_quantiles(sums).items()}
        missing = set(REFERENCE_GAME.elements) - set(game.elements)
        absent |= {f"elements.{part}": f"there is none in {game.name}" for part in missing}
    else:
        absent |= dict.fromkeys(("game", "elements", "detector", "transfer"), "no detector knows this game")
    if "drawn_squared" not in sums:
        reason = "one transition only, so there are no codes of others"
        absent |= {f"reconstruction.{key}": reason for key in ("delta_psnr_db", "leak_share")}
        absent.setdefault("transfer", reason)
    metrics = nest(flat)
    codebook = summarize_codes(measured.codes, model.codebook_size)
    metrics["codebook"] = {"grid": list(model.grid), **codebook}
    intervals = bootstrap(sums, measured.episode_index, lambda again: flat_metrics(game, again), seed)
    metrics["intervals"] = intervals or None
    absent["intervals"] = "one episode only: a bootstrap over episodes needs two"
    return metrics, absent


def _means(sums: Sums) -> dict[str, Any]:
    """Metrics that are means over transitions rather than functions of sums."""
    pairs = {
        f"{prefix}psnr_mean_db": psnr_db(ratio(sums[f"{prefix}squared"], sums["pixels"])).mean()
        for prefix in ("", "copy_")
    }
    nothing = np.array([np.nan])
    ssim, copy_ssim = sums.get("ssim", nothing), sums.get("copy_ssim", nothing)
    taken = ~np.isnan(ssim)
    means = {
        **pairs,
        "ssim": ssim[taken].mean() if taken.any() else np.nan,
        "copy_ssim": copy_ssim[taken].mean() if taken.any() else np.nan,
        "ssim_transitions": int(taken.sum()),
        "delta_transitions": int(np.isfinite(sums.get("drawn_squared", nothing)).sum()),
    }
    return {f"reconstruction.{key}": value for key, value in means.items()}
