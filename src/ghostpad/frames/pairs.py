"""Transitions: pairs of frames `stride` apart, within one episode, and the sequences of frames around them.

Dimensions: B sequences, C colour channels, H W frame.
"""

import numpy as np
import torch
from torch.utils.data import Dataset

from ghostpad.errors import UserError
from ghostpad.frames.splits import MIN_EPISODES, too_few
from ghostpad.frames.store import FrameStore


class Transitions:
    """Index of the transitions of one split of a store.

    Attributes:
        episode_index: (T,) int32, episode of each transition.
        frame_index: (T,) int32, its current frame; the next frame is `frame_index + stride`.
    """

    def __init__(self, store: FrameStore, split: str | None, stride: int = 1, history: int = 1) -> None:
        """List the transitions of `split` (None: of all episodes), `stride` ≥ 1 frames apart.

        `read` gives `history` frames for each, `stride` apart, which end with the current one.

        Raises:
            UserError: there are none, for example because every episode is too short.
        """
        if stride < 1:
            raise UserError(f"--stride {stride}: must be at least 1")
        episodes = [index for index, episode in enumerate(store.episodes) if split in (None, episode.split)]
        if not episodes and len(store.episodes) < MIN_EPISODES:
            raise UserError(f"{store.path} has {too_few(len(store.episodes))}")
        lengths = [max(0, store.episodes[index].num_frames - stride) for index in episodes]
        self.store = store
        self.stride = stride
        self.history = history
        self.episode_index = np.repeat(np.array(episodes, np.int32), lengths)
        self.frame_index = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths] or [[]])
        self.frame_index = self.frame_index.astype(np.int32)
        if len(self) == 0:
            where = f"the {split} episodes of {store.path}" if split else str(store.path)
            raise UserError(
                f"no transitions in {where}: an episode needs more than {stride} frames; record longer ones"
            )

    def __len__(self) -> int:
        return len(self.frame_index)

    def read(self, rows: np.ndarray | slice, grayscale: bool) -> tuple[np.ndarray, np.ndarray]:
        """Read the frames and the next frames of `rows`, each uint8 (n, C, H, W).

        With a history T > 1 frames are (n, T, C, H, W), oldest first; before the first frame of an episode
        that frame is repeated. A frame that several rows need is decoded once.
        """
        episodes = self.episode_index[rows].astype(np.int64)
        frames_nT, next_frames_n = self.indices(rows)
        wanted = np.concatenate([frames_nT, next_frames_n[:, None]], 1)
        shape = (1 if grayscale else 3, self.store.height, self.store.width)
        frames = np.empty((len(episodes), self.history, *shape), np.uint8)
        next_frames = np.empty((len(episodes), *shape), np.uint8)
        for episode in np.unique(episodes):
            mine = np.flatnonzero(episodes == episode)
            indices, places = np.unique(wanted[mine], return_inverse=True)
            read, places = self.store.read(int(episode), indices, grayscale), places.reshape(len(mine), -1)
            frames[mine], next_frames[mine] = read[places[:, :-1]], read[places[:, -1]]
        return frames if self.history > 1 else frames[:, 0], next_frames

    def indices(self, rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """Indices in their episodes of the frames (n, T) and the next frames (n,) of `rows`."""
        current_n = self.frame_index[rows].astype(np.int64)
        frames_nT = current_n[:, None] + self.stride * np.arange(1 - self.history, 1)
        return frames_nT.clip(0), current_n + self.stride


def current_frames(frames: np.ndarray) -> np.ndarray:
    """The current frames (n, C, H, W) of frames with or without history, as `Transitions.read` gives them."""
    return frames[:, -1] if frames.ndim == 5 else frames


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


class FramePairDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """(frame, next_frame) pairs as float32 (C, H, W) in [0, 1]."""

    def __init__(
        self, store: FrameStore, split: str | None = "train", stride: int = 1, grayscale: bool = True
    ) -> None:
        self.transitions = Transitions(store, split, stride)
        self.grayscale = grayscale

    def __len__(self) -> int:
        return len(self.transitions)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Read transition `index`."""
        row, transitions = range(len(self))[index], self.transitions
        episode, frame = int(transitions.episode_index[row]), int(transitions.frame_index[row])
        pair = transitions.store.read_pair(episode, frame, frame + transitions.stride, self.grayscale)
        return torch.from_numpy(pair[0]), torch.from_numpy(pair[1])
