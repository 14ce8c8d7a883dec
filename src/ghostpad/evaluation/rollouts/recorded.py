"""Rollouts beside a recording: a world continues a held-out frame under the controls that were recorded.

Needs no emulator, so that worlds of every game are measured alike. The frames are compared with those that
were recorded, and with showing the start for as long.

Dimensions: N rollouts, k frames of history, C colour channels, H W frame.
"""

from functools import partial

import numpy as np

from ghostpad.buttons.control_map import ControlMap
from ghostpad.buttons.memory import transitions_left
from ghostpad.evaluation.reconstruction import psnr_db, squared_error, summarize
from ghostpad.evaluation.rollouts.single_steps import frame_sums
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.games import Game, recognize
from ghostpad.progress import progress
from ghostpad.sums import Measured, Sums, estimate, ratio
from ghostpad.world.world_model import WorldModel

NUM_ROLLOUTS = 48
PREFIX = "recorded_"
HORIZONS = (1, 4, 10, 30, 100)
_BATCH = 8
_NUMBERS = {
    "psnr_db": ("dB", "PSNR, MSE pooled"),
    "gain_over_copy_db": ("dB", "gain of PSNR over showing the start"),
    "moving_psnr_db": ("dB", "PSNR over the pixels that differ from the start, dilated by 2 pixels"),
    "delta_psnr_db": ("dB", "PSNR less that of the same rollout under random buttons"),
}


def keys_of(game: Game | None) -> dict[str, tuple[str, str]]:
    """Unit and meaning of every number of `recorded_rollouts` in this game."""
    numbers = _NUMBERS | (game.single_step_keys() if game else {})
    return {
        f"{PREFIX}{name}_{horizon}": (unit, f"after {horizon} frames under the recorded controls: {meaning}")
        for horizon in HORIZONS
        for name, (unit, meaning) in numbers.items()
    }


def recorded_rollouts(
    world: WorldModel, control_map: ControlMap, store: FrameStore, seed: int = 0
) -> Measured:
    """Continue test episodes under their recorded controls, from starts spread evenly over their frames.

    Numbers of `keys_of`, up to the longest horizon that half of the episodes allow; empty without controls.
    """
    transitions, generator = Transitions(store, "test", world.stride), np.random.default_rng(seed)
    horizons, rows = _starts(transitions)
    game = recognize(store.read(int(transitions.episode_index[0]), np.zeros(1, np.int64), world.grayscale))
    parts: list[dict[int, Sums]] = []
    episodes: list[int] = []
    for first in progress(range(0, len(rows), _BATCH), what="rollouts", unit="batches"):
        batch = rows[first : first + _BATCH]
        steps = batch + world.stride * np.arange(horizons[-1])[:, None]
        buttons = control_map.recorded_buttons(transitions, steps)
        if buttons is not None:
            episodes += transitions.episode_index[batch].tolist()
            random = generator.choice(world.buttons_in_use, buttons.shape)
            parts.append(_batch_sums(world, transitions, batch, horizons, (buttons, random), game))
    numbers, intervals = {}, {}
    for horizon in horizons:
        sums = [part[horizon] for part in parts]
        found, bounds = estimate(sums, episodes, partial(_summarize, game, horizon), seed)
        numbers, intervals = numbers | found, intervals | bounds
    return numbers, intervals


def _summarize(game: Game | None, horizon: int, sums: Sums) -> Sums:
    summary = summarize(sums)
    random_db = psnr_db(ratio(sums["random_squared"], sums["pixels"]))
    summary["delta_psnr_db"] = summary["psnr_db"] - random_db
    metrics = {name: summary[name] for name in _NUMBERS} | (game.summarize_single_steps(sums) if game else {})
    return {f"{PREFIX}{name}_{horizon}": value for name, value in metrics.items()}


def _starts(transitions: Transitions) -> tuple[list[int], np.ndarray]:
    """The horizons that fit, and the rows (S,) of the first transitions of rollouts of the longest one."""
    left_T = transitions_left(transitions.episode_index)
    num_episodes = np.count_nonzero(left_T == 0)
    for count in range(len(HORIZONS), 0, -1):
        steps = (HORIZONS[count - 1] - 1) * transitions.stride
        rows = np.flatnonzero(left_T >= steps)
        if 2 * len(np.unique(transitions.episode_index[rows])) >= num_episodes:
            places = np.linspace(0, len(rows) - 1, min(NUM_ROLLOUTS, len(rows)))
            return list(HORIZONS[:count]), rows[places.astype(int)]
    return [], np.zeros(0, np.int64)


def _batch_sums(
    world: WorldModel,
    transitions: Transitions,
    rows: np.ndarray,
    horizons: list[int],
    buttons: tuple[np.ndarray, np.ndarray],
    game: Game | None,
) -> dict[int, Sums]:
    """By horizon, sums of rollouts under the first buttons (steps, N) and the error under the second."""
    frames = read_sequences(transitions, rows, world.history, horizons[-1], world.grayscale)
    history, future = frames[:, : world.history], frames[:, world.history :]
    states, sums = [world.start(history)] * 2, {}
    for step in range(horizons[-1]):
        states = [world.step(state, held[step])[0] for state, held in zip(states, buttons, strict=True)]
        if step + 1 in horizons:
            drawn, by_chance = (state.frames[:, -1] for state in states)
            sums[step + 1] = frame_sums(game, drawn, future[:, step], history[:, -1])
            sums[step + 1]["random_squared"] = squared_error(by_chance, future[:, step])
    return sums
