"""Replay: bring an emulator to any frame of a recording by playing the recorded controls again."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.sources.atari import open_emulator
from ghostpad.sources.recorder import RecordConfig, draw_player

_NEEDED = {"game", "frame_skip", "sticky", "seed", "recorded_policy", "controls"}


def can_replay(store: FrameStore, episode_index: int) -> bool:
    """Whether the metadata of an episode suffice to replay it."""
    episode = store.episodes[episode_index]
    return set(episode.metadata or {}) >= _NEEDED and episode.name.rpartition("_")[2].isdigit()


@dataclass(frozen=True)
class Replay:
    """How an emulator reaches a recorded frame."""

    game: str
    """ROM name"""
    frame_skip: int
    """console frames per control"""
    sticky: float
    """probability that the console repeats the previous control"""
    seed: int
    """seed of the console"""
    controls: tuple[int, ...]
    """controls held so far, as indices into the minimal action set of the game"""

    def emulator(self) -> Any:
        """An `ALEInterface` at that frame; a UserError without ale-py or its ROM."""
        emulator = open_emulator(self.game, self.seed, self.frame_skip, self.sticky)
        actions = emulator.getMinimalActionSet()
        for control in self.controls:
            emulator.act(actions[control])
        return emulator


def replay_of(store: FrameStore, episode_index: int, frame_index: int) -> Replay:
    """How to reach a frame of a recording; a UserError if Ghostpad did not record it."""
    episode = store.episodes[episode_index]
    if not can_replay(store, episode_index) or episode.metadata is None:
        raise UserError(
            f"{store.path}: {episode.name} was not recorded by 'ghostpad record', so the emulator "
            "cannot replay it; give data that were"
        )
    metadata = episode.metadata
    config = RecordConfig(game=metadata["game"], policy=metadata["recorded_policy"], seed=metadata["seed"])
    _, seed, _ = draw_player(config, int(episode.name.rpartition("_")[2]))
    controls = tuple(metadata["controls"][:frame_index])
    return Replay(metadata["game"], metadata["frame_skip"], metadata["sticky"], seed, controls)


def replay(store: FrameStore, episode_index: int, frame_index: int) -> Any:
    """An `ALEInterface` in the state in which a frame was recorded.

    Raises:
        UserError: the episode was not recorded by Ghostpad, ale-py is missing, or its frame differs.
    """
    emulator = replay_of(store, episode_index, frame_index).emulator()
    recorded = store.read(episode_index, np.array([frame_index]), grayscale=False)[0].transpose(1, 2, 0)
    if not np.array_equal(emulator.getScreenRGB(), recorded):
        raise UserError(
            f"{store.path}: {store.episodes[episode_index].name} differs from its replay at frame "
            f"{frame_index}; record it again with the ale-py that is installed"
        )
    return emulator
