"""How a codebook is used: which codes, how evenly, how many bits.

Dimensions: T transitions, h w grid of codes, K codebook size.
"""

from typing import Any

import numpy as np
from scipy.special import entr

ACTIVE_SHARE = 0.1
"""Share of the mean usage from which a code is active: at least 1/(10·K) of all choices."""


def summarize_codes(codes_Thw: np.ndarray, codebook_size: int) -> dict[str, Any]:
    """Describe the choices of codes.

    Args:
        codes_Thw: (T, h, w) integers in [0, K).
        codebook_size: K.

    Returns:
        `size` K; `usage`, share of codes chosen at least once; `active`, share of those with at least
        1/(10·K) of all choices; `perplexity` exp(H) of all choices together; `cell_perplexity`, its mean
        over cells taken by themselves, and `cell_perplexities` (h × w); `bits_per_transition`, the sum over
        cells of H (bits; an upper bound, as cells depend on each other); `histogram`, choices by code.
    """
    cells = cell_counts(codes_Thw, codebook_size)
    counts = cells.sum(0)
    entropies = entropy(cells)
    grid = codes_Thw.shape[1:]
    return {
        "size": codebook_size,
        "usage": float((counts > 0).mean()),
        "active": float((counts * codebook_size >= ACTIVE_SHARE * counts.sum()).mean()),
        "perplexity": float(np.exp(entropy(counts[None])[0])),
        "cell_perplexity": float(np.exp(entropies).mean()),
        "cell_perplexities": np.exp(entropies).reshape(grid).tolist(),
        "bits_per_transition": float(entropies.sum() / np.log(2)),
        "histogram": counts.tolist(),
    }


def cell_counts(codes_Thw: np.ndarray, codebook_size: int) -> np.ndarray:
    """Choices by cell and code: (h·w, K) int64."""
    num_cells = int(np.prod(codes_Thw.shape[1:]))
    flat = codes_Thw.reshape(-1, num_cells).astype(np.int64)
    offset = np.arange(num_cells) * codebook_size
    counts = np.bincount((flat + offset).ravel(), minlength=num_cells * codebook_size)
    return counts.reshape(num_cells, codebook_size)


def entropy(counts: np.ndarray) -> np.ndarray:
    """Entropy (nats) of each row of counts, 0 for a row without any."""
    return entr(counts / np.maximum(counts.sum(-1, keepdims=True), 1)).sum(-1)
