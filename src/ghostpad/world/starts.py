"""`starts.npz`: recorded histories in the folder of a world, to play it without recordings."""

import json
from pathlib import Path

import numpy as np

from ghostpad.config import from_plain, to_plain
from ghostpad.errors import UserError
from ghostpad.frames.replay import Replay, can_replay, replay_of
from ghostpad.frames.store import FrameStore
from ghostpad.io import whole_file

STARTS_FILE = "starts.npz"


def read_starts(folder: Path | None) -> tuple[np.ndarray, list[Replay]]:
    """Read the histories of a world's folder, and how an emulator reaches each.

    Returns:
        (S, k, H, W, C) uint8, the newest frame last, C is 1 or 3; and S replays, or none where that was not
        recorded.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = (folder or Path()) / STARTS_FILE
    try:
        with np.load(path, allow_pickle=False) as archive:
            frames, palette = archive["frames"], archive.get("palette")
            replays = [json.loads(text) for text in archive.get("replays", ())]
        if frames.ndim == 4:
            frames = frames[..., None] if palette is None else palette[frames]
        if frames.ndim != 5 or not len(frames) or frames.dtype != np.uint8:
            raise ValueError("no frames")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; give a folder that 'ghostpad world' has written, or a shipped world"
        ) from None
    except (OSError, KeyError, ValueError, IndexError):
        raise UserError(f"{path}: damaged; write it again with ghostpad world") from None
    return frames, [from_plain(Replay, replay, str(path)) for replay in replays]


def write_starts(
    folder: Path, store: FrameStore, history: int, num_starts: int = 24, split: str = "test", seed: int = 0
) -> Path:
    """Write `starts.npz`: the start of an episode first, then histories (k frames) that `seed` draws.

    They are spread evenly over the episodes of the split.

    Raises:
        UserError: the split has no frames.
    """
    rng = np.random.default_rng(seed)
    episodes = [index for index, episode in enumerate(store.episodes) if episode.split == split]
    if not episodes:
        raise UserError(f"{store.path}: no {split} episodes to start from; record more")
    order = [episodes[start % len(episodes)] for start in range(num_starts)]
    places = [(episode, int(rng.integers(store.episodes[episode].num_frames))) for episode in order]
    places[0] = (places[0][0], 0)
    arrays = {"frames": np.stack([_history(store.array(e), frame, history) for e, frame in places])}
    if store.palette is not None:
        arrays["palette"] = store.palette
    if all(can_replay(store, episode) for episode, _ in places):
        arrays["replays"] = np.array([json.dumps(to_plain(replay_of(store, *place))) for place in places])
    with whole_file(folder / STARTS_FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return folder / STARTS_FILE


def _history(frames: np.ndarray, frame: int, history: int) -> np.ndarray:
    """The frames up to this one, the first repeated where there are too few."""
    return frames[np.arange(frame + 1 - history, frame + 1).clip(0)]
