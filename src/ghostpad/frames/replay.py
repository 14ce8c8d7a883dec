"""The way back to any frame of a recording: the emulator plays its controls again."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.sources.atari import RecordConfig, draw_player, open_emulator

_NEEDED = {"game", "frame_skip", "sticky", "seed", "recorded_policy", "controls"}


def can_replay(store: FrameStore, episode_index: int) -> bool:
    """Whether an episode says all that its emulator needs to know."""
    episode = store.episodes[episode_index]
    return set(episode.metadata or {}) >= _NEEDED and episode.name.rpartition("_")[2].isdigit()


@dataclass(frozen=True)
class Replay:
    """How an emulator gets to where a frame was recorded."""

    game: str
    """ROM name"""
    frame_skip: int
    """frames of the console per control"""
    sticky: float
    """probability that the console repeats the control before"""
    seed: int
    """of the console"""
    controls: tuple[int, ...]
    """all that were held until then, as numbers of the game's minimal actions"""

    def emulator(self) -> Any:
        """An `ALEInterface` that has played them.

        Raises:
            UserError: ale-py is missing or has no such game.
        """
        config = RecordConfig(game=self.game, frame_skip=self.frame_skip, sticky=self.sticky)
        emulator = open_emulator(config, self.seed)
        actions = emulator.getMinimalActionSet()
        for control in self.controls:
            emulator.act(actions[control])
        return emulator


def replay_of(store: FrameStore, episode_index: int, frame_index: int) -> Replay:
    """Read off a recording how to get to one of its frames.

    Raises:
        UserError: the episode was not recorded by Ghostpad.
    """
    episode = store.episodes[episode_index]
    if not can_replay(store, episode_index) or episode.metadata is None:
        raise UserError(
            f"{store.path}: {episode.name} was not recorded by 'ghostpad record', so that the emulator "
            "cannot play it again; give data that were"
        )
    told = episode.metadata
    config = RecordConfig(game=told["game"], policy=told["recorded_policy"], seed=told["seed"])
    _, seed, _ = draw_player(config, int(episode.name.rpartition("_")[2]))
    controls = tuple(told["controls"][:frame_index])
    return Replay(told["game"], told["frame_skip"], told["sticky"], seed, controls)


def replay(store: FrameStore, episode_index: int, frame_index: int) -> Any:
    """Return an `ALEInterface` in the state in which a recorded frame was seen.

    Raises:
        UserError: the episode was not recorded by Ghostpad, ale-py is missing, or it now plays otherwise.
    """
    emulator = replay_of(store, episode_index, frame_index).emulator()
    recorded = store.read(episode_index, np.array([frame_index]), grayscale=False)[0].transpose(1, 2, 0)
    if not np.array_equal(emulator.getScreenRGB(), recorded):
        raise UserError(
            f"{store.path}: {store.episodes[episode_index].name} played again differs at frame {frame_index} "
            "from what was recorded; record it anew with the ale-py that is installed"
        )
    return emulator
