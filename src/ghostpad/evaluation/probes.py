"""Agreement of the codes with the real controls: a linear probe, beside chance and a ceiling.

Dimensions: T transitions, W transitions of a window, h w grid of codes.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack

from ghostpad.frames.pairs import Transitions

WINDOW = (-1, 0, 1, 2)
"""Transitions around the one whose control is asked for, in strides: t-1 … t+2."""
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
        displacement: (T,) pixels that the controlled element moves, None where it is unknown.
        stride: frames from a frame to its next frame.
    """

    episode_index: np.ndarray
    frame_index: np.ndarray
    codes: np.ndarray
    controls: np.ndarray
    displacement: np.ndarray | None
    stride: int = 1

    @classmethod
    def of(
        cls,
        transitions: Transitions,
        rows: np.ndarray,
        codes: np.ndarray,
        controls: np.ndarray,
        displacement: np.ndarray | None,
    ) -> "Labelled":
        """The transitions `rows` of a split."""
        episodes, frames = transitions.episode_index[rows], transitions.frame_index[rows]
        return cls(episodes, frames, codes, controls, displacement, transitions.stride)

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
    train: Labelled, test: Labelled, num_classes: int, seed: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Fit probes on training episodes and score them on test episodes.

    Returns:
        The keys of `agreement` in `metrics.json`, without the ceiling where the displacement is unknown; and
        (T,) whether the control of each test transition was named right, NaN where it is unknown.
    """
    right = np.full(len(test.codes), np.nan)
    result: dict[str, Any] = {"num_train": int((train.controls >= 0).sum())}
    counts = np.bincount(train.controls[train.controls >= 0], minlength=num_classes)
    majority = int(counts.argmax())
    rng = np.random.default_rng(seed)
    for prefix, offsets in (("", (0,)), ("window_", WINDOW)):
        fit, score = train.usable(offsets), test.usable(offsets)
        if not len(fit) or not len(score):
            continue
        features, held_out = _one_hot(train, test, offsets, (fit, score))
        labels, truth = train.controls[fit], test.controls[score]
        answers = linear_probe(features, labels, held_out, majority)
        numbers = scores(answers, truth) | {"chance": float((truth == majority).mean())}
        if not prefix:
            numbers["num_test"] = len(score)
            right[score] = answers == truth
            # Row i of the shuffled features has the label i.
            shuffled = linear_probe(features[rng.permutation(len(fit))], labels, held_out, majority)
            numbers["shuffled"] = scores(shuffled, truth)["accuracy"]
            probe = partial(linear_probe, majority=majority)
            result["label_budget"] = label_budget(probe, features, labels, held_out, truth, seed)
        if train.displacement is not None and test.displacement is not None:
            moved = train.displacement[train.window(offsets)[fit]]
            held_out_moved = test.displacement[test.window(offsets)[score]]
            numbers["ceiling"] = scores(_forest(moved, labels, held_out_moved, seed), truth)["accuracy"]
            room = numbers["ceiling"] - numbers["chance"]
            gained = numbers["accuracy"] - numbers["chance"]
            numbers["share_of_ceiling"] = gained / room if room > 0 else np.nan
        result |= {f"{prefix}{key}": value for key, value in numbers.items()}
    return result, right


def scores(answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`accuracy`, and `balanced_accuracy`: the mean over classes of the share that is named right."""
    recalls = [(answers[truth == label] == label).mean() for label in np.unique(truth)]
    return {"accuracy": float((answers == truth).mean()), "balanced_accuracy": float(np.mean(recalls))}


def _one_hot(
    train: Labelled, test: Labelled, offsets: tuple[int, ...], rows: tuple[np.ndarray, np.ndarray]
) -> tuple[csr_matrix, csr_matrix]:
    """Features of `rows`: one column per cell, place in the window, and code that occurs in training."""
    num_codes = int(max(train.codes.max(), test.codes.max())) + 1
    cells = train.codes[0].size
    base = np.arange(cells) * num_codes
    train_keys, test_keys = (part.codes.reshape(-1, cells).astype(np.int64) + base for part in (train, test))
    known = np.unique(train_keys)
    tables = []
    for keys, labelled, chosen in ((train_keys, train, rows[0]), (test_keys, test, rows[1])):
        place = np.searchsorted(known, keys).clip(max=len(known) - 1)
        occurs = (known[place] == keys).astype(np.float32)
        pointers = np.arange(0, keys.size + 1, cells)
        table = csr_matrix((occurs.ravel(), place.ravel(), pointers), shape=(len(keys), len(known)))
        window = labelled.window(offsets)[chosen]
        tables.append(csr_matrix(hstack([table[column] for column in window.T])))
    return tables[0], tables[1]


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


def _forest(features: np.ndarray, labels: np.ndarray, held_out: np.ndarray, seed: int) -> np.ndarray:
    """Predict controls from displacements by a random forest, which needs no linear relation."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(50, min_samples_leaf=5, random_state=seed, n_jobs=1)
    return forest.fit(features, labels).predict(held_out)


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

    Args:
        probe: from features and labels of the drawn transitions, and held-out features, to held-out answers.
        features: of all training transitions.
        labels: (T,) theirs.
        held_out: features of the transitions that are scored.
        truth: their labels.
        seed: of the draws.
        budgets: numbers of labelled transitions; those beyond T are left out.
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
