"""Recorded frames that a game may begin from, and the emulator beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.replay import can_replay, replay
from ghostpad.frames.store import FrameStore
from ghostpad.world.starts import STARTS_FILE, read_replays, read_starts
from ghostpad.world.world_model import WorldModel


@dataclass(frozen=True)
class Starts:
    """Episodes of recorded frames."""

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    """Number of frames of each."""
    read: Callable[[int, int], np.ndarray]
    """(episode, frame) → uint8 (n, H, W, C) or (n, C, H, W), oldest first: up to the world's history."""
    emulator: Callable[[int, int], Any] | None = None
    """(episode, frame) → an `ALEInterface` that shows this very frame; None when it cannot be had."""

    def require(self, episode: int, frame: int) -> None:
        """Check that there is such a frame.

        Raises:
            UserError: there is none.
        """
        if episode >= len(self.lengths) or frame >= self.lengths[episode]:
            raise UserError(f"there is no frame {frame} in episode {episode}")


def starts_of_world(world: WorldModel) -> Starts:
    """Return the histories that lie beside a world, as one episode.

    Raises:
        UserError: there are none, or they have another size.
    """
    frames, replays = read_starts(world.folder), read_replays(world.folder)
    if frames.shape[2:4] != (world.height, world.width):
        raise UserError(
            f"{world.folder}/{STARTS_FILE}: frames of another size than this world's; write it again"
        )

    def emulator(episode: int, frame: int) -> Any:
        played = replays[frame].emulator()
        newest = frames[frame, -1]
        if newest.shape[-1] == 3 and not np.array_equal(played.getScreenRGB(), newest):
            raise UserError(f"the ale-py that is installed does not lead to start {frame} of {world.folder}")
        return played

    return Starts(
        ("recorded starts",),
        (len(frames),),
        lambda episode, frame: frames[frame],
        emulator if len(replays) == len(frames) else None,
    )


def starts_of_store(store: FrameStore, world: WorldModel) -> Starts:
    """Return every frame of a store.

    Raises:
        UserError: its frames have another size than the world's.
    """
    if (store.height, store.width) != (world.height, world.width):
        raise UserError(
            f"{store.path}: frames of {store.width} by {store.height}, but this world's are {world.width} by "
            f"{world.height}; give recordings of the same game with --data"
        )

    def read(episode: int, frame: int) -> np.ndarray:
        first = max(0, frame + 1 - world.history)
        return store.read(episode, slice(first, frame + 1), world.grayscale)

    episodes = store.episodes
    return Starts(
        tuple(episode.name for episode in episodes),
        tuple(episode.num_frames for episode in episodes),
        read,
        (lambda episode, frame: replay(store, episode, frame)) if can_replay(store, 0) else None,
    )


def why_no_emulator(starts: Starts) -> str:
    """Why the real game cannot be shown beside the world; empty when it can."""
    if starts.emulator is None:
        return "nobody wrote down how these frames were played"
    try:
        starts.emulator(0, 0)
    except UserError as error:
        return str(error)
    return ""
