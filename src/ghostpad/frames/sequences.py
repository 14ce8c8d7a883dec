"""Sequences of recorded frames around transitions.

Dimensions: B sequences, C colour channels, H W frame.
"""

import numpy as np

from ghostpad.frames.pairs import Transitions


def read_sequences(
    transitions: Transitions, rows: np.ndarray, history: int, future: int, gray: bool
) -> np.ndarray:
    """Read (B, history + future, C, H, W) uint8 frames around transitions, `stride` frames apart.

    Frame `history − 1` is the current one. Before the first frame of an episode that frame is repeated, after
    the last frame the last.
    """
    return np.stack([read_sequence(transitions, int(row), history, future, gray) for row in rows])


def read_sequence(transitions: Transitions, row: int, history: int, future: int, gray: bool) -> np.ndarray:
    """Read one of `read_sequences`: (history + future, C, H, W) uint8."""
    store, steps = transitions.store, transitions.stride * np.arange(1 - history, future + 1)
    episode = int(transitions.episode_index[row])
    wanted = int(transitions.frame_index[row]) + steps
    return store.read(episode, wanted.clip(0, store.episodes[episode].num_frames - 1), gray)
