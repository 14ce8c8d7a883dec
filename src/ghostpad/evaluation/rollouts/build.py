"""The verb `world`: train a world, then say what was found in it and how true it is."""

from pathlib import Path
from typing import Any

from ghostpad.buttons.control_map import ControlMap, fit_control_map
from ghostpad.errors import UserError
from ghostpad.evaluation.controls.study import button_posteriors
from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.rollouts.film import write_rollout
from ghostpad.evaluation.rollouts.open_loop import measure
from ghostpad.frames.controls import read_controls
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
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


def build_world(config: WorldConfig) -> dict[str, Any]:
    """Train a world model with its buttons, measure it, and write what play and controls need beside it.

    The folder then holds the checkpoints, `metrics.json`, `starts.npz` and, where the recordings can be
    played again by an emulator, `rollout.gif`.

    Returns:
        What is in `metrics.json`.

    Raises:
        UserError: model, data or folder do not fit.
    """
    train_world(config)
    world = WorldModel.from_pretrained(config.out)
    store = open_data(config.data, config.workers)
    write_starts(config.out, store, world.history)
    workers = config.workers or num_cores()
    control_map = recorded_map(world, store, config.seed, workers) if config.starts else None
    told = describe(world, store, control_map, config.starts, config.seed, workers)
    told["model"] = config.model
    write_json(config.out / METRICS_FILE, told)
    if control_map is not None:
        try:
            write_rollout(world, control_map, store, config.out / FILM_FILE, seed=config.seed)
        except UserError as reason:
            print(f"No film of the world: {reason}")
    print_found(told, config.out)
    return told


def describe(
    world: WorldModel,
    store: FrameStore,
    control_map: ControlMap | None,
    num_starts: int,
    seed: int = 0,
    num_workers: int = 1,
) -> dict[str, Any]:
    """The numbers of a world on held-out episodes, plain: its buttons, and itself beside the game.

    Args:
        world: in evaluation mode.
        store: recordings.
        control_map: which button a control is; None for single steps alone.
        num_starts: closed loops beside the emulator.
        seed: of what is drawn.
        num_workers: processes that look for buttons.
    """
    stride = world.latent_action_model.stride
    buttons = describe_buttons(world, Transitions(store, "validation", stride), HELD_OUT, seed, num_workers)
    return {
        "version": FORMAT,
        "split": "test",
        "model_hash": world.model_hash,
        "data_fingerprint": store.fingerprint,
        "height": world.height,
        "width": world.width,
        "buttons": buttons,
        "world": measure(world, control_map, store, num_starts, seed=seed),
    }


def recorded_map(
    world: WorldModel, store: FrameStore, seed: int = 0, num_workers: int = 1
) -> ControlMap | None:
    """Buttons for the recorded controls, for measuring; None where nobody recorded any.

    `ghostpad controls` makes the map that is kept.
    """
    transitions = Transitions(store, "train", world.latent_action_model.stride)
    rows = draw_blocks(len(transitions), LABELS, seed)
    read = read_controls(transitions, rows, directions=False)
    if read is None:
        return None
    held, names = read
    known = held >= 0
    return fit_control_map(
        names, button_posteriors(world, transitions, rows[known], num_workers), held[known]
    )


def print_found(told: dict[str, Any], folder: Path) -> None:
    """Say in a few lines what was found."""
    buttons, world = told["buttons"], told["world"]
    bits = buttons["bits"]
    print(
        f"Buttons: {buttons['needed']} of {buttons['num_buttons']} are needed; they save "
        f"{bits[0] - min(bits):.1f} of the {bits[0]:.1f} bits that the codes of a transition take without."
    )
    for name, text in (
        ("inferred_psnr_db", "One step, with the button that explains it: PSNR {:.1f} dB"),
        ("inferred_gain_over_copy_db", "  gain over copying {:.1f} dB"),
        ("paddle_error_px_100", "Alone for 100 frames beside the emulator: paddle {:.1f} pixels off"),
        (
            "single_ball_share_500",
            "Alone for 500: one single ball in {:.1%} of the frames that should have one",
        ),
        ("bricks_back", "  bricks that came back: {:.0f}"),
        ("frames_per_s", "Speed: {:.0f} frames a second"),
    ):
        if world.get(name) is not None:
            print(text.format(world[name]))
    print(f"{folder / METRICS_FILE}: all numbers. Next: ghostpad controls, then ghostpad play.")
