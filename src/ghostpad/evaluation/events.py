"""Which codes go with which events of the game.

The association of one cell's code with an event is their mutual information; what chance alone would give is
seen by shuffling the event over the transitions.

Dimensions: T transitions, h w grid of codes, K codebook size, S shuffles.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from ghostpad.frames.pairs import Transitions
from ghostpad.games import Game, GameState

NUM_SHUFFLES = 200
CLEAR_LEVEL = 0.95
"""Share of the shuffles that a clear pattern must beat."""
MIN_FIRES = 5
"""Times that a code must be chosen in a cell before its lift is worth a word."""
_CHUNK = 64


@dataclass(frozen=True)
class CodeLift:
    """How much more likely an event is when one cell shows one code."""

    row: int
    column: int
    code: int
    lift: float
    """P(event | code there) / P(event)"""
    share: float
    """P(event | code there)"""
    caught: float
    """P(code there | event)"""
    count: int
    """transitions in which the cell shows the code"""


@dataclass(frozen=True)
class Association:
    """One event, or a group of exclusive ones, against the codes.

    Attributes:
        count: transitions in which it happens.
        bits_hw: (h, w) mutual information of each cell's code with it.
        shuffled_bits: mean over shuffles of the most that any cell has.
        clear_bits: what a clear pattern must exceed: the 95th percentile of the same.
        lifts: the codes that tell most of it.
    """

    count: int
    bits_hw: np.ndarray
    shuffled_bits: float
    clear_bits: float
    lifts: list[CodeLift]

    @property
    def bits(self) -> float:
        """Mutual information (bits) of the cell that has most."""
        return float(self.bits_hw.max())

    @property
    def clear(self) -> bool:
        """Whether the pattern is clear."""
        return self.bits > self.clear_bits


def event_columns(
    transitions: Transitions, rows: np.ndarray, game: Game, known: dict[int, tuple[GameState, str]]
) -> dict[str, np.ndarray]:
    """(T,) bool by event for the transitions `rows`; False in episodes of which nothing is known."""
    columns: dict[str, np.ndarray] = {}
    episode_index, frame_index = transitions.episode_index[rows], transitions.frame_index[rows]
    for episode, (table, _) in known.items():
        mine = episode_index == episode
        for name, happens in game.events(table, transitions.stride).items():
            column = columns.setdefault(name, np.zeros(len(rows), bool))
            column[mine] = happens[frame_index[mine]]
    return columns


def associate(codes_Thw: np.ndarray, labels: np.ndarray, seed: int) -> Association:
    """Hold the codes of each cell against a label per transition (0 for "nothing")."""
    num, *grid = codes_Thw.shape
    choices = _Choices(codes_Thw)
    classes, labels = np.unique(labels, return_inverse=True)
    own = choices.bits(np.eye(len(classes), dtype=np.float32)[labels][:, None])[0]
    rng = np.random.default_rng(seed)
    most = []
    for start in range(0, NUM_SHUFFLES, _CHUNK):
        size = min(_CHUNK, NUM_SHUFFLES - start)
        shuffled = np.stack([labels[rng.permutation(num)] for _ in range(size)], 1)
        most.append(choices.bits(np.eye(len(classes), dtype=np.float32)[shuffled]).max(1))
    peaks = np.concatenate(most)
    happens = classes[labels] != 0
    return Association(
        count=int(happens.sum()),
        bits_hw=own.reshape(grid),
        shuffled_bits=float(peaks.mean()),
        clear_bits=float(np.quantile(peaks, CLEAR_LEVEL)),
        lifts=choices.lifts(happens, own),
    )


def grouped(columns: dict[str, np.ndarray], group: str) -> np.ndarray:
    """The exclusive events of a group as one label per transition: 0 for none, else 1, 2, …."""
    names = [name for name in columns if name.startswith(f"{group}_")]
    labels = np.zeros(len(next(iter(columns.values()))), np.int64)
    for number, name in enumerate(names, 1):
        labels[columns[name]] = number
    return labels


class _Choices:
    """Which code each cell shows in each transition, as a sparse table of the choices that occur."""

    def __init__(self, codes_Thw: np.ndarray) -> None:
        num = len(codes_Thw)
        flat = codes_Thw.reshape(num, -1).astype(np.int64)
        self.grid, self.num_codes = codes_Thw.shape[1:], int(flat.max()) + 1
        keys = flat + np.arange(flat.shape[1]) * self.num_codes
        self.keys, place = np.unique(keys, return_inverse=True)
        pointers = np.arange(0, keys.size + 1, flat.shape[1])
        ones = np.ones(keys.size, np.float32)
        table = csr_matrix((ones, place.ravel(), pointers), shape=(num, len(self.keys)))
        self.table, self.by_choice = table, csr_matrix(table.T)
        self.counts = np.asarray(table.sum(0)).ravel()
        self.starts = np.searchsorted(self.keys // self.num_codes, np.arange(flat.shape[1]))

    def bits(self, labels_TSc: np.ndarray) -> np.ndarray:
        """Mutual information (S, cells) of one-hot labels (T, S, classes) with the code of each cell."""
        num, many, classes = labels_TSc.shape
        joint = (self.by_choice @ labels_TSc.reshape(num, -1)).reshape(-1, many, classes)
        per_choice = _n_log_n(joint).sum(2) - _n_log_n(self.counts)[:, None]
        per_label = _n_log_n(labels_TSc.sum(0)).sum(1)
        cells = np.add.reduceat(per_choice, self.starts, axis=0)
        nats = (cells - per_label + _n_log_n(np.array(float(num)))) / num
        return np.maximum(nats / np.log(2), 0).T

    def lifts(self, happens: np.ndarray, bits_by_cell: np.ndarray, most: int = 5) -> list[CodeLift]:
        """The codes that tell most of an event, by their share of the mutual information."""
        num, base = len(happens), happens.mean()
        joint = self.by_choice @ happens.astype(np.float32)
        share = joint / self.counts
        with np.errstate(divide="ignore", invalid="ignore"):
            told = np.where(joint > 0, joint / num * np.log2(share / base), 0)
        told[(self.counts < MIN_FIRES) | (share <= base)] = 0
        chosen = []
        for place in np.argsort(-told, kind="stable")[:most]:
            if told[place] > 0:
                cell, code = divmod(int(self.keys[place]), self.num_codes)
                row, column = divmod(cell, self.grid[1])
                caught = float(joint[place] / happens.sum())
                lift, chance = float(share[place] / base), float(share[place])
                chosen.append(CodeLift(row, column, code, lift, chance, caught, int(self.counts[place])))
        return chosen


def _n_log_n(counts: np.ndarray) -> np.ndarray:
    counts = counts.astype(np.float64)
    return counts * np.log(np.maximum(counts, 1))
