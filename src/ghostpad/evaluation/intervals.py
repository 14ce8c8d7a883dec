"""Intervals by bootstrap over episodes: whole episodes are drawn again, as transitions of one are alike.

Dimensions: T transitions, E episodes, R resamples.
"""

from collections.abc import Callable

import numpy as np

from ghostpad.games.sums import Sums

NUM_RESAMPLES = 1000
COVERAGE = 0.95


def total(sums: Sums) -> Sums:
    """Add up every quantity over transitions, leaving out those that were not measured (not a number)."""
    return {name: np.asarray(np.nansum(values, dtype=np.float64)) for name, values in sums.items()}


def bootstrap(
    sums: Sums, episode_index: np.ndarray, summarize: Callable[[Sums], Sums], seed: int
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the metrics that `summarize` makes of sums over transitions.

    Args:
        sums: quantities by name, (T,) each.
        episode_index: (T,) the episode of each transition.
        summarize: maps sums (scalars or arrays) to metrics of the same shape.
        seed: of the resampling.

    Returns:
        Lower and upper bound by metric; empty when there are fewer than two episodes to draw from.
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
    bounds = {name: np.nanquantile(values, tails) for name, values in metrics.items() if _some(values)}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def _some(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())
