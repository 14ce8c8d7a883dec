"""Metrics as functions of sums over transitions, and their confidence intervals by bootstrap over episodes.

A metric that is computed from sums alone (a mean, a ratio, a PSNR from a pooled error) needs one definition
for the value on a split and for every bootstrap resample of it.

Dimensions: T transitions, E episodes, R resamples.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Sums = dict[str, np.ndarray]
"""Quantities by name: one value per transition, or their sums over transitions as scalars or arrays."""
Measured = tuple[dict[str, Any], dict[str, tuple[float, float]]]
"""Metrics by name, and their 95 % intervals as far as there are any."""

NUM_RESAMPLES = 1000
COVERAGE = 0.95


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator / denominator` in float64, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    shape = np.broadcast(numerator, denominator).shape
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=denominator != 0)


def as_floats(values: Mapping[str, Any]) -> Sums:
    """Counts and booleans as float64."""
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def total(sums: Sums) -> Sums:
    """Sum every quantity over transitions, ignoring NaN (not measured there)."""
    return {name: np.asarray(np.nansum(values, dtype=np.float64)) for name, values in sums.items()}


def bootstrap(
    sums: Sums, episode_index: np.ndarray, summarize: Callable[[Sums], Sums], seed: int
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the metrics that `summarize` computes from sums over transitions.

    Whole episodes are resampled, because transitions of one episode are correlated.

    Args:
        sums: quantities by name, (T,) each.
        episode_index: (T,) the episode of each transition.
        summarize: maps sums (scalars or arrays) to metrics of the same shape.
        seed: of the resampling.

    Returns:
        Lower and upper bound by metric; empty with fewer than two episodes.
    """
    episodes, place = np.unique(episode_index, return_inverse=True)
    if len(episodes) < 2:
        return {}
    draws = np.random.default_rng(seed).integers(len(episodes), size=(NUM_RESAMPLES, len(episodes)))
    weights_RE = np.stack([np.bincount(draw, minlength=len(episodes)) for draw in draws])
    per_episode = {
        name: np.bincount(place, weights=np.nan_to_num(values), minlength=len(episodes))
        for name, values in sums.items()
    }
    metrics = summarize({name: weights_RE @ values for name, values in per_episode.items()})
    tails = [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]
    defined = {name: values for name, values in metrics.items() if np.isfinite(values).any()}
    bounds = {name: np.nanquantile(values, tails) for name, values in defined.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def estimate(
    parts: Sequence[Mapping[str, Any]],
    episode_index: np.ndarray | Sequence[int],
    summarize: Callable[[Sums], Sums],
    seed: int,
) -> Measured:
    """Metrics of sums that come in parts, and their intervals by `bootstrap`; empty without sums."""
    if not any(parts):
        return {}, {}
    sums = {name: np.hstack([part[name] for part in parts]) for name in parts[0]}
    metrics = {name: float(value) for name, value in summarize(total(sums)).items()}
    return metrics, bootstrap(sums, np.asarray(episode_index), summarize, seed)
