"""The way back to any frame of a recording: the emulator plays its controls again."""

from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.atari import RecordConfig, draw_player, open_emulator
from ghostpad.frames.store import FrameStore

_NEEDED = {"game", "frame_skip", "sticky", "seed", "recorded_policy", "controls"}


def can_replay(store: FrameStore, episode_index: int) -> bool:
    """Whether an episode says all that its emulator needs to know."""
    episode = store.episodes[episode_index]
    return set(episode.metadata or {}) >= _NEEDED and episode.name.rpartition("_")[2].isdigit()


def replay(store: FrameStore, episode_index: int, frame_index: int) -> Any:
    """Return an `ALEInterface` in the state in which a recorded frame was seen.

    Raises:
        UserError: the episode was not recorded by Ghostpad, ale-py is missing, or it now plays otherwise.
    """
    episode = store.episodes[episode_index]
    if not can_replay(store, episode_index) or episode.metadata is None:
        raise UserError(
            f"{store.path}: {episode.name} was not recorded by 'ghostpad record', so that the emulator "
            "cannot play it again; give data that were"
        )
    told = episode.metadata
    config = RecordConfig(
        game=told["game"],
        frame_skip=told["frame_skip"],
        sticky=told["sticky"],
        policy=told["recorded_policy"],
        seed=told["seed"],
    )
    _, seed, _ = draw_player(config, int(episode.name.rpartition("_")[2]))
    emulator = open_emulator(config, seed)
    actions = emulator.getMinimalActionSet()
    for control in told["controls"][:frame_index]:
        emulator.act(actions[control])
    recorded = store.read(episode_index, np.array([frame_index]), grayscale=False)[0].transpose(1, 2, 0)
    if not np.array_equal(emulator.getScreenRGB(), recorded):
        raise UserError(
            f"{store.path}: {episode.name} played again differs at frame {frame_index} from what was "
            "recorded; record it anew with the ale-py that is installed"
        )
    return emulator
