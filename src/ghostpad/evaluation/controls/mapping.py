"""The verb `controls`: fit the control map of a world to few labelled transitions, and report on it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.buttons.control_labels import read_labels
from ghostpad.buttons.control_map import CONTROLS_FILE, ControlMap, fit_control_map
from ghostpad.errors import UserError
from ghostpad.evaluation.config import ControlsConfig
from ghostpad.evaluation.controls.report import draw_curves, print_report
from ghostpad.evaluation.controls.study import (
    Sample,
    button_posteriors,
    mutual_information,
    study_controls,
)
from ghostpad.evaluation.ground_truth import read_ground_truth
from ghostpad.evaluation.inference import draw_blocks, infer_codes
from ghostpad.evaluation.mutual_information import grouped
from ghostpad.frames.controls import read_controls
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.games import recognize
from ghostpad.machine import num_cores, resolve_device
from ghostpad.world.world_model import WorldModel

PICTURE = "controls.png"
_BLOCK = 16
"""Neighbours that are drawn together: enough for windows; few, as neighbours resemble each other."""


def map_controls(config: ControlsConfig) -> ControlMap:
    """Fit the map, report how good it is on test episodes, and write it where `ghostpad play` finds it.

    Raises:
        UserError: world, data or labels cannot be read, or do not fit.
    """
    for name in ("labels", "transitions"):
        number = getattr(config, name)
        if number is not None and number < 1:
            raise UserError(f"--{name} {number}: must be at least 1")
    world = WorldModel.from_pretrained(config.world, device=str(resolve_device(config.device)))
    out = config.out or (world.folder if Path(config.world).exists() else None)
    if out is None:
        raise UserError(f"{config.world} is part of the package; give a folder to write to with --out")
    control_map, report = fit_and_study(world, open_data(config.data, config.workers), config)
    control_map.write(out, report)
    print_report(control_map, report)
    if "label_budget" in report:
        draw_curves(report, out / PICTURE)
        print(f"{out / PICTURE}: accuracy against the number of labels")
    print(f"{out / CONTROLS_FILE}: the map")
    return control_map


def fit_and_study(
    world: WorldModel, store: FrameStore, config: ControlsConfig
) -> tuple[ControlMap, dict[str, Any]]:
    """The map, and a report: what each button does and, with labels, how well the map names the controls."""
    splits = [Transitions(store, split, world.latent_action_model.stride) for split in ("train", "test")]
    names, labels = _labels(splits, config)
    if names and not (labels[0] >= 0).any():
        raise UserError(f"{store.path}: no label is in a training episode; label some of those")
    train, test = (_sample(world, *part, config) for part in zip(splits, labels, strict=True))
    if names is None:
        control_map = _map_of_effects(train)
    else:
        known = np.flatnonzero(train.controls >= 0)
        chosen = np.random.default_rng(config.seed).permutation(known)[: config.labels]
        control_map = fit_control_map(names, train.buttons[chosen], train.controls[chosen])
    report = _button_effects(train) | {"mutual_information_bits": mutual_information(test, config.seed)}
    if (test.controls >= 0).any():
        report |= study_controls(train, test, control_map.control_names, config.seed)
    return control_map, report


def _labels(splits: list[Transitions], config: ControlsConfig) -> tuple[list[str] | None, list[np.ndarray]]:
    """Names of the controls, None without labels; and the controls of all transitions, -1 where unknown."""
    if config.labels_file is not None:
        file = read_labels(config.labels_file, splits[0].store, splits[0].stride)
        labels = [file.of(transitions) for transitions in splits]
        unused = len(file.numbers) - sum(int((part >= 0).sum()) for part in labels)
        if unused:
            print(f"{config.labels_file}: {unused} labels in validation episodes are not used")
        return file.names, labels
    read = [read_controls(part, np.arange(len(part)), directions=False) for part in splits]
    names = read[0][1] if read[0] else None
    labels = [part[0] if part and part[1] == names else None for part in read]
    unknown = [np.full(len(part), -1) for part in splits]
    return names, [none if part is None else part for part, none in zip(labels, unknown, strict=True)]


def _sample(
    world: WorldModel, transitions: Transitions, controls: np.ndarray, config: ControlsConfig
) -> Sample:
    """Draw blocks of labelled transitions, or of any where none is labelled."""
    known = np.flatnonzero(controls >= 0)
    pool = known if len(known) else np.arange(len(transitions))
    rows = pool[draw_blocks(len(pool), config.transitions, config.seed, _BLOCK)]
    game = recognize(transitions.read(rows[:: max(1, len(rows) // 8)], grayscale=True)[0])
    buttons = button_posteriors(world, transitions, rows, config.workers or num_cores())
    codes = infer_codes(world.latent_action_model, transitions, rows)
    truth = read_ground_truth(transitions, rows, game)
    return Sample(transitions, rows, controls[rows], buttons, codes, truth)


def _map_of_effects(sample: Sample) -> ControlMap:
    """The map without labels: to what the controlled element does, or to numbers in an unknown game."""
    events = [name for name in sample.truth.events if name.startswith(f"{sample.controlled}_")]
    if not events:
        num = sample.buttons.shape[1]
        names, same = tuple(f"button {button}" for button in range(num)), np.eye(num).tolist()
        return ControlMap(names, tuple(map(tuple, same)), tuple(range(num)), 0)
    effects = grouped(sample.truth.events, str(sample.controlled)) - 1
    known, names = effects >= 0, [name.replace("_", " ") for name in events]
    return replace(fit_control_map(names, sample.buttons[known], effects[known]), num_labels=0)


def _button_effects(sample: Sample) -> dict[str, Any]:
    """How often each button is held, and how far the controlled element moves then (pixels, mean)."""
    usage, moved = sample.buttons.mean(0), sample.truth.displacement
    means = [None] * len(usage)
    if moved is not None:
        means = (sample.buttons.T @ moved / np.maximum(sample.buttons.sum(0), 1e-9)).tolist()
    effects = [{"share": float(share), "displacement_px": px} for share, px in zip(usage, means, strict=True)]
    return {"controlled": sample.controlled, "buttons": effects}
