"""Open-loop rollouts: a world continues a held-out recording beside the emulator, under the same controls.

Both start from the same recorded frame. A scripted player that sees only the emulator chooses the controls,
so that errors of the world add up uncorrected. One detector reads the frames of both.

Dimensions: N rollouts side by side, T frames with the start first, k frames of history, C colour channels,
H W frame.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.evaluation.reconstruction import psnr_db, squared_error
from ghostpad.frames.replay import can_replay, replay
from ghostpad.frames.store import FrameStore
from ghostpad.games import REFERENCE_GAME, Game, GameState, RolloutStates, game_named
from ghostpad.luma import to_channels
from ghostpad.progress import progress
from ghostpad.sums import Measured, Sums, as_floats, estimate, ratio
from ghostpad.world.rollouts import Rollout
from ghostpad.world.world_model import WorldModel

NUM_STARTS, NUM_FRAMES = 20, 500  # enough for `ghostpad world`; the full measurement has 100 starts
CPU_BATCH, GPU_BATCH = 8, 100
"""Rollouts in a batch. On a CPU larger batches are slower per world: their activations leave its caches."""
PSNR_FRAMES = (1, 10, 100)

KEYS: dict[str, tuple[str, str]] = {
    "num_starts": ("starts", "held-out frames from which world and emulator continued"),
    "num_frames": (
        "frames",
        "that were compared: less than the steps of all starts where the emulator's game was over",
    ),
    **{f"psnr_db_{n}": ("dB", f"PSNR at frame {n}, MSE pooled over the starts") for n in PSNR_FRAMES},
    **{f"copy_psnr_db_{n}": ("dB", f"the same for showing the start for {n} frames") for n in PSNR_FRAMES},
    **{name: metric[:2] for name, metric in REFERENCE_GAME.rollout_metrics.items()},
}
"""Unit and meaning of every number of `open_loop`. A number at the end: of how many frames it needs."""


@dataclass(frozen=True)
class Start:
    """A recorded frame, the newest that a world is given."""

    episode_index: int
    frame_index: int
    lives: int
    """left at this frame"""


@dataclass(frozen=True)
class OpenLoopStep:
    """N worlds and emulators after the same controls.

    Attributes:
        controls: (N,) held on the way to this frame, -1 at the start.
        buttons: (N,) pressed in the worlds for them, -1 at the start.
        imagined: (N, C, H, W) uint8, frames of the worlds.
        true: the same, of the emulators.
        over: (N,) bool, whether the emulator's game is over.
    """

    controls: np.ndarray
    buttons: np.ndarray
    imagined: np.ndarray
    true: np.ndarray
    over: np.ndarray


def draw_starts(
    world: WorldModel, store: FrameStore, num_starts: int, seed: int, split: str = "test"
) -> list[Start]:
    """Draw frames of a split, spread evenly over its episodes, with the lives that the game asks for.

    Raises:
        UserError: no episode of the split can be replayed in the emulator, or none is long enough.
    """
    rng = np.random.default_rng(seed)
    first = (world.history - 1) * world.latent_action_model.stride
    choices: list[tuple[int, np.ndarray, np.ndarray]] = []
    for index, episode in enumerate(store.episodes):
        if episode.split == split and can_replay(store, index):
            metadata = episode.metadata or {}
            game, lives = game_named(metadata["game"]), np.array(metadata["lives"])
            frames = np.arange(first, episode.num_frames - 1)
            frames = frames[lives[frames] >= (game.min_lives_at_start if game else 0)]
            if len(frames):
                choices.append((index, frames, lives))
    if not choices:
        raise UserError(
            f"{store.path}: no {split} episode that the emulator could replay; give data of "
            "'ghostpad record --game breakout'"
        )
    rounds = -(-num_starts // len(choices))
    starts = []
    for choice in np.concatenate([rng.permutation(len(choices)) for _ in range(rounds)])[:num_starts]:
        index, frames, lives = choices[choice]
        frame = int(rng.choice(frames))
        starts.append(Start(index, frame, int(lives[frame])))
    return starts


def open_loop_steps(
    world: WorldModel,
    control_map: ControlMap,
    store: FrameStore,
    starts: Sequence[Start],
    num_frames: int,
    seed: int,
) -> Iterator[OpenLoopStep]:
    """Yield the start and the `num_frames` steps after it, of a world and an emulator for each start.

    Raises:
        UserError: a start cannot be replayed, the game has no scripted player, or the map lacks a control.
    """
    metadata = store.episodes[starts[0].episode_index].metadata or {}
    game = _game_of(store, starts[0])
    assert game.scripted_player is not None
    buttons_of = np.array([control_map.to_button(name) for name in metadata["control_names"]])
    emulators = [replay(store, start.episode_index, start.frame_index) for start in starts]
    actions = emulators[0].getMinimalActionSet()
    stride = world.latent_action_model.stride
    # The player of a start does not depend on the starts beside it.
    players = [
        game.scripted_player(
            np.random.default_rng([seed, s.episode_index, s.frame_index]), stride * metadata["frame_skip"]
        )
        for s in starts
    ]
    history = stride * np.arange(1 - world.history, 1)
    rollout = Rollout(world)
    rollout.start(
        np.stack([store.read(s.episode_index, s.frame_index + history, world.grayscale) for s in starts])
    )

    def step(controls: np.ndarray, buttons: np.ndarray) -> OpenLoopStep:
        screens = np.stack([emulator.getScreenRGB() for emulator in emulators])
        true = to_channels(screens, world.grayscale)
        over = np.array([emulator.game_over() for emulator in emulators])
        return OpenLoopStep(controls, buttons, rollout.frames, true, over)

    yield step(*np.full((2, len(starts)), -1))
    for _ in range(num_frames):
        controls = np.array(
            [play(emulator.getRAM()) for play, emulator in zip(players, emulators, strict=True)]
        )
        for emulator, control in zip(emulators, controls, strict=True):
            for _ in range(stride):
                emulator.act(actions[control])
        buttons = buttons_of[controls]
        rollout.press(buttons)
        yield step(controls, buttons)


def _game_of(store: FrameStore, start: Start) -> Game:
    name = (store.episodes[start.episode_index].metadata or {}).get("game")
    game = game_named(name)
    if game is None or game.scripted_player is None:
        raise UserError(f"{store.path}: there is no scripted player for {name}")
    return game


def open_loop(
    world: WorldModel,
    control_map: ControlMap,
    store: FrameStore,
    num_starts: int = NUM_STARTS,
    num_frames: int = NUM_FRAMES,
    seed: int = 0,
) -> Measured:
    """Compare rollouts of a world with the emulator: the numbers of `KEYS` as far as `num_frames` reaches.

    They start from test episodes that 'ghostpad record' made of a game with a scripted player. Errors as in
    `draw_starts` and `open_loop_steps`.
    """
    if num_starts < 1 or num_frames < 1:
        raise UserError("open-loop rollouts need at least 1 start and 1 frame")
    starts = draw_starts(world, store, num_starts, seed)
    game = _game_of(store, starts[0])
    batch = CPU_BATCH if world.device.type == "cpu" else GPU_BATCH
    parts = []
    with progress(total=num_starts * (num_frames + 1), what="rollouts", unit="frames") as bar:
        for first in range(0, num_starts, batch):
            group = starts[first : first + batch]
            steps = _counted(open_loop_steps(world, control_map, store, group, num_frames, seed), bar)
            names = store.control_names(group[0].episode_index) or ()
            lives = np.array([start.lives for start in group])
            parts.append(score(steps, game, tuple(names), lives))
    summary = partial(summarize, game=game, num_frames=num_frames)
    metrics, intervals = estimate(parts, [start.episode_index for start in starts], summary, seed)
    return metrics | {"num_starts": num_starts}, intervals


def _counted(steps: Iterable[OpenLoopStep], bar: tqdm) -> Iterator[OpenLoopStep]:
    for step in steps:
        bar.update(len(step.over))
        yield step


def score(
    steps: Iterable[OpenLoopStep], game: Game, control_names: tuple[str, ...], lives: np.ndarray
) -> Sums:
    """Sums for each rollout, (N,) each, from after the start until the emulator's game is over.

    (N,) `lives` are left at the start.
    """
    imagined, true, controls, running = [], [], [], []
    errors: Sums = {}
    start = np.zeros(0)
    for number, step in enumerate(steps):
        imagined.append(game.detect(step.imagined))
        true.append(game.detect(step.true))
        controls.append(step.controls)
        running.append(~step.over)
        if number == 0:
            start = step.true
        elif number in PSNR_FRAMES:
            going = np.all(running, 0)
            errors[f"values_{number}"] = going * start[0].size
            errors[f"squared_{number}"] = going * squared_error(step.imagined, step.true)
            errors[f"copy_squared_{number}"] = going * squared_error(start, step.true)
    valid = np.logical_and.accumulate(np.stack(running))
    states = RolloutStates(_stack(imagined), _stack(true), np.stack(controls), control_names, valid, lives)
    return as_floats({"frames": valid[1:].sum(0), **game.score_rollouts(states), **errors})


def _stack(states: list[GameState]) -> GameState:
    return {name: np.stack([columns[name] for columns in states]) for name in states[0]}


def summarize(sums: Sums, game: Game, num_frames: int) -> Sums:
    """The numbers of `KEYS` from sums over rollouts, without those that need more than `num_frames`."""
    metrics = {"num_frames": sums["frames"], **game.summarize_rollouts(sums)}
    for number in PSNR_FRAMES:
        if f"values_{number}" in sums:
            for prefix in ("", "copy_"):
                squared = sums[f"{prefix}squared_{number}"]
                metrics[f"{prefix}psnr_db_{number}"] = psnr_db(ratio(squared, sums[f"values_{number}"]))
    needed = {name: name.rpartition("_")[2] for name in metrics}
    return {
        name: metrics[name] for name, last in needed.items() if not last.isdigit() or int(last) <= num_frames
    }
