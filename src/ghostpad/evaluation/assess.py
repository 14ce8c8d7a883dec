"""Everything that is measured about one model on one data set."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import ghostpad
from ghostpad.evaluation.collect import collect, flat_metrics
from ghostpad.evaluation.insight import Insight, Scene, observe, study
from ghostpad.evaluation.meaning import (
    Gallery,
    Transfer,
    codebook_map,
    galleries,
    transfers,
    transition_map,
)
from ghostpad.evaluation.measure import Measured, Model, Plan, draw_blocks, measure
from ghostpad.evaluation.schema import VERSION, complete, get
from ghostpad.evaluation.truth import detector_error
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.splits import SPLITS
from ghostpad.frames.store import FrameStore
from ghostpad.games import Game
from ghostpad.games import recognize as recognize_game
from ghostpad.sums import total

_FILM_LENGTH = 8
"""Transitions in a row that the report shows."""
_NUM_CHECKED = 2000
"""True frames on which the detector is held against recorded truth."""
_NUM_LOOKS = 64
"""Frames, spread over the data, by which the game is recognized."""


@dataclass(frozen=True)
class Amounts:
    """How much to look at; drawn by the seed where there is more."""

    transitions: int | None = None
    """most transitions of the split, in blocks of neighbours; all when not given"""
    ssim: int = 512
    """transitions whose SSIM is taken"""
    counterfactual: int = 1024
    """transitions that are also decoded with the codes of others (ΔPSNR, leak test)"""
    other_splits: int = 512
    """transitions of each other split, to compare with"""
    probe: int = 4096
    """training transitions on which the probe for the controls is fitted"""
    examples: int = 36
    """transitions shown in the report"""
    galleries: int = 96
    """codes shown in the report"""
    tsne: int = 1000
    """transitions on the t-SNE map; 0 for no t-SNE"""


@dataclass(frozen=True)
class Assessment:
    """What was found about one model.

    Attributes:
        name: how the report calls it.
        metrics: the content of `metrics.json`.
        measured: what each transition adds to it.
        scene: what happens in the transitions.
        insight: what the codes know of it.
        examples: positions of the transitions that the report shows.
        film: positions of a few transitions in a row.
        galleries: where codes fire.
        transfers: codes of one transition applied to other frames.
        code_places: n codes and (n, 2) t-SNE of them, if taken.
        transition_places: positions of n transitions and (n, 2) t-SNE of them, if taken.
    """

    name: str
    metrics: dict[str, Any]
    measured: Measured
    scene: Scene
    insight: Insight
    examples: np.ndarray
    film: np.ndarray
    galleries: list[Gallery]
    transfers: list[Transfer]
    code_places: tuple[np.ndarray, np.ndarray] | None
    transition_places: tuple[np.ndarray, np.ndarray] | None


def assess(
    model: Model, store: FrameStore, split: str, amounts: Amounts, seed: int, name: str = "model"
) -> Assessment:
    """Measure a model on one split of a data set.

    Raises:
        UserError: the split has no transitions, or the model cannot read such frames.
    """
    stride = int(getattr(model, "stride", 1))
    transitions = Transitions(store, split, stride)
    rows = draw_blocks(len(transitions), amounts.transitions, seed)
    game = recognize(transitions)
    scene = observe(transitions, rows, game)
    examples = choose_examples(scene.columns, len(rows), amounts.examples, seed)
    film = choose_film(scene.columns, transitions, rows, seed) if amounts.examples else examples[:0]
    plan = Plan(seed, game, amounts.ssim, amounts.counterfactual, np.union1d(examples, film))
    measured = measure(model, transitions, rows, plan)
    metrics, absent = collect(model, measured, game, seed)
    insight = study(model, measured, scene, split, amounts.probe, seed)
    if measured.seen:
        metrics["detector"] = detector_error(scene.known, measured.seen, _NUM_CHECKED, seed)
        absent["detector"] = "nobody recorded the truth, or this game has no such thing"
    metrics["splits"] = _splits(model, measured, split, amounts.other_splits, metrics, plan)
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
    metrics["intervals"] = _with_accuracy(metrics["intervals"], insight.metrics.get("agreement"))
    whole = complete({**facts, **metrics, **insight.metrics}, {**absent, **insight.absent})
    return Assessment(
        name,
        whole,
        measured,
        scene,
        insight,
        examples,
        film,
        galleries(measured, scene, model.codebook_size, model.grayscale, amounts.galleries),
        transfers(model, measured, scene, seed) if amounts.examples else [],
        codebook_map(model, measured.codes, seed) if amounts.tsne else None,
        transition_map(measured.codes, amounts.tsne, seed) if amounts.tsne else None,
    )


def choose_examples(columns: dict[str, np.ndarray], num: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of `num` transitions in ascending order: of each event in turn, so that all are seen."""
    rng = np.random.default_rng(seed)
    queues = [rng.permutation(np.flatnonzero(column)).tolist() for column in columns.values()]
    queues.append(rng.permutation(num).tolist())
    chosen: set[int] = set()
    while len(chosen) < min(most, num):
        for queue in queues:
            if queue and len(chosen) < most:
                chosen.add(queue.pop())
    return np.array(sorted(chosen), np.int64)


def choose_film(
    columns: dict[str, np.ndarray], transitions: Transitions, rows: np.ndarray, seed: int
) -> np.ndarray:
    """Positions of a few neighbouring transitions, around the rarest event that has neighbours enough."""
    episodes, frames = transitions.episode_index[rows], transitions.frame_index[rows]
    ends = np.arange(len(rows)) + _FILM_LENGTH - 1
    fits = ends < len(rows)
    ends = ends.clip(max=len(rows) - 1)
    whole = fits & (episodes[ends] == episodes) & (frames[ends] - frames == _FILM_LENGTH - 1)
    before = _FILM_LENGTH // 2
    for happens in sorted(columns.values(), key=lambda column: column.sum()):
        starts = np.flatnonzero(happens) - before
        starts = starts[(starts >= 0) & whole[starts.clip(min=0)]]
        if len(starts):
            start = int(np.random.default_rng(seed).choice(starts))
            return np.arange(start, start + _FILM_LENGTH)
    starts = np.flatnonzero(whole)
    return np.arange(starts[0], starts[0] + _FILM_LENGTH) if len(starts) else np.array([], np.int64)


def recognize(transitions: Transitions) -> Game | None:
    """The game that the transitions show, None when no detector knows it."""
    places = np.unique(np.linspace(0, len(transitions) - 1, _NUM_LOOKS).astype(np.int64))
    return recognize_game(transitions.read(places, grayscale=False)[0])


def _with_accuracy(
    intervals: dict[str, Any] | None, agreement: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Put the interval of the probe beside the others."""
    bounds = agreement.pop("accuracy_interval", None) if agreement else None
    return {**intervals, "agreement.accuracy": bounds} if intervals and bounds else intervals


_SIDE_BY_SIDE = {
    "psnr_db": "reconstruction.psnr_db",
    "copy_psnr_db": "reconstruction.copy_psnr_db",
    "gain_over_copy_db": "reconstruction.gain_over_copy_db",
    "moving_psnr_db": "reconstruction.moving_psnr_db",
}


def _splits(
    model: Model, measured: Measured, split: str, num: int, metrics: dict[str, Any], plan: Plan
) -> dict[str, Any]:
    """The few numbers by which train, validation and test are compared."""
    store, stride = measured.transitions.store, measured.transitions.stride
    found = {}
    game = plan.game
    key_metrics = game.key_metrics if game else {}
    keys = _SIDE_BY_SIDE | {key: f"elements.{path}" for key, path in key_metrics.items()}
    for name in SPLITS:
        if name == split:
            numbers = {key: get(metrics, path) for key, path in keys.items()}
            found[name] = {"num_transitions": len(measured.rows), **numbers}
            continue
        transitions = Transitions(store, name, stride)
        rows = draw_blocks(len(transitions), num, plan.seed, block=1)
        light = Plan(plan.seed, plan.game, 0, 0, np.array([], np.int64))
        sums = total(measure(model, transitions, rows, light).sums)
        flat = flat_metrics(plan.game, sums)
        found[name] = {
            "num_transitions": len(rows),
            **{key: flat.get(path) for key, path in keys.items()},
        }
    return found
