"""Agreement of the codes with the real controls: a linear probe, beside chance and the supervised ceiling.

Dimensions: T transitions, W transitions of a window, h w grid of codes.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack

from ghostpad.frames.pairs import Transitions

WINDOW = (-1, 0, 1, 2)
"""Transitions around the one whose control is asked for, in strides: t-1 … t+2."""
WINDOWS = {"": (0,), "window_": WINDOW}  # by the prefix of their keys in `metrics.json`
BUDGETS = (8, 16, 32, 64, 128, 256, 512, 1024)
NUM_SEEDS = 5
_INVERSE_REGULARIZATION = 0.1
"""Of the probe; 0.03 to 1 gave the same within 1 % (recorded Breakout)."""


@dataclass(frozen=True)
class Labelled:
    """Transitions with codes and controls.

    Attributes:
        episode_index: (T,) episode of each.
        frame_index: (T,) its current frame.
        codes: (T, h, w).
        controls: (T,) class of the control that was held, -1 where it is unknown.
        stride: frames from a frame to its next frame.
    """

    episode_index: np.ndarray
    frame_index: np.ndarray
    codes: np.ndarray
    controls: np.ndarray
    stride: int = 1

    @classmethod
    def of(
        cls, transitions: Transitions, rows: np.ndarray, codes: np.ndarray, controls: np.ndarray
    ) -> "Labelled":
        """The transitions `rows` of a split."""
        episodes, frames = transitions.episode_index[rows], transitions.frame_index[rows]
        return cls(episodes, frames, codes, controls, transitions.stride)

    def window(self, offsets: tuple[int, ...]) -> np.ndarray:
        """(T, W) positions of the transitions `offsets` strides away in the same episode, -1 if missing."""
        longest = int(self.frame_index.max()) + 1
        keys = self.episode_index.astype(np.int64) * longest + self.frame_index
        order = np.argsort(keys)
        columns = []
        for offset in offsets:
            frames = self.frame_index + offset * self.stride
            wanted = self.episode_index.astype(np.int64) * longest + frames
            place = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)]
            exists = (keys[place] == wanted) & (frames >= 0) & (frames < longest)
            columns.append(np.where(exists, place, -1))
        return np.stack(columns, 1)

    def usable(self, offsets: tuple[int, ...]) -> np.ndarray:
        """Positions of the transitions with a known control and a complete window, ascending."""
        return np.flatnonzero((self.controls >= 0) & (self.window(offsets) >= 0).all(1))


def agreement(
    train: Labelled, test: Labelled, num_classes: int, seed: int, ceilings: Mapping[str, float]
) -> tuple[dict[str, Any], np.ndarray]:
    """Fit probes on training episodes and score them on test episodes: the keys of `agreement`.

    Also (T,) whether the control of each test transition was named right, NaN where it is unknown.
    """
    right = np.full(len(test.codes), np.nan)
    result: dict[str, Any] = {"num_train": int((train.controls >= 0).sum())}
    counts = np.bincount(train.controls[train.controls >= 0], minlength=num_classes)
    majority = int(counts.argmax())
    rng = np.random.default_rng(seed)
    tables = one_hot(train.codes, test.codes)
    for prefix, offsets in WINDOWS.items():
        fit, score = train.usable(offsets), test.usable(offsets)
        if not len(fit) or not len(score):
            continue
        features, held_out = (
            _windows_of(table, part, offsets, rows)
            for table, part, rows in zip(tables, (train, test), (fit, score), strict=True)
        )
        labels, truth = train.controls[fit], test.controls[score]
        answers = linear_probe(features, labels, held_out, majority)
        numbers: dict[str, Any] = scores(answers, truth) | {"chance": float((truth == majority).mean())}
        if not prefix:
            numbers["num_test"] = len(score)
            right[score] = answers == truth
            # Row i of the shuffled features has the label i.
            shuffled = linear_probe(features[rng.permutation(len(fit))], labels, held_out, majority)
            numbers["shuffled"] = scores(shuffled, truth)["accuracy"]
            probe = partial(linear_probe, majority=majority)
            result["label_budget"] = label_budget(probe, features, labels, held_out, truth, seed)
        if prefix in ceilings:
            numbers["ceiling"] = ceilings[prefix]
            numbers["share_of_ceiling"] = share_of_ceiling(
                numbers["accuracy"], numbers["chance"], ceilings[prefix]
            )
        result |= {f"{prefix}{key}": value for key, value in numbers.items()}
    return result, right


def scores(answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`accuracy`, and `balanced_accuracy`: the mean over classes of the share that is named right."""
    recalls = [(answers[truth == label] == label).mean() for label in np.unique(truth)]
    return {"accuracy": float((answers == truth).mean()), "balanced_accuracy": float(np.mean(recalls))}


def share_of_ceiling(accuracy: float, chance: float, ceiling: float) -> float | None:
    """(accuracy - chance) / (ceiling - chance), None where the ceiling is not above chance."""
    return (accuracy - chance) / (ceiling - chance) if ceiling > chance else None


def _windows_of(
    table: csr_matrix, labelled: Labelled, offsets: tuple[int, ...], rows: np.ndarray
) -> csr_matrix:
    """Features of `rows`: those of all transitions of the window, side by side."""
    return csr_matrix(hstack([table[column] for column in labelled.window(offsets)[rows].T]))


def one_hot(train_codes: np.ndarray, test_codes: np.ndarray) -> tuple[csr_matrix, csr_matrix]:
    """Features of codes (T, …): one column for each cell and code that occurs in training."""
    from sklearn.preprocessing import OneHotEncoder

    train, test = (codes.reshape(len(codes), -1) for codes in (train_codes, test_codes))
    single: Any = np.float32
    encoder = OneHotEncoder(handle_unknown="ignore", dtype=single).fit(train)
    return csr_matrix(encoder.transform(train)), csr_matrix(encoder.transform(test))


def linear_probe(
    features: Any,
    labels: np.ndarray,
    held_out: Any,
    majority: int,
    inverse_regularization: float = _INVERSE_REGULARIZATION,
) -> np.ndarray:
    """Fit logistic regression and answer for `held_out`; with one class only that, with none `majority`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return np.full(held_out.shape[0], labels[0] if len(labels) else majority)
    probe = LogisticRegression(C=inverse_regularization, max_iter=200, tol=1e-3)
    with warnings.catch_warnings():
        # What is left to gain after 200 iterations is far below the spread over episodes.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return probe.fit(features, labels).predict(held_out)


def label_budget(
    probe: Callable[[Any, np.ndarray, Any], np.ndarray],
    features: Any,
    labels: np.ndarray,
    held_out: Any,
    truth: np.ndarray,
    seed: int,
    budgets: Sequence[int] = BUDGETS,
) -> dict[str, dict[str, float]]:
    """Accuracy by number of labelled transitions, which are drawn five times.

    `probe` maps features and labels of the drawn transitions, and held-out features, to held-out answers.
    Budgets above the number of labels are left out.
    """
    curve = {}
    for budget in (budget for budget in budgets if budget <= len(labels)):
        accuracies = []
        for number in range(NUM_SEEDS):
            rows = np.random.default_rng([seed, budget, number]).permutation(len(labels))[:budget]
            accuracies.append(scores(probe(features[rows], labels[rows], held_out), truth)["accuracy"])
        mean = float(np.mean(accuracies))
        curve[str(budget)] = {"mean": mean, "low": min(accuracies), "high": max(accuracies)}
    return curve
