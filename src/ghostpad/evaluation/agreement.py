"""How much of the real controls is in the codes: a linear probe, beside chance and the best that can be had.

Dimensions: T transitions, W transitions of a window, h w grid of codes, K codebook size.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack

from ghostpad.frames.pairs import Transitions
from ghostpad.games import GameState

WINDOW = (-1, 0, 1, 2)
"""Transitions beside the one whose control is asked for, in strides: t-1 … t+2."""
BUDGETS = (8, 16, 32, 64, 128, 256, 512, 1024)
NUM_SEEDS = 5
_STRENGTH = 0.1
"""Inverse of the probe's regularization; 0.03 to 1 gave the same within 1 % on recorded Breakout."""


@dataclass(frozen=True)
class Labelled:
    """Transitions with codes and controls.

    Attributes:
        episode_index: (T,) episode of each.
        frame_index: (T,) its current frame.
        codes: (T, h, w).
        controls: (T,) class of the control held, -1 where nobody recorded it.
        displacement: (T,) how far the paddle went (pixels), None for games without one.
        stride: frames from a frame to its next frame.
    """

    episode_index: np.ndarray
    frame_index: np.ndarray
    codes: np.ndarray
    controls: np.ndarray
    displacement: np.ndarray | None
    stride: int = 1
    _cache: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def window(self, offsets: tuple[int, ...]) -> np.ndarray:
        """(T, W) places of the transitions `offsets` strides away in the same episode, -1 where not there."""
        if offsets not in self._cache:
            longest = int(self.frame_index.max()) + 1
            keys = self.episode_index.astype(np.int64) * longest + self.frame_index
            order = np.argsort(keys)
            columns = []
            for offset in offsets:
                frames = self.frame_index + offset * self.stride
                wanted = self.episode_index.astype(np.int64) * longest + frames
                place = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)]
                there = (keys[place] == wanted) & (frames >= 0) & (frames < longest)
                columns.append(np.where(there, place, -1))
            self._cache[offsets] = np.stack(columns, 1)
        return self._cache[offsets]


def displacement(
    transitions: Transitions, rows: np.ndarray, column: str, known: dict[int, tuple[GameState, str]]
) -> np.ndarray:
    """How far the paddle (pixels) goes in each transition, (T,), 0 where nothing is known of it."""
    moved = np.zeros(len(rows))
    episodes, frames = transitions.episode_index[rows], transitions.frame_index[rows]
    for episode, (table, _) in known.items():
        mine = episodes == episode
        place = table[column].astype(float)
        moved[mine] = place[frames[mine] + transitions.stride] - place[frames[mine]]
    return moved


def agreement(
    train: Labelled, test: Labelled, num_classes: int, seed: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Fit probes on training episodes and score them on test episodes.

    Returns:
        The keys of `agreement` in `metrics.json`, those of the ceiling not without a paddle; and (T,) whether
        the control of each test transition was named right, not a number where it is not known.
    """
    right = np.full(len(test.codes), np.nan)
    result: dict[str, Any] = {"num_train": int((train.controls >= 0).sum())}
    counts = np.bincount(train.controls[train.controls >= 0], minlength=num_classes)
    majority = int(counts.argmax())
    rng = np.random.default_rng(seed)
    for name, offsets in (("", (0,)), ("window_", WINDOW)):
        fit, score = usable(train, offsets), usable(test, offsets)
        if not len(fit) or not len(score):
            continue
        features, held_out = _one_hot(train, test, offsets)
        answers = linear_probe(features[fit], train.controls[fit], held_out[score], majority)
        truth = test.controls[score]
        numbers = {
            "accuracy": _accuracy(answers, truth),
            "balanced_accuracy": balanced_accuracy(answers, truth),
        }
        numbers["chance"] = float((truth == majority).mean())
        if not name:
            numbers["num_test"] = len(score)
            right[score] = answers == truth
            shuffled = linear_probe(
                features[rng.permutation(fit)], train.controls[fit], held_out[score], majority
            )
            numbers["shuffled"] = _accuracy(shuffled, truth)
            pool = (features[fit], train.controls[fit], held_out[score], truth)
            result["label_budget"] = label_budget(partial(linear_probe, majority=majority), *pool, seed)
        if train.displacement is not None and test.displacement is not None:
            ceiling = _ceiling(train, test, offsets, fit, score, seed)
            numbers["ceiling"] = _accuracy(ceiling, truth)
            room = numbers["ceiling"] - numbers["chance"]
            gained = numbers["accuracy"] - numbers["chance"]
            numbers["share_of_ceiling"] = gained / room if room > 0 else np.nan
        result |= {f"{name}{key}": value for key, value in numbers.items()}
    return result, right


def usable(labelled: Labelled, offsets: tuple[int, ...]) -> np.ndarray:
    """Places of the transitions whose control and whole window are known, ascending."""
    return np.flatnonzero((labelled.controls >= 0) & (labelled.window(offsets) >= 0).all(1))


def _one_hot(train: Labelled, test: Labelled, offsets: tuple[int, ...]) -> tuple[csr_matrix, csr_matrix]:
    """One column per cell, place in the window and code that occurs in training."""
    num_codes = int(max(train.codes.max(), test.codes.max())) + 1
    cells = train.codes[0].size
    base = np.arange(cells) * num_codes
    train_keys, test_keys = (part.codes.reshape(-1, cells).astype(np.int64) + base for part in (train, test))
    known = np.unique(train_keys)
    tables = []
    for keys, labelled in ((train_keys, train), (test_keys, test)):
        place = np.searchsorted(known, keys).clip(max=len(known) - 1)
        seen = (known[place] == keys).astype(np.float32)
        pointers = np.arange(0, keys.size + 1, cells)
        table = csr_matrix((seen.ravel(), place.ravel(), pointers), shape=(len(keys), len(known)))
        window = labelled.window(offsets)
        tables.append(csr_matrix(hstack([table[window[:, column]] for column in range(len(offsets))])))
    return tables[0], tables[1]


def linear_probe(
    features: Any, labels: np.ndarray, held_out: Any, majority: int, strength: float = _STRENGTH
) -> np.ndarray:
    """Fit logistic regression and answer for `held_out`; with one class only that, with none `majority`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return np.full(held_out.shape[0], labels[0] if len(labels) else majority)
    probe = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
    with warnings.catch_warnings():
        # What is left to gain after 200 iterations is far below the spread over episodes.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return probe.fit(features, labels).predict(held_out)


def _ceiling(
    train: Labelled, test: Labelled, offsets: tuple[int, ...], fit: np.ndarray, score: np.ndarray, seed: int
) -> np.ndarray:
    """What the true displacements of the paddle tell, by a forest: it needs no linear relation."""
    from sklearn.ensemble import RandomForestClassifier

    assert train.displacement is not None and test.displacement is not None
    features = train.displacement[train.window(offsets)[fit]]
    held_out = test.displacement[test.window(offsets)[score]]
    forest = RandomForestClassifier(50, min_samples_leaf=5, random_state=seed, n_jobs=1)
    return forest.fit(features, train.controls[fit]).predict(held_out)


def label_budget(
    probe: Callable[[Any, np.ndarray, Any], np.ndarray],
    features: Any,
    labels: np.ndarray,
    held_out: Any,
    truth: np.ndarray,
    seed: int,
    budgets: Sequence[int] = BUDGETS,
) -> dict[str, dict[str, float]]:
    """Accuracy by number of labelled transitions, drawn five times; budgets that are not there are left out.

    Args:
        probe: from features and labels of the drawn transitions, and held-out features, to held-out answers.
        features: of all training transitions.
        labels: (T,) theirs.
        held_out: features of the transitions that are scored.
        truth: their labels.
        seed: of the draws.
        budgets: numbers of labelled transitions.
    """
    curve = {}
    for budget in (budget for budget in budgets if budget <= len(labels)):
        scores = []
        for number in range(NUM_SEEDS):
            rows = np.random.default_rng([seed, budget, number]).permutation(len(labels))[:budget]
            scores.append(_accuracy(probe(features[rows], labels[rows], held_out), truth))
        curve[str(budget)] = {"mean": float(np.mean(scores)), "low": min(scores), "high": max(scores)}
    return curve


def _accuracy(answers: np.ndarray, truth: np.ndarray) -> float:
    return float((answers == truth).mean())


def balanced_accuracy(answers: np.ndarray, truth: np.ndarray) -> float:
    """Mean over classes of the share that is named right."""
    return float(np.mean([(answers[truth == kind] == kind).mean() for kind in np.unique(truth)]))
