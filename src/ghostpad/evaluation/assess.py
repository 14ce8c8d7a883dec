"""Everything that is measured about one model on one data set."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import ghostpad
from ghostpad.evaluation.codebook import summarize_codes
from ghostpad.evaluation.elements import Game, distances, game_of, summarize_elements
from ghostpad.evaluation.intervals import bootstrap, total
from ghostpad.evaluation.measure import Measured, Model, Plan, measure
from ghostpad.evaluation.reconstruction import Sums, delta_psnr, psnr_db, ratio, summarize
from ghostpad.evaluation.schema import VERSION, complete, nest
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore

_NUM_LOOKS = 64
"""Frames, spread over the data, by which the game is recognized."""


@dataclass(frozen=True)
class Amounts:
    """How much to look at; drawn by the seed where there is more."""

    transitions: int | None = None
    """most transitions of the split; all when not given"""
    ssim: int = 512
    """transitions whose SSIM is taken"""
    counterfactual: int = 1024
    """transitions that are also decoded with the codes of others (ΔPSNR, leak test)"""
    other_splits: int = 512
    """transitions of each other split, to compare with"""
    examples: int = 24
    """transitions shown in the report"""


@dataclass(frozen=True)
class Assessment:
    """What was found about one model.

    Attributes:
        name: how the report calls it.
        metrics: the content of `metrics.json`.
        measured: what each transition adds to it.
        game: whose elements were looked for.
        examples: (P,) positions of the transitions that the report shows.
    """

    name: str
    metrics: dict[str, Any]
    measured: Measured
    game: Game | None
    examples: np.ndarray


def assess(
    model: Model, store: FrameStore, split: str, amounts: Amounts, seed: int, name: str = "model"
) -> Assessment:
    """Measure a model on one split of a data set.

    Raises:
        UserError: the split has no transitions, or the model cannot read such frames.
    """
    stride = int(getattr(model, "stride", 1))
    transitions = Transitions(store, split, stride)
    rows = draw_rows(len(transitions), amounts.transitions, seed)
    game = recognize(transitions)
    examples = draw_rows(len(rows), amounts.examples, seed + 1)
    plan = Plan(seed, game, amounts.ssim, amounts.counterfactual, examples)
    measured = measure(model, transitions, rows, plan)
    metrics, absent = _numbers(model, measured, game, seed)
    facts = {
        "version": VERSION,
        "ghostpad": ghostpad.__version__,
        "split": split,
        "game": game.name if game else None,
        "num_episodes": len(np.unique(measured.episode_index)),
        "num_transitions": len(rows),
        "color": "gray" if model.grayscale else "rgb",
        "height": store.height,
        "width": store.width,
        "stride": stride,
        "seed": seed,
        "model_hash": getattr(model, "model_hash", None),
        "data_fingerprint": store.fingerprint,
    }
    absent["model_hash"] = "the model does not give one"
    return Assessment(name, complete({**facts, **metrics}, absent), measured, game, examples)


def draw_rows(num: int, most: int | None, seed: int) -> np.ndarray:
    """At most `most` of the places 0…num-1, drawn by the seed, in ascending order."""
    if most is None or most >= num:
        return np.arange(num)
    return np.sort(np.random.default_rng(seed).permutation(num)[:most])


def recognize(transitions: Transitions) -> Game | None:
    """The game that the transitions show, None when no detector knows it."""
    places = np.unique(np.linspace(0, len(transitions) - 1, _NUM_LOOKS).astype(np.int64))
    return game_of(transitions.read(places, grayscale=False)[0])


def flat_metrics(game: Game | None, sums: Sums) -> Sums:
    """Every metric that is a function of sums over transitions, by its key in `metrics.json`."""
    metrics = {f"reconstruction.{key}": value for key, value in summarize(sums).items()}
    if "drawn_squared" in sums:
        metrics |= {f"reconstruction.{key}": value for key, value in delta_psnr(sums).items()}
    if game:
        metrics |= {f"elements.{key}": value for key, value in summarize_elements(game, sums).items()}
    return metrics


def _numbers(
    model: Model, measured: Measured, game: Game | None, seed: int
) -> tuple[dict[str, Any], dict[str, str]]:
    sums = measured.sums
    flat: dict[str, Any] = {**flat_metrics(game, total(sums)), **_means(sums)}
    absent = {}
    if game:
        flat |= {f"elements.{key}": value for key, value in distances(game, sums).items()}
        missing = {"ball", "paddle", "bricks"} - set(game.parts)
        absent |= {f"elements.{part}": f"there is none in {game.name}" for part in missing}
    else:
        absent["game"] = absent["elements"] = "no detector knows this game"
    if "drawn_squared" not in sums:
        reason = "one transition only, so there are no codes of others"
        absent |= {f"reconstruction.{key}": reason for key in ("delta_psnr_db", "leak_share")}
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
