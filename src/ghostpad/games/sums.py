"""Sums over transitions, and shares of them."""

import numpy as np

Sums = dict[str, np.ndarray]
"""Quantities by name, one value per transition; or their sums over many, as scalars or arrays alike."""


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, not a number where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole != 0)
