"""Everything that is measured about one model on one split: the content of `metrics.json`."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import ghostpad
from ghostpad.errors import UserError
from ghostpad.evaluation.branches import (
    BRANCH_KEYS,
    BUTTON_KEYS,
    NO_BRANCHES,
    Measured,
    branch_ceiling,
    button_controllability,
    controllability,
)
from ghostpad.evaluation.codebook import entropy, summarize_codes
from ghostpad.evaluation.config import Amounts
from ghostpad.evaluation.ground_truth import GroundTruth, detector_accuracy, read_ground_truth
from ghostpad.evaluation.inference import Model, draw_blocks, infer_codes, transitions_of
from ghostpad.evaluation.inverse_dynamics import MIN_LABELS, supervised_ceilings
from ghostpad.evaluation.measurements import Measurements, measure, metrics_of_sums
from ghostpad.evaluation.mutual_information import Association, associate, grouped
from ghostpad.evaluation.probes import WINDOWS, Labelled, agreement
from ghostpad.evaluation.reconstruction import psnr_db, summarize
from ghostpad.evaluation.schema import EVENT_METRICS, UNKNOWN_GAME, VERSION, complete, get, nest
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions, current_frames
from ghostpad.frames.splits import SPLITS
from ghostpad.frames.store import FrameStore
from ghostpad.games import Game, recognize
from ghostpad.sums import Sums, bootstrap, ratio, total

_NUM_DETECTOR_FRAMES = 2000  # true frames on which the detector is compared with recorded truth
_NO_CELLS = "the codes do not belong to cells of the frame"
_NUM_RECOGNIZED = 64  # frames, spread over the data, by which the game is recognized


@dataclass(frozen=True)
class Assessment:
    """The results for one model.

    Attributes:
        name: of the model in the report.
        model: the model.
        metrics: the content of `metrics.json`.
        measurements: what each transition contributes to it.
        truth: state and events of the transitions.
        associations: of the codes with each event and each group of events.
    """

    name: str
    model: Model
    metrics: dict[str, Any]
    measurements: Measurements
    truth: GroundTruth
    associations: dict[str, Association]


def assess(
    model: Model,
    store: FrameStore,
    split: str,
    amounts: Amounts,
    seed: int,
    name: str = "model",
    first: Assessment | None = None,
) -> Assessment:
    """Measure a model on one split of a data set.

    All draws are by the seed. `first` was measured with another model, all else equal: its ceilings are used
    where the stride is the same.

    Raises:
        UserError: the split has no transitions, or the model cannot read such frames.
    """
    transitions = transitions_of(model, store, split)
    rows = draw_blocks(len(transitions), amounts.transitions, seed)
    game = recognize_game(transitions)
    truth = read_ground_truth(transitions, rows, game)
    measured = measure(model, transitions, rows, game, seed, amounts.ssim, amounts.counterfactual)
    associations = _associations(measured.codes, truth, seed)
    metrics = _metrics(model, measured, truth, associations, seed)
    absent = _reasons(measured, truth)
    probed = _agreement(model, measured, split, amounts, first, seed)
    if isinstance(probed, str):
        absent, probed = {"agreement": probed} | absent, ({}, {})
    groups = {
        "agreement": probed,
        "controllability": controllability(model, store, split, amounts.branches, seed),
    }
    if groups["controllability"][0]:
        buttons = _buttons(store, split, amounts, first, seed)
        if isinstance(buttons, str):
            absent = {f"controllability.{key}": buttons for key in BUTTON_KEYS} | absent
        else:
            for codes, found in zip(groups["controllability"], buttons, strict=True):
                codes |= found
    for group, (numbers, bounds) in groups.items():
        metrics[group] = numbers
        metrics["intervals"] |= {f"{group}.{key}": values for key, values in bounds.items()}
    metrics["splits"] = _splits(model, measured, split, amounts.other_splits, metrics, game, seed)
    metrics["intervals"] = metrics["intervals"] or None
    metrics = complete(metrics | _provenance(model, measured, truth, split, seed), absent, game)
    return Assessment(name, model, metrics, measured, truth, associations)


def recognize_game(transitions: Transitions) -> Game | None:
    """The game that the transitions show, None for an unknown one."""
    places = np.unique(np.linspace(0, len(transitions) - 1, _NUM_RECOGNIZED).astype(np.int64))
    return recognize(current_frames(transitions.read(places, grayscale=False)[0]))


def _provenance(
    model: Model, measured: Measurements, truth: GroundTruth, split: str, seed: int
) -> dict[str, Any]:
    store = measured.transitions.store
    return {
        "version": VERSION,
        "ghostpad": ghostpad.__version__,
        "split": split,
        "game": truth.game.name if truth.game else None,
        "num_episodes": len(np.unique(measured.episode_index)),
        "num_transitions": len(measured.rows),
        "color": "gray" if model.grayscale else "rgb",
        "height": store.height,
        "width": store.width,
        "stride": measured.transitions.stride,
        "seed": seed,
        "model_hash": getattr(model, "model_hash", None),
        "data_fingerprint": store.fingerprint,
    }


def _metrics(
    model: Model,
    measured: Measurements,
    truth: GroundTruth,
    associations: dict[str, Association],
    seed: int,
) -> dict[str, Any]:
    """Metrics of reconstruction, elements, transfer, codebook, detector and events, with their intervals."""
    sums, game = measured.sums, truth.game
    flat: dict[str, Any] = {**metrics_of_sums(game, total(sums)), **_means(sums)}
    if game:
        flat |= {f"elements.{key}": value for key, value in game.distance_quantiles(sums).items()}
    metrics = nest(flat)
    codebook = summarize_codes(measured.codes, model.codebook_size, measured.changing)
    metrics["codebook"] = {"grid": list(model.grid), **codebook}
    metrics["intervals"] = bootstrap(sums, measured.episode_index, partial(metrics_of_sums, game), seed)
    if measured.detections:
        accuracy = detector_accuracy(truth, measured.detections, _NUM_DETECTOR_FRAMES, seed)
        metrics["detector"] = accuracy
        metrics["events"] = {
            "source": truth.source,
            "num_transitions": len(measured.rows),
            "mutual_information_bits": {name: found.bits for name, found in associations.items()},
            **{
                key: {name: getattr(found, key) for name, found in associations.items()}
                for key in EVENT_METRICS
                if key != "mutual_information_bits"
            },
        }
    return metrics


def _reasons(measured: Measurements, truth: GroundTruth) -> dict[str, str]:
    """Why numbers may be missing, by key or the beginning of keys."""
    reasons = {
        "detector": "there is no recorded truth",
        "intervals": "one episode only: a bootstrap over episodes needs two",
        "model_hash": "the model does not give one",
        **dict.fromkeys(("codebook.active_changing", "codebook.changing_share"), _NO_CELLS),
    }
    if truth.game is None:
        reasons |= dict.fromkeys(("game", "elements", "detector", "transfer", "events"), UNKNOWN_GAME)
    if "swapped_squared" not in measured.sums:
        no_others = "one transition only, so there are no codes of others"
        keys = ("reconstruction.delta_psnr_db", "reconstruction.leak_share")
        reasons = dict.fromkeys((*keys, "transfer"), no_others) | reasons
    for prefix in WINDOWS:
        few_labels = f"not asked for, or fewer than {MIN_LABELS} labelled transitions"
        reasons[f"agreement.{prefix}ceiling"] = few_labels
        reasons[f"agreement.{prefix}share_of_ceiling"] = "no ceiling above chance"
    keys = ("controllability", *(f"agreement.{key}" for key in BRANCH_KEYS))
    reasons |= dict.fromkeys(keys, NO_BRANCHES)
    return reasons


def _means(sums: Sums) -> dict[str, Any]:
    """Metrics that are means over transitions, not functions of sums."""
    nothing = np.array([np.nan])
    metrics: dict[str, Any] = {}
    for prefix in ("", "copy_"):
        psnr = psnr_db(ratio(sums[f"{prefix}squared"], sums["pixels"]))
        ssim = sums.get(f"{prefix}ssim", nothing)
        metrics[f"{prefix}psnr_mean_db"] = psnr.mean()
        metrics[f"{prefix}ssim"] = np.mean(ssim[~np.isnan(ssim)]) if np.isfinite(ssim).any() else np.nan
    metrics["ssim_transitions"] = int(np.isfinite(sums.get("ssim", nothing)).sum())
    metrics["delta_transitions"] = int(np.isfinite(sums.get("swapped_squared", nothing)).sum())
    return {f"reconstruction.{key}": value for key, value in metrics.items()}


def _associations(codes_Thw: np.ndarray, truth: GroundTruth, seed: int) -> dict[str, Association]:
    """The codes against every event, and every group of events, that happens."""
    labels = {name: happens.astype(np.int64) for name, happens in truth.events.items()}
    for group in truth.game.event_groups if truth.game else ():
        labels[group] = grouped(truth.events, group)
    return {name: associate(codes_Thw, label, seed) for name, label in labels.items() if label.any()}


def _agreement(
    model: Model, measured: Measurements, split: str, amounts: Amounts, first: Assessment | None, seed: int
) -> Measured | str:
    """The keys of `agreement` and their intervals, or why they are missing."""
    if split == "train":
        return "the probe is fitted on the training episodes and cannot be scored on them"
    held_out = read_controls(measured.transitions, measured.rows)
    if held_out is None:
        return "the controls were not recorded"
    training = transitions_of(model, measured.transitions.store, "train")
    fitted = read_controls(training, np.arange(len(training)))
    if fitted is None or fitted[1] != held_out[1]:
        return "the controls of the training episodes were not recorded, or differ"
    controls, classes = fitted
    test = Labelled.of(measured.transitions, measured.rows, measured.codes, held_out[0])
    if first is not None and first.measurements.transitions.stride == training.stride:
        known = {prefix: get(first.metrics, f"agreement.{prefix}ceiling") for prefix in WINDOWS}
        ceilings = {prefix: ceiling for prefix, ceiling in known.items() if ceiling is not None}
    else:
        num_seeds = amounts.ceiling_seeds
        ceilings = supervised_ceilings(training, controls, test, len(classes), num_seeds, seed)
    rows = draw_blocks(len(training), amounts.probe, seed)
    codes = infer_codes(model, training, rows, what="encode for probe")
    train = Labelled.of(training, rows, codes, controls[rows])
    numbers, right = agreement(train, test, len(classes), seed, ceilings)
    sums = {"right": right, "known": np.isfinite(right).astype(np.float64)}
    intervals = bootstrap(
        sums, measured.episode_index, lambda sums: {"accuracy": ratio(sums["right"], sums["known"])}, seed
    )
    counts = np.bincount(held_out[0][held_out[0] >= 0], minlength=len(classes))
    bits = float(entropy(counts[None])[0] / np.log(2))
    held, names = read_controls(measured.transitions, measured.rows, directions=False) or held_out
    numbers |= branch_ceiling(measured.transitions, names, held)
    return {"classes": classes, "control_bits": bits, **numbers}, intervals


def _buttons(
    store: FrameStore, split: str, amounts: Amounts, first: Assessment | None, seed: int
) -> Measured | str:
    """Controllability of buttons and its intervals, or why it is missing; no model has a part in it."""
    if not amounts.buttons:
        return "not asked for"
    if first is not None and get(first.metrics, "controllability.button_accuracy") is not None:
        numbers, bounds = first.metrics["controllability"], first.metrics["intervals"] or {}
        known = {
            key: bounds[f"controllability.{key}"] for key in BUTTON_KEYS if f"controllability.{key}" in bounds
        }
        return {key: numbers[key] for key in BUTTON_KEYS}, known
    try:
        return button_controllability(store, split, amounts.branches, amounts.buttons, seed)
    except UserError as error:
        return str(error)


def _splits(
    model: Model,
    measured: Measurements,
    split: str,
    num: int,
    metrics: dict[str, Any],
    game: Game | None,
    seed: int,
) -> dict[str, Any]:
    """The few numbers by which train, validation and test are compared; adds the intervals of their gain."""
    gain, intervals = "gain_over_copy_db", metrics["intervals"]
    keys = ("psnr_db", "copy_psnr_db", "gain_over_copy_db", "moving_psnr_db")
    paths = {key: f"reconstruction.{key}" for key in keys}
    paths |= {key: f"elements.{path}" for key, path in (game.key_metrics if game else {}).items()}
    found = {}
    for name in SPLITS:
        if name == split:
            numbers = {key: get(metrics, path) for key, path in paths.items()}
            found[name] = {"num_transitions": len(measured.rows), **numbers}
            if paths[gain] in intervals:
                intervals[f"splits.{name}.{gain}"] = intervals[paths[gain]]
            continue
        transitions = transitions_of(model, measured.transitions.store, name)
        rows = draw_blocks(len(transitions), num, seed, block=1)
        other = measure(model, transitions, rows, game, seed)
        flat = metrics_of_sums(game, total(other.sums))
        bounds = bootstrap(other.sums, other.episode_index, summarize, seed)
        intervals |= {f"splits.{name}.{key}": values for key, values in bounds.items() if key == gain}
        found[name] = {"num_transitions": len(rows)} | {key: flat[path] for key, path in paths.items()}
    return found
