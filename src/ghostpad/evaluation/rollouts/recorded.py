"""Rollouts beside a recording: a world continues a held-out frame under the controls that were recorded.

Needs no emulator, so that worlds of every game are measured alike. The frames are compared with those that
were recorded, and with showing the start for as long.

Dimensions: N rollouts, k frames of history, C colour channels, H W frame.
"""

import numpy as np

from ghostpad.buttons.control_map import ControlMap
from ghostpad.buttons.memory import transitions_left
from ghostpad.evaluation.reconstruction import pair_sums, psnr_db, summarize
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.games import Game, recognize
from ghostpad.progress import progress
from ghostpad.sums import Sums, bootstrap, ratio, total
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
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Continue test episodes under their recorded controls, from starts spread evenly over their frames.

    Returns:
        Numbers of `keys_of`, up to the longest horizon that half of the episodes allow; and their 95 %
        intervals by bootstrap over episodes. Both empty without recorded controls.

    Raises:
        UserError: the map lacks a control.
    """
    transitions, generator = Transitions(store, "test", world.stride), np.random.default_rng(seed)
    horizons, rows = _starts(transitions)
    game = recognize(store.read(int(transitions.episode_index[0]), np.zeros(1, np.int64), world.grayscale))
    sums: list[dict[int, Sums]] = []
    kept = []
    for first in progress(range(0, len(rows), _BATCH), what="rollouts", unit="batches"):
        batch = rows[first : first + _BATCH]
        steps = batch + world.stride * np.arange(horizons[-1])[:, None]
        buttons = _buttons(control_map, transitions, steps)
        if buttons is None:
            continue
        kept.append(transitions.episode_index[batch])
        random = generator.choice(world.buttons_in_use, buttons.shape)
        sums.append(_batch_sums(world, transitions, batch, horizons, (buttons, random), game))
    numbers, intervals = {}, {}
    for horizon in horizons if sums else ():
        parts = [part[horizon] for part in sums]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

        def metrics(sums: Sums, horizon: int = horizon) -> Sums:
            summary = summarize(sums)
            random_db = psnr_db(ratio(sums["random_squared"], sums["pixels"]))
            summary["delta_psnr_db"] = summary["psnr_db"] - random_db
            found = {name: summary[name] for name in _NUMBERS}
            if game:
                found |= game.summarize_single_steps(sums)
            return {f"{PREFIX}{name}_{horizon}": value for name, value in found.items()}

        numbers |= {name: float(value) for name, value in metrics(total(joined)).items()}
        intervals |= bootstrap(joined, np.concatenate(kept), metrics, seed)
    return numbers, intervals


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


def _buttons(control_map: ControlMap, transitions: Transitions, rows: np.ndarray) -> np.ndarray | None:
    """The buttons for the recorded controls of these transitions, in the same shape; None if unknown."""
    found = read_controls(transitions, rows.ravel(), directions=False)
    if found is None or (found[0] < 0).any():
        return None
    buttons = np.array([control_map.to_button(name) for name in found[1]])
    return buttons[found[0]].reshape(rows.shape)


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
            shown = (states[0].frames[:, -1], future[:, step], history[:, -1])
            drawn, true, start = (part.astype(np.float32) / 255 for part in shown)
            error = states[1].frames[:, -1].astype(np.float32) / 255 - true
            elements = game.score_elements(*map(game.detect, shown)) if game else {}
            sums[step + 1] = pair_sums(drawn, true, start) | elements
            sums[step + 1]["random_squared"] = np.square(error).sum((1, 2, 3), dtype=np.float64)
    return sums
