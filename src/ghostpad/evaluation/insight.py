"""What the codes know of the game: events, controls, and whether training and held-out episodes agree."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.evaluation import agreement as probing
from ghostpad.evaluation.codebook import entropy
from ghostpad.evaluation.events import Association, associate, event_columns, grouped
from ghostpad.evaluation.measure import Measured, Model, draw_blocks, infer_codes
from ghostpad.evaluation.truth import Known, tables
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.games import REFERENCE_GAME, Game
from ghostpad.sums import Sums, bootstrap, ratio


@dataclass(frozen=True)
class Scene:
    """What happens in the transitions that are evaluated, whatever any model makes of them.

    Attributes:
        game: whose elements and events are looked for, None when no detector knows the pictures.
        known: what happens in each frame.
        columns: (T,) bool by event.
    """

    game: Game | None
    known: Known
    columns: dict[str, np.ndarray]


@dataclass(frozen=True)
class Insight:
    """What was found.

    Attributes:
        metrics: the keys `events` and `agreement` of `metrics.json`.
        absent: why any of them is not there.
        associations: by event, and by group of events.
    """

    metrics: dict[str, Any]
    absent: dict[str, str]
    associations: dict[str, Association]


def observe(transitions: Transitions, rows: np.ndarray, game: Game | None) -> Scene:
    """Find out what happens in the transitions `rows`: from recorded truth, else from the pictures."""
    if game is None:
        return Scene(None, {}, {})
    known = tables(transitions.store, np.unique(transitions.episode_index[rows]), game)
    return Scene(game, known, event_columns(transitions, rows, game, known))


def study(model: Model, measured: Measured, scene: Scene, split: str, num_probe: int, seed: int) -> Insight:
    """Hold the codes of a measured split against events and controls."""
    metrics: dict[str, Any] = {}
    absent: dict[str, str] = {}
    associations: dict[str, Association] = {}
    if scene.game is None:
        absent["events"] = "no detector knows this game"
    else:
        associations = _associate_all(measured.codes, scene, seed)
        metrics["events"] = _event_metrics(associations, scene.known, len(measured.rows))
        missing = set(REFERENCE_GAME.event_groups) - set(associations)
        absent |= {
            f"events.{part}.{name}": "no such event in this game" for part in _BY_EVENT for name in missing
        }
        for part in _BY_EVENT:
            metrics["events"][part] |= dict.fromkeys(missing)
    found = _agreement(model, measured, scene, split, num_probe, seed)
    if isinstance(found, str):
        absent["agreement"] = found
    else:
        metrics["agreement"] = found
        if scene.game is None or scene.game.controlled is None:
            reason = "the ceiling needs the position of what the player moves, which is unknown in this game"
            keys = ("ceiling", "share_of_ceiling")
            absent |= {f"agreement.{window}{key}": reason for window in ("", "window_") for key in keys}
    return Insight(metrics, absent, associations)


_BY_EVENT = ("mutual_information_bits", "shuffled_bits", "clear_bits", "clear", "count")


def _associate_all(codes: np.ndarray, scene: Scene, seed: int) -> dict[str, Association]:
    labels = {name: column.astype(np.int64) for name, column in scene.columns.items()}
    for group in scene.game.event_groups if scene.game and scene.columns else ():
        labels[group] = grouped(scene.columns, group)
    return {name: associate(codes, label, seed) for name, label in labels.items() if label.any()}


def _event_metrics(associations: dict[str, Association], known: Known, num: int) -> dict[str, Any]:
    sources = sorted({source for _, source in known.values()})
    return {
        "source": " and ".join(sources),
        "num_transitions": num,
        "mutual_information_bits": {name: found.bits for name, found in associations.items()},
        "shuffled_bits": {name: found.shuffled_bits for name, found in associations.items()},
        "clear_bits": {name: found.clear_bits for name, found in associations.items()},
        "clear": {name: bool(found.clear) for name, found in associations.items()},
        "count": {name: found.count for name, found in associations.items()},
    }


def _agreement(
    model: Model, measured: Measured, scene: Scene, split: str, num_probe: int, seed: int
) -> dict[str, Any] | str:
    """The keys of `agreement`, or why they are not there."""
    if split == "train":
        return "the probe is fitted on the training episodes and cannot be scored on them"
    held_out = read_controls(measured.transitions, measured.rows)
    if held_out is None:
        return "nobody recorded the controls"
    store, stride = measured.transitions.store, measured.transitions.stride
    training = Transitions(store, "train", stride)
    rows = draw_blocks(len(training), num_probe, seed)
    fitted = read_controls(training, rows)
    if fitted is None or fitted[1] != held_out[1]:
        return "nobody recorded the controls of the training episodes, or they are others"
    parts, game = [], scene.game
    train_known = tables(store, np.unique(training.episode_index[rows]), game)
    train_codes = infer_codes(model, training, rows, what="encode for probe")
    sources = (
        (training, rows, train_codes, fitted[0], train_known),
        (measured.transitions, measured.rows, measured.codes, held_out[0], scene.known),
    )
    for transitions, places, codes, labels, table in sources:
        moved = (
            probing.displacement(transitions, places, game.controlled.column, table)
            if game and game.controlled
            else None
        )
        episodes, frames = transitions.episode_index[places], transitions.frame_index[places]
        parts.append(probing.Labelled(episodes, frames, codes, labels, moved, stride))
    numbers, right = probing.agreement(parts[0], parts[1], len(fitted[1]), seed)
    sums = {"right": right, "asked": np.isfinite(right).astype(np.float64)}
    intervals = bootstrap(sums, measured.episode_index, _accuracy, seed)
    counts = np.bincount(held_out[0][held_out[0] >= 0], minlength=len(fitted[1]))
    bits = float(entropy(counts[None])[0] / np.log(2))
    return {"classes": fitted[1], "control_bits": bits, **numbers, **intervals}


def _accuracy(sums: Sums) -> Sums:
    return {"accuracy_interval": ratio(sums["right"], sums["asked"])}
