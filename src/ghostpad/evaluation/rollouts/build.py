"""The verb `world`: train a world model, then measure its buttons, its rollouts and its speed."""

from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.buttons.control_map import ControlMap, fit_control_map
from ghostpad.errors import UserError
from ghostpad.evaluation.controls.buttons import world_buttons
from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.rollouts import branched, open_loop, recorded, sequences, single_steps
from ghostpad.evaluation.rollouts.film import write_rollout_film
from ghostpad.frames.controls import read_controls
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.games import REFERENCE_GAME
from ghostpad.io import write_json
from ghostpad.machine import num_cores
from ghostpad.world.config import WorldConfig
from ghostpad.world.likelihood import describe_buttons
from ghostpad.world.starts import write_starts
from ghostpad.world.train import train_world
from ghostpad.world.world_model import WorldModel

FORMAT = 1
METRICS_FILE, FILM_FILE = "metrics.json", "rollout.gif"
LABELS, HELD_OUT = 1_024, 2_048
"""Transitions for the control map of the measurements, and for the description of the buttons."""
KEYS = {
    **open_loop.KEYS,
    **recorded.keys_of(REFERENCE_GAME),
    **branched.KEYS,
    **sequences.KEYS,
    **single_steps.keys_of(REFERENCE_GAME),
}
"""Unit and meaning of the numbers of `measure`; those of the reference game are there for every game."""


def build_world(config: WorldConfig) -> dict[str, Any]:
    """Train a world model with its buttons, measure it, and write what play and controls need beside it.

    The folder then holds the checkpoints, `metrics.json`, `starts.npz` and, where the emulator can replay the
    recordings, `rollout.gif`. Returns the content of `metrics.json`.

    Raises:
        UserError: model, data or folder do not fit.
    """
    train_world(config)
    world = WorldModel.from_pretrained(config.out)
    store = open_data(config.data, config.workers)
    write_starts(config.out, store, world.history)
    workers = config.workers or num_cores()
    control_map = recorded_map(world, store, config.seed, workers) if config.starts else None
    metrics = describe(world, store, control_map, config.starts, config.seed, workers)
    metrics["model"] = config.model
    write_json(config.out / METRICS_FILE, metrics)
    if control_map is not None:
        try:
            write_rollout_film(world, control_map, store, config.out / FILM_FILE, seed=config.seed)
        except UserError as reason:
            print(f"No film of the world: {reason}")
    print_summary(metrics, config.out)
    return metrics


def describe(
    world: WorldModel,
    store: FrameStore,
    control_map: ControlMap | None,
    num_starts: int,
    seed: int = 0,
    num_workers: int = 1,
) -> dict[str, Any]:
    """The content of `metrics.json`: the buttons of a world, and how true it is on held-out episodes."""
    transitions = Transitions(store, "validation", world.latent_action_model.stride)
    return {
        "version": FORMAT,
        "split": "test",
        "model_hash": world.model_hash,
        "data_fingerprint": store.fingerprint,
        "height": world.height,
        "width": world.width,
        "buttons": describe_buttons(world, transitions, HELD_OUT, seed, num_workers),
        "world": measure(world, control_map, store, num_starts, seed=seed),
    }


def measure(
    world: WorldModel,
    control_map: ControlMap | None,
    store: FrameStore,
    num_starts: int = open_loop.NUM_STARTS,
    num_frames: int = open_loop.NUM_FRAMES,
    seed: int = 0,
) -> dict[str, Any]:
    """All numbers of a world: open-loop rollouts, sequences under inferred buttons, single steps and speed.

    There are `num_starts` rollouts and as many sequences. Without a control map or a scripted player there
    are no rollouts. A missing number is None, with the reason in `absent`.

    Raises:
        UserError: no test episode is long enough for a single step.
    """
    reason = f"the rollouts are only {num_frames} frames long"
    rollouts, intervals = {}, {}
    try:
        if control_map is None:
            raise UserError("the controls are not known; tie buttons to them with ghostpad controls")
        rollouts, intervals = open_loop.open_loop(world, control_map, store, num_starts, num_frames, seed)
    except UserError as error:
        reason = str(error)
    imagined, sequence_intervals = sequences.sequences(world, store, num_starts, seed)
    steps, step_intervals = single_steps.single_steps(world, control_map, store, seed=seed)
    measured = rollouts | imagined | steps | single_steps.speed(world, store)
    intervals |= sequence_intervals | step_intervals
    if control_map is not None:
        for measurement in (recorded.recorded_rollouts, branched.branched_steps):
            found, found_intervals = measurement(world, control_map, store, seed)
            measured, intervals = measured | found, intervals | found_intervals
    numbers = {name: measured.get(name) for name in {**KEYS, **measured}}
    missing = [name for name, value in numbers.items() if value is None or not np.isfinite(value)]
    return {
        **numbers,
        **dict.fromkeys(missing),
        "intervals": {name: list(ends) for name, ends in intervals.items()},
        "absent": {name: _why_absent(name, measured, reason) for name in missing},
    }


def _why_absent(name: str, measured: dict[str, float], reason: str) -> str:
    if name in measured:
        return "never happened"
    if name in branched.KEYS:
        return "no controls, or no branches of test episodes (ghostpad record --branches)"
    if name.startswith(recorded.PREFIX):
        return "no controls, or the test episodes are too short"
    if name not in open_loop.KEYS:
        return "the controls, a detector for this game, or long enough test episodes are missing"
    return reason


def recorded_map(
    world: WorldModel, store: FrameStore, seed: int = 0, num_workers: int = 1
) -> ControlMap | None:
    """The control map of the recorded controls, for measurements; None where none were recorded.

    `ghostpad controls` makes the map that is kept.
    """
    transitions = Transitions(store, "train", world.latent_action_model.stride)
    rows = draw_blocks(len(transitions), LABELS, seed)
    recorded = read_controls(transitions, rows, directions=False)
    if recorded is None:
        return None
    held, names = recorded
    known = held >= 0
    return fit_control_map(
        names, world_buttons(world, num_workers).posteriors(transitions, rows[known]), held[known]
    )


def print_summary(metrics: dict[str, Any], folder: Path) -> None:
    """Print the most important numbers, one to a line."""
    buttons, world = metrics["buttons"], metrics["world"]
    bits = buttons["bits"]
    print(
        f"Buttons: {buttons['needed']} of {buttons['num_buttons']} are needed; they save "
        f"{bits[0] - min(bits):.1f} of the {bits[0]:.1f} bits that the codes of a transition take without."
    )
    lines = {
        "inferred_psnr_db": "One step, with the likeliest button: PSNR {:.1f} dB",
        "inferred_gain_over_copy_db": "  gain over copying {:.1f} dB",
        "recorded_gain_over_copy_db_10": "Ten frames of recorded controls: gain over copying {:.1f} dB",
        "branch_direction": "Of two controls of one state, the difference points the right way: {:.0%}",
        **{
            name: f"Open loop: {metric.title} {{:.4g}} {metric.unit}"
            for name, metric in REFERENCE_GAME.rollout_metrics.items()
            if metric.title
        },
        "frames_per_s": "Speed: {:.0f} frames a second",
    }
    for name, text in lines.items():
        if world.get(name) is not None:
            print(text.format(world[name]))
    print(f"{folder / METRICS_FILE}: all numbers. Next: ghostpad controls, then ghostpad play.")
