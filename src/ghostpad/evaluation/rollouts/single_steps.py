"""Single steps of a world: the error of the next frame predicted from recorded frames, and its speed.

Dimensions: N transitions, k frames of history, C colour channels, H W frame.
"""

import statistics
import time
from functools import partial

import numpy as np
import torch

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.evaluation.inference import as_unit
from ghostpad.evaluation.reconstruction import pair_sums, summarize
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.games import Game, recognize
from ghostpad.machine import num_cores
from ghostpad.sums import Measured, Sums, estimate
from ghostpad.world.world_model import WorldModel, WorldState

NUM_TRANSITIONS = 400
_BATCH = 8
_TIMED_STEPS, _WARM_STEPS = 30, 3

_OF_RECORDED = "of held-out transitions predicted from recorded frames"
_NUMBERS = {
    "psnr_db": ("dB", f"PSNR {_OF_RECORDED}, MSE pooled"),
    "copy_psnr_db": ("dB", "the same for copying the current frame"),
    "gain_over_copy_db": ("dB", "gain of PSNR over copying the current frame"),
    "moving_psnr_db": ("dB", "PSNR over the pixels that differ between the true frames, dilated by 2 pixels"),
}
_BUTTONS = {
    "one_step": "the button for the recorded control",
    "inferred": "the button that explains the transition best",
}
_SPEED = {
    "frames_per_s": ("frames per second", "one world alone, all threads"),
    "frames_per_s_one_thread": ("frames per second", "one world alone, one thread"),
    "num_threads": ("threads", "of `frames_per_s`"),
}


def keys_of(game: Game | None) -> dict[str, tuple[str, str]]:
    """Unit and meaning of every number of `single_steps` for worlds of this game, and of `speed`."""
    elements = game.single_step_keys() if game else {}
    numbers = _NUMBERS | {
        name: (unit, f"{_OF_RECORDED}: {meaning}") for name, (unit, meaning) in elements.items()
    }
    return {
        f"{kind}_{name}": (unit, f"{meaning}; with {button}")
        for kind, button in _BUTTONS.items()
        for name, (unit, meaning) in numbers.items()
    } | _SPEED


def single_steps(
    world: WorldModel,
    control_map: ControlMap | None,
    store: FrameStore,
    num_transitions: int = NUM_TRANSITIONS,
    seed: int = 0,
) -> Measured:
    """Predict at most `num_transitions` held-out next frames from recorded ones: numbers of `keys_of`.

    Those named `one_step_…` are missing without a map or recorded controls.

    Raises:
        UserError: no test episode is long enough, or the map lacks a control.
    """
    stride = world.latent_action_model.stride
    transitions = Transitions(store, "test", stride)
    rows = np.flatnonzero(transitions.frame_index >= stride * (world.history - 1))
    if not len(rows):
        raise UserError(f"{store.path}: no test episode is longer than the history of {world.history} frames")
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:num_transitions])
    episodes, frames = transitions.episode_index[rows], transitions.frame_index[rows]
    recorded = control_map.recorded_buttons(transitions, rows) if control_map else None
    game = recognize(store.read(episodes[0], frames[:1], world.grayscale))
    metrics, intervals = {}, {}
    for kind, buttons in (("one_step", recorded), ("inferred", None)):
        if kind == "one_step" and buttons is None:
            continue
        parts = []
        for first in range(0, len(rows), _BATCH):
            batch = slice(first, first + _BATCH)
            held = None if buttons is None else buttons[batch]
            parts.append(_step_sums(world, transitions, rows[batch], held, game))
        found, bounds = estimate(parts, episodes, partial(_summarize, game, f"{kind}_"), seed)
        metrics, intervals = metrics | found, intervals | bounds
    return metrics, intervals


def _step_sums(
    world: WorldModel,
    transitions: Transitions,
    rows: np.ndarray,
    buttons: np.ndarray | None,
    game: Game | None,
) -> Sums:
    """Sums over a batch, for `_summarize`; under the likeliest buttons where none are given."""
    shown = read_sequences(transitions, rows, world.history, 1, world.grayscale)
    histories, true = shown[:, :-1], shown[:, -1]
    if buttons is None:
        buttons = world.button_probabilities(histories, true).argmax(1).cpu().numpy()
    state, _ = world.step(world.start(histories), buttons)
    drawn = state.pictures[..., : true.shape[1]].transpose(0, 3, 1, 2)
    return frame_sums(game, drawn, true, histories[:, -1])


def frame_sums(game: Game | None, *frames: np.ndarray) -> Sums:
    """Sums over predicted, true and current frames, each (N, C, H, W) uint8: `pair_sums`, and elements."""
    sums = pair_sums(*map(as_unit, frames))
    return sums | game.score_elements(*map(game.detect, frames)) if game else sums


def _summarize(game: Game | None, prefix: str, sums: Sums) -> Sums:
    """The numbers of `_NUMBERS` and of the game, from sums over transitions."""
    reconstruction = summarize(sums)
    metrics = {name: reconstruction[name] for name in _NUMBERS}
    if game:
        metrics |= game.summarize_single_steps(sums)
    return {f"{prefix}{name}": value for name, value in metrics.items()}


def speed(world: WorldModel, store: FrameStore) -> dict[str, float]:
    """Frames per second of one world, with all threads and with one, by the median step."""
    episode = next(i for i, e in enumerate(store.episodes) if e.num_frames >= world.history)
    state = world.start(store.read(episode, np.arange(world.history), world.grayscale)[None])
    before = torch.get_num_threads()
    rates: dict[str, float] = {}
    try:
        for name, threads in (("frames_per_s", num_cores()), ("frames_per_s_one_thread", 1)):
            torch.set_num_threads(threads)
            rates[name] = 1 / seconds_per_step(world, state)
    finally:
        torch.set_num_threads(before)
    return rates | {"num_threads": num_cores()}


def seconds_per_step(world: WorldModel, state: WorldState, num_steps: int = _TIMED_STEPS) -> float:
    """Median time of a step, drawn frames included."""
    seconds = []
    for _ in range(_WARM_STEPS + num_steps):
        began = time.perf_counter()
        state, _ = world.step(state, 0)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[_WARM_STEPS:])
