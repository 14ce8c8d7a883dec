"""Recorded frames from which a game may start, in the world and in the emulator beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.replay import can_replay, replay
from ghostpad.frames.store import FrameStore
from ghostpad.world.starts import STARTS_FILE, read_starts
from ghostpad.world.world_model import WorldModel


@dataclass(frozen=True)
class Starts:
    """Episodes of recorded frames.

    Attributes:
        names: of the episodes.
        lengths: number of frames of each episode.
        read: (episode, frame) → uint8 (n, H, W, C) or (n, C, H, W): the frame and those before it, oldest
            first, up to the history of the world.
        emulator: (episode, frame) → an `ALEInterface` at this frame; None where nothing can be replayed.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    read: Callable[[int, int], np.ndarray]
    emulator: Callable[[int, int], Any] | None = None

    def require(self, episode: int, frame: int) -> None:
        """Raise a UserError if there is no such frame."""
        if episode >= len(self.lengths) or frame >= self.lengths[episode]:
            raise UserError(f"there is no frame {frame} in episode {episode}")

    def why_no_emulator(self) -> str:
        """Why the real game cannot be shown beside the world; empty when it can."""
        if self.emulator is None:
            return "these recordings do not hold their controls and seeds"
        try:
            self.emulator(0, 0)
        except UserError as error:
            return str(error)
        return ""


def starts_of_world(world: WorldModel) -> Starts:
    """The histories in the folder of a world, as one episode; a UserError if none fit."""
    frames, replays = read_starts(world.folder)
    if frames.shape[2:4] != (world.height, world.width):
        raise UserError(
            f"{world.folder}/{STARTS_FILE}: frames of another size than this world's; write it again"
        )

    def emulator(episode: int, frame: int) -> Any:
        replayed = replays[frame].emulator()
        newest = frames[frame, -1]
        if newest.shape[-1] == 3 and not np.array_equal(replayed.getScreenRGB(), newest):
            raise UserError(f"the ale-py that is installed does not lead to start {frame} of {world.folder}")
        return replayed

    return Starts(
        ("recorded starts",),
        (len(frames),),
        lambda episode, frame: frames[frame],
        emulator if len(replays) == len(frames) else None,
    )


def starts_of_store(store: FrameStore, world: WorldModel) -> Starts:
    """Every frame of a store; a UserError if they have another size than the world's."""
    if (store.height, store.width) != (world.height, world.width):
        raise UserError(
            f"{store.path}: frames of {store.width} by {store.height}, but this world's are {world.width} by "
            f"{world.height}; give recordings of the same game with --data"
        )

    def read(episode: int, frame: int) -> np.ndarray:
        first = max(0, frame + 1 - world.history)
        return store.read(episode, slice(first, frame + 1), world.grayscale)

    return Starts(
        tuple(episode.name for episode in store.episodes),
        tuple(episode.num_frames for episode in store.episodes),
        read,
        (lambda episode, frame: replay(store, episode, frame)) if can_replay(store, 0) else None,
    )
