"""A world beside the emulator: from the same frames, under the same controls.

Dimensions: N worlds side by side, k frames of history, C colour channels, H W frame.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.frames.replay import can_replay, replay
from ghostpad.frames.store import FrameStore
from ghostpad.games import game_named
from ghostpad.luma import luma
from ghostpad.world.world_model import WorldModel, WorldState


@dataclass(frozen=True)
class Start:
    """A recorded frame, the newest that a world sees before it is alone."""

    episode_index: int
    frame_index: int
    lives: int
    """that are left there"""


@dataclass(frozen=True)
class Moment:
    """A world and the emulator after the same controls.

    Attributes:
        controls: (N,) held to get here, -1 at the start.
        buttons: (N,) pressed in the world for them, -1 at the start.
        drawn: (N, C, H, W) uint8, what the worlds show.
        true: (N, C, H, W) uint8, what the emulator shows.
        over: (N,) bool, whether the emulator's game is over.
    """

    controls: np.ndarray
    buttons: np.ndarray
    drawn: np.ndarray
    true: np.ndarray
    over: np.ndarray


def draw_starts(
    world: WorldModel, store: FrameStore, num_starts: int, seed: int, split: str = "test"
) -> list[Start]:
    """Draw frames of a split, spread evenly over its episodes, with as many lives left as the game asks for.

    Raises:
        UserError: no episode of the split can be played again in the emulator, or none is long enough.
    """
    rng = np.random.default_rng(seed)
    first = (world.history - 1) * world.latent_action_model.stride
    choices: list[tuple[int, np.ndarray, np.ndarray]] = []
    for index, episode in enumerate(store.episodes):
        if episode.split == split and can_replay(store, index):
            lives = np.array((episode.metadata or {})["lives"])
            frames = np.arange(first, episode.num_frames - 1)
            game = game_named((episode.metadata or {})["game"])
            frames = frames[lives[frames] >= (game.min_lives_at_start if game else 0)]
            if len(frames):
                choices.append((index, frames, lives))
    if not choices:
        raise UserError(
            f"{store.path}: no {split} episode that the emulator could play again; give data of "
            "'ghostpad record --game breakout'"
        )
    rounds = -(-num_starts // len(choices))
    starts = []
    for place in np.concatenate([rng.permutation(len(choices)) for _ in range(rounds)])[:num_starts]:
        index, frames, lives = choices[place]
        frame = int(rng.choice(frames))
        starts.append(Start(index, frame, int(lives[frame])))
    return starts


def side_by_side(
    world: WorldModel,
    control_map: ControlMap,
    store: FrameStore,
    starts: Sequence[Start],
    num_frames: int,
    seed: int,
) -> Iterator[Moment]:
    """Yield the start and `num_frames` moments after it, of a world and an emulator for each start.

    A tracker plays: it looks at the emulator, follows the ball and fires after each ball that is lost there.
    The worlds get its controls and see nothing else of the emulator.

    Raises:
        UserError: a start cannot be played again, the game has no player, or the map lacks a control.
    """
    told = store.episodes[starts[0].episode_index].metadata or {}
    game = game_named(told["game"])
    if game is None or game.scripted_player is None:
        raise UserError(f"{store.path}: there is no scripted player for {told['game']}")
    buttons_of = np.array([control_map.to_button(name) for name in told["control_names"]])
    emulators = [replay(store, start.episode_index, start.frame_index) for start in starts]
    actions = emulators[0].getMinimalActionSet()
    stride = world.latent_action_model.stride
    # Whoever plays a start plays it the same, whatever stands beside it.
    players = [
        game.scripted_player(
            np.random.default_rng([seed, start.episode_index, start.frame_index]), stride * told["frame_skip"]
        )
        for start in starts
    ]
    back = stride * np.arange(1 - world.history, 1)
    histories = [store.read(s.episode_index, s.frame_index + back, world.grayscale) for s in starts]
    state = world.start(np.stack(histories))
    yield _moment(world, state, emulators, np.full((2, len(starts)), -1))
    for _ in range(num_frames):
        controls = np.array(
            [play(emulator.getRAM()) for play, emulator in zip(players, emulators, strict=True)]
        )
        for emulator, control in zip(emulators, controls, strict=True):
            for _ in range(stride):
                emulator.act(actions[control])
        buttons = buttons_of[controls]
        state, _ = world.step(state, buttons)
        yield _moment(world, state, emulators, np.stack([controls, buttons]))


def _moment(world: WorldModel, state: WorldState, emulators: list[Any], held: np.ndarray) -> Moment:
    channels = 1 if world.grayscale else 3
    screens = np.stack([emulator.getScreenRGB() for emulator in emulators])
    true = luma(screens)[:, None] if world.grayscale else screens.transpose(0, 3, 1, 2)
    drawn = state.pictures[..., :channels].transpose(0, 3, 1, 2)
    over = np.array([emulator.game_over() for emulator in emulators])
    return Moment(held[0], held[1], drawn, true, over)
