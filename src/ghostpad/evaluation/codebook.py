"""How a codebook is used: which codes, how evenly, how many bits.

Dimensions: T transitions, h w grid of codes, K codebook size.
"""

from typing import Any

import numpy as np
from scipy.special import entr

ACTIVE_SHARE = 0.1
"""Share of the mean usage from which a code is active: at least 1/(10·K) of all choices."""


def summarize_codes(
    codes_Thw: np.ndarray, codebook_size: int, changing_Thw: np.ndarray | None = None
) -> dict[str, Any]:
    """Describe the choices (T, h, w) of codes; `changing_Thw` is None where codes do not belong to cells.

    Returns:
        `size` K; `usage`, share of codes chosen at least once; `active`, share of codes with at least
        1/(10·K) of all choices; `active_changing`, the same among the choices in changing cells, and
        `changing_share`, their share of all cells (both None without `changing_Thw`); `perplexity` exp(H) of
        all choices together; `cell_perplexity`, its mean over cells taken by themselves, and
        `cell_perplexities` (h × w); `bits_per_transition`, the sum over cells of H (bits; an upper bound, as
        cells depend on each other); `histogram`, choices by code. docs/metrics.md names the sources.
    """
    cells = cell_counts(codes_Thw, codebook_size)
    counts = cells.sum(0)
    entropies = entropy(cells)
    grid = codes_Thw.shape[1:]
    active_changing = changing_share = None
    if changing_Thw is not None:
        chosen = np.bincount(codes_Thw[changing_Thw].astype(np.int64), minlength=codebook_size)
        active_changing, changing_share = _active(chosen), float(changing_Thw.mean())
    return {
        "size": codebook_size,
        "usage": float((counts > 0).mean()),
        "active": _active(counts),
        "active_changing": active_changing,
        "changing_share": changing_share,
        "perplexity": float(np.exp(entropy(counts[None])[0])),
        "cell_perplexity": float(np.exp(entropies).mean()),
        "cell_perplexities": np.exp(entropies).reshape(grid).tolist(),
        "bits_per_transition": float(entropies.sum() / np.log(2)),
        "histogram": counts.tolist(),
    }


def changing_cells(changed_NHW: np.ndarray, grid: tuple[int, int], cell: int) -> np.ndarray:
    """Cells (N, h, w) of `cell` × `cell` pixels with a changed pixel; the frame may end within the last."""
    h, w = grid
    changed_NHW = changed_NHW[:, : h * cell, : w * cell]
    missing = [
        (0, size - have) for size, have in zip((h * cell, w * cell), changed_NHW.shape[1:], strict=True)
    ]
    padded = np.pad(changed_NHW, [(0, 0), *missing]).reshape(-1, h, cell, w, cell)
    return np.asarray(padded.any((2, 4)))


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


def _active(counts: np.ndarray) -> float:
    """Share of codes with at least 1/(10·K) of all choices, 0 without any."""
    return float((counts > 0).any() and (counts * len(counts) >= ACTIVE_SHARE * counts.sum()).mean())
