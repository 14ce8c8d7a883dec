"""A world alone with a player, against the emulator: the numbers of a world.

Both start from the same held-out frame and get the same controls: those of a tracker that looks at the
emulator. What they show goes through the same detector.

Dimensions: S starts, N of them side by side, T frames with the start first, C colour channels, H W frame.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.evaluation.rollouts import scores as closed_loop_scores
from ghostpad.evaluation.rollouts import single_steps
from ghostpad.evaluation.rollouts.scores import PICTURE_FRAMES, Watched, score, summarize
from ghostpad.evaluation.rollouts.side_by_side import Moment, draw_starts, side_by_side
from ghostpad.frames.store import FrameStore
from ghostpad.games import REFERENCE_GAME, Game, GameState, RolloutStates, game_named
from ghostpad.progress import progress
from ghostpad.sums import bootstrap, total
from ghostpad.world.world_model import WorldModel

NUM_STARTS, NUM_FRAMES = 20, 500
"""Enough for `ghostpad world`; the full measure has 100 starts."""
CPU_BATCH, GPU_BATCH = 8, 100
"""Worlds side by side; on a CPU more are slower each, as their activations leave its caches."""


KEYS = closed_loop_scores.KEYS | dict(REFERENCE_GAME.rollout_metrics) | single_steps.KEYS
"""Unit and meaning of every number of `measure`."""


def measure(
    world: WorldModel,
    control_map: ControlMap | None,
    store: FrameStore,
    num_starts: int = NUM_STARTS,
    num_frames: int = NUM_FRAMES,
    seed: int = 0,
) -> dict[str, Any]:
    """All numbers of a world: alone beside the emulator, one step at a time, and its speed.

    Args:
        world: as in `closed_loop`, like all others.
        control_map: None where nobody knows the controls.
        store: the same; any game will do for single steps.
        num_starts: the same.
        num_frames: the same.
        seed: the same.

    Returns:
        Every key of `KEYS`, None where a number could not be had, with the reason in `absent`; `intervals`.

    Raises:
        UserError: no test episode is long enough for a single step.
    """
    reason = f"the closed loop went on for {num_frames} frames only"
    alone, intervals = {}, {}
    try:
        if control_map is None:
            raise UserError("the controls are not known; tie buttons to them with ghostpad controls")
        alone, intervals = closed_loop(world, control_map, store, num_starts, num_frames, seed)
    except UserError as error:
        reason = str(error)
    steps, step_intervals = single_steps.single_steps(world, control_map, store, seed=seed)
    found = alone | steps | single_steps.speed(world, store)
    told = {name: found.get(name) for name in KEYS}
    missing = [name for name, value in told.items() if value is None or not np.isfinite(value)]
    return {
        **told,
        **dict.fromkeys(missing),
        "intervals": {name: list(ends) for name, ends in (intervals | step_intervals).items()},
        "absent": {name: _why(name, found, reason) for name in missing},
    }


def _why(name: str, found: dict[str, float], reason: str) -> str:
    if name in found:
        return "never happened"
    if name in single_steps.KEYS:
        return "the controls, or a detector for this game, are missing"
    return reason


def closed_loop(
    world: WorldModel,
    control_map: ControlMap,
    store: FrameStore,
    num_starts: int = NUM_STARTS,
    num_frames: int = NUM_FRAMES,
    seed: int = 0,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Watch a world beside the emulator from held-out starts.

    Args:
        world: in evaluation mode.
        control_map: which button it gets for a control.
        store: recordings of a game with a scripted player by 'ghostpad record'; the test split is used.
        num_starts: at least 1.
        num_frames: steps from each, at least 1.
        seed: of starts, players and resampling.

    Returns:
        The numbers of `closed_loop_scores.KEYS` as far as `num_frames` reaches, and their 95 % intervals by
        bootstrap over the episodes of the starts.

    Raises:
        UserError: as `side_by_side`.
    """
    if num_starts < 1 or num_frames < 1:
        raise UserError("a closed loop needs at least 1 start and 1 frame")
    starts = draw_starts(world, store, num_starts, seed)
    told = store.episodes[starts[0].episode_index].metadata or {}
    game = game_named(told["game"])
    if game is None:
        raise UserError(f"{store.path}: there is no scripted player for {told['game']}")
    batch = CPU_BATCH if world.device.type == "cpu" else GPU_BATCH
    parts = []
    with progress(total=num_starts * (num_frames + 1), what="closed loop", unit="frames") as bar:
        for first in range(0, num_starts, batch):
            group = starts[first : first + batch]
            moments = side_by_side(world, control_map, store, group, num_frames, seed)
            lives = np.array([start.lives for start in group])
            watched = watch(_counted(moments, bar), game, tuple(told["control_names"]), lives)
            parts.append(score(watched, game))
    sums = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    summary = partial(summarize, game=game, num_frames=num_frames)
    metrics = {name: float(value) for name, value in summary(total(sums)).items()}
    episodes = np.array([start.episode_index for start in starts])
    return metrics | {"num_starts": num_starts}, bootstrap(sums, episodes, summary, seed)


def _counted(moments: Iterable[Moment], bar: tqdm) -> Iterator[Moment]:
    for moment in moments:
        bar.update(len(moment.over))
        yield moment


def watch(
    moments: Iterable[Moment], game: Game, control_names: tuple[str, ...], lives: np.ndarray
) -> Watched:
    """Keep what the detector finds in each moment, the start first, and errors of whole pictures."""
    drawn, true, controls, running = [], [], [], []
    squared, copy_squared, begin = {}, {}, np.zeros(0)
    for step, moment in enumerate(moments):
        drawn.append(game.detect(moment.drawn))
        true.append(game.detect(moment.true))
        controls.append(moment.controls)
        running.append(~moment.over)
        if step == 0:
            begin = moment.true
        elif step in PICTURE_FRAMES:
            squared[step] = _squared(moment.drawn, moment.true)
            copy_squared[step] = _squared(begin, moment.true)
    valid = np.logical_and.accumulate(np.stack(running))
    states = RolloutStates(_stacked(drawn), _stacked(true), np.stack(controls), control_names, valid, lives)
    return Watched(states, squared, copy_squared, begin[0].size)


def _squared(pictures_NCHW: np.ndarray, others_NCHW: np.ndarray) -> np.ndarray:
    error = (pictures_NCHW.astype(np.float32) - others_NCHW) / 255
    return np.square(error).sum((1, 2, 3), dtype=np.float64)


def _stacked(found: list[GameState]) -> GameState:
    return {name: np.stack([columns[name] for columns in found]) for name in found[0]}
