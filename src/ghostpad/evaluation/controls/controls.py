"""Tie the buttons of a world to the real controls of its game, from a handful of labelled transitions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.buttons.control_labels import read_labels
from ghostpad.buttons.control_map import CONTROLS_FILE, ControlMap, fit_control_map
from ghostpad.errors import UserError
from ghostpad.evaluation.agreement import displacement
from ghostpad.evaluation.controls.report import draw_curves, print_report
from ghostpad.evaluation.controls.study import Side, infer_buttons, informations, study_controls
from ghostpad.evaluation.events import grouped
from ghostpad.evaluation.insight import observe
from ghostpad.evaluation.measure import draw_blocks, infer_codes
from ghostpad.frames.controls import read_controls
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.games.registry import game_of
from ghostpad.machine import num_cores, resolve_device
from ghostpad.world.world_model import WorldModel

__all__ = ["ControlMap", "ControlsConfig", "controls", "tie_controls"]

PICTURE = "controls.png"
_BLOCK = 16
"""Neighbours that are drawn together: enough for windows; few, as a paddle may rest at a wall for long."""


@dataclass(frozen=True)
class ControlsConfig:
    """Whose buttons to name, and from which labels."""

    world: str = "checkpoints/world"
    """world (folder, file or shipped name) whose buttons are tied to controls"""
    data: Path = Path("bulk_videos")
    """folder of episodes, or a frame store"""
    labels: int | None = None
    """labelled transitions that the map is made from; all that are looked at when not given"""
    labels_file: Path | None = None
    """csv file with episode,frame,control; the recorded controls when not given"""
    out: Path | None = None
    """folder for controls.json and controls.png; the world's own when not given"""
    transitions: int = 2048
    """most transitions to look at, of training and of test episodes each"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    seed: int = 0
    """seed of what is drawn"""
    workers: int | None = None
    """processes for reading episodes and finding buttons; all cores when not given"""


def controls(config: ControlsConfig) -> ControlMap:
    """Make the map, say how good it is on test episodes, and write it where `play` looks for it.

    Raises:
        UserError: world, data or labels cannot be read, or do not fit.
    """
    if config.labels is not None and config.labels < 1:
        raise UserError(f"--labels {config.labels}: must be at least 1")
    if config.transitions < 1:
        raise UserError(f"--transitions {config.transitions}: must be at least 1")
    world = WorldModel.from_pretrained(config.world, device=str(resolve_device(config.device)))
    out = config.out or (world.folder if Path(config.world).exists() else None)
    if out is None:
        raise UserError(f"{config.world} came with the package; say where to write with --out")
    store = open_data(config.data, config.workers)
    found, report = tie_controls(world, store, config)
    found.write(out, report)
    print_report(found, report)
    if "label_budget" in report:
        draw_curves(report, out / PICTURE)
        print(f"{out / PICTURE}: the same as a picture")
    print(f"{out / CONTROLS_FILE}: the map")
    return found


def tie_controls(
    world: WorldModel, store: FrameStore, config: ControlsConfig
) -> tuple[ControlMap, dict[str, Any]]:
    """The map, and the report that goes with it: with labels how good it is, and always what buttons do."""
    splits = [Transitions(store, split, world.latent_action_model.stride) for split in ("train", "test")]
    names, labels = _labels(splits, config)
    train = _side(world, splits[0], labels[0], config)
    report: dict[str, Any] = {"buttons": _what_buttons_do(train)}
    if names is None:
        found = _named_by_effect(train)
    else:
        known = np.flatnonzero(train.controls >= 0)
        if not len(known):
            raise UserError(f"{store.path}: no label is in a training episode; label some of those")
        chosen = np.random.default_rng(config.seed).permutation(known)[: config.labels]
        found = fit_control_map(names, train.buttons[chosen], train.controls[chosen])
    held_out = labels[1] if names is not None and (labels[1] >= 0).any() else np.full(len(splits[1]), -1)
    test = _side(world, splits[1], held_out, config)
    report["mutual_information_bits"] = informations(test, config.seed)
    if names is not None and (held_out >= 0).any():
        report |= study_controls(train, test, names, config.seed)
    return found, report


def _labels(splits: list[Transitions], config: ControlsConfig) -> tuple[list[str] | None, list[np.ndarray]]:
    """Names of the controls, and the control of each transition (-1: not known) of each split."""
    if config.labels_file is not None:
        file = read_labels(config.labels_file, splits[0].store, splits[0].stride)
        labels = [file.of(transitions) for transitions in splits]
        unused = len(file.numbers) - sum(int((part >= 0).sum()) for part in labels)
        if unused:
            print(f"{config.labels_file}: {unused} labels in validation episodes are not used")
        return file.names, labels
    read = [read_controls(part, np.arange(len(part)), directions=False) for part in splits]
    unknown = [np.full(len(part), -1) for part in splits]
    if read[0] is None:
        return None, unknown
    names = read[0][1]
    return names, [unknown[i] if part is None or part[1] != names else part[0] for i, part in enumerate(read)]


def _side(world: WorldModel, transitions: Transitions, controls: np.ndarray, config: ControlsConfig) -> Side:
    """Look at blocks of the labelled transitions; of any when none is."""
    known = np.flatnonzero(controls >= 0)
    places = known if len(known) else np.arange(len(transitions))
    rows = places[draw_blocks(len(places), config.transitions, config.seed, _BLOCK)]
    game = game_of(transitions.read(rows[:: max(1, len(rows) // 8)], grayscale=True)[0])
    return Side(
        transitions,
        rows,
        controls[rows],
        infer_buttons(world, transitions, rows, config.workers or num_cores()),
        infer_codes(world.latent_action_model, transitions, rows),
        observe(transitions, rows, game),
    )


def _named_by_effect(side: Side) -> ControlMap:
    """Without labels: what the paddle does takes the place of the control."""
    events = [name for name in side.scene.columns if name.startswith("paddle_")]
    if not events:
        num = side.buttons.shape[1]
        names, same = tuple(f"button {button}" for button in range(num)), np.eye(num).tolist()
        return ControlMap(names, tuple(map(tuple, same)), tuple(range(num)), 0)
    effects = grouped(side.scene.columns, "paddle_") - 1
    known = effects >= 0
    names = [name.replace("_", " ") for name in events]
    found = fit_control_map(names, side.buttons[known], effects[known])
    return ControlMap(found.control_names, found.control_given_button, found.button_for_control, 0)


def _what_buttons_do(side: Side) -> list[dict[str, float | None]]:
    """How often each button is pressed, and how far the paddle then goes on average (pixels)."""
    share = side.buttons.mean(0)
    moved: list[float | None] = [None] * len(share)
    if side.scene.game:
        far = displacement(side.transitions, side.rows, side.scene.game.paddle, side.scene.known)
        moved = (side.buttons.T @ far / np.maximum(side.buttons.sum(0), 1e-9)).tolist()
    return [{"share": float(used), "paddle_px": px} for used, px in zip(share, moved, strict=True)]
