"""Mutual information between the codes and events of the game.

For each cell of the grid its code is compared with the event; shuffling the event over the transitions shows
what chance alone gives.

Dimensions: T transitions, h w grid of codes, S shuffles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import xlogy

NUM_SHUFFLES = 200
CLEAR_LEVEL = 0.95  # share of the shuffles that a clear pattern must exceed
MIN_COUNT = 5  # choices of a code in a cell from which its lift is reported
_CHUNK = 64


@dataclass(frozen=True)
class CodeLift:
    """How much more likely an event is when a cell shows a code."""

    row: int
    column: int
    code: int
    lift: float
    """P(event | code there) / P(event)"""
    precision: float
    """P(event | code there)"""
    recall: float
    """P(code there | event)"""
    count: int
    """transitions in which the cell shows the code"""


@dataclass(frozen=True)
class Association:
    """An event, or a group of exclusive events, against the codes.

    Attributes:
        count: transitions in which it happens.
        bits_hw: (h, w) mutual information of the code of each cell with it.
        shuffled_bits: maximum over cells for shuffled events, mean over shuffles.
        clear_bits: 95th percentile of the same, which a clear pattern exceeds.
        lifts: the most informative codes.
    """

    count: int
    bits_hw: np.ndarray
    shuffled_bits: float
    clear_bits: float
    lifts: list[CodeLift]

    @property
    def bits(self) -> float:
        """Mutual information (bits) of the most informative cell."""
        return float(self.bits_hw.max())

    @property
    def clear(self) -> bool:
        """Whether the pattern is clear."""
        return self.bits > self.clear_bits


def associate(codes_Thw: np.ndarray, labels: np.ndarray, seed: int) -> Association:
    """Compare the codes of each cell with a label per transition, 0 for no event."""
    num, *grid = codes_Thw.shape
    choices = _Choices(codes_Thw)
    classes, labels = np.unique(labels, return_inverse=True)
    one_hot = np.eye(len(classes), dtype=np.float32)
    bits = choices.bits(one_hot[labels][:, None])[0]
    rng = np.random.default_rng(seed)
    peaks = []
    for start in range(0, NUM_SHUFFLES, _CHUNK):
        size = min(_CHUNK, NUM_SHUFFLES - start)
        shuffled = np.stack([labels[rng.permutation(num)] for _ in range(size)], 1)
        peaks.append(choices.bits(one_hot[shuffled]).max(1))
    shuffled_bits = np.concatenate(peaks)
    happens = classes[labels] != 0
    return Association(
        count=int(happens.sum()),
        bits_hw=bits.reshape(grid),
        shuffled_bits=float(shuffled_bits.mean()),
        clear_bits=float(np.quantile(shuffled_bits, CLEAR_LEVEL)),
        lifts=choices.lifts(happens),
    )


def grouped(events: Mapping[str, np.ndarray], group: str) -> np.ndarray:
    """The exclusive events of a group as one label per transition, (T,): 0 for none, else 1, 2, …."""
    names = [name for name in events if name.startswith(f"{group}_")]
    labels = np.zeros(len(next(iter(events.values()))), np.int64)
    for number, name in enumerate(names, 1):
        labels[events[name]] = number
    return labels


class _Choices:
    """The code that each cell shows in each transition, as a sparse table of the pairs that occur."""

    def __init__(self, codes_Thw: np.ndarray) -> None:
        self.table, self.keys, self.num_codes = choice_table(codes_Thw)
        self.grid = codes_Thw.shape[1:]
        self.by_choice = csr_matrix(self.table.T)
        self.counts = np.asarray(self.table.sum(0)).ravel()
        self.starts = np.searchsorted(self.keys // self.num_codes, np.arange(np.prod(self.grid)))

    def bits(self, labels_TSc: np.ndarray) -> np.ndarray:
        """Mutual information (S, cells) of one-hot labels (T, S, classes) with the code of each cell."""
        num, shuffles, classes = labels_TSc.shape
        joint = (self.by_choice @ labels_TSc.reshape(num, -1)).reshape(-1, shuffles, classes)
        joint, counts, totals = (n.astype(np.float64) for n in (joint, self.counts, labels_TSc.sum(0)))
        per_choice = xlogy(joint, joint).sum(2) - xlogy(counts, counts)[:, None]
        per_label = xlogy(totals, totals).sum(1)
        cells = np.add.reduceat(per_choice, self.starts, axis=0)
        nats = (cells - per_label + xlogy(num, num)) / num
        return np.maximum(nats / np.log(2), 0).T

    def lifts(self, happens: np.ndarray, most: int = 5) -> list[CodeLift]:
        """The codes with the largest share of the mutual information with an event."""
        num, base = len(happens), happens.mean()
        joint = self.by_choice @ happens.astype(np.float32)
        precision = joint / self.counts
        with np.errstate(divide="ignore", invalid="ignore"):
            bits = np.where(joint > 0, joint / num * np.log2(precision / base), 0)
        bits[(self.counts < MIN_COUNT) | (precision <= base)] = 0
        lifts = []
        for place in np.argsort(-bits, kind="stable")[:most]:
            if bits[place] > 0:
                cell, code = divmod(int(self.keys[place]), self.num_codes)
                row, column = divmod(cell, self.grid[1])
                lift, recall = float(precision[place] / base), float(joint[place] / happens.sum())
                count = int(self.counts[place])
                lifts.append(CodeLift(row, column, code, lift, float(precision[place]), recall, count))
        return lifts


def choice_table(codes_Thw: np.ndarray) -> tuple[csr_matrix, np.ndarray, int]:
    """One-hot codes of all cells as a sparse table (T, pairs), of the pairs of cell and code that occur.

    Returns:
        The table; the pairs, cell · K + code, ascending; and K, the largest code plus 1.
    """
    from sklearn.preprocessing import OneHotEncoder

    single: Any = np.float32
    encoder, num_codes = OneHotEncoder(dtype=single), int(codes_Thw.max()) + 1
    table = csr_matrix(encoder.fit_transform(codes_Thw.reshape(len(codes_Thw), -1).astype(np.int64)))
    keys = np.concatenate([cell * num_codes + codes for cell, codes in enumerate(encoder.categories_)])
    return table, keys, num_codes
