"""t-SNE maps of codes and of transitions.

Dimensions: T transitions, h w grid of codes, n points.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from ghostpad.evaluation.inference import to_numpy
from ghostpad.evaluation.mutual_information import choice_table

_MIN_CODES, _MAX_CODES = 8, 512
_MIN_TRANSITIONS = 32

TsneMap = tuple[np.ndarray, np.ndarray]
"""Numbers (n,) of what is shown, and its places in the plane (n, 2)."""


def codebook_map(model: Any, codes_Thw: np.ndarray, seed: int) -> TsneMap | None:
    """The embeddings of the most used codes; None when the model has no codebook."""
    codebook = getattr(model, "codebook", None)
    if codebook is None or len(codebook) != model.codebook_size or len(codebook) < _MIN_CODES:
        return None
    counts = np.bincount(codes_Thw.ravel(), minlength=len(codebook))
    codes = np.sort(np.argsort(-counts, kind="stable")[:_MAX_CODES])
    places = _tsne(to_numpy(codebook).astype(np.float32)[codes], seed)
    return None if places is None else (codes, places)


def transition_map(codes_Thw: np.ndarray, most: int, seed: int) -> TsneMap | None:
    """At most `most` transitions by their codes; None when these hardly differ."""
    from sklearn.decomposition import TruncatedSVD

    rows = np.sort(np.random.default_rng(seed).permutation(len(codes_Thw))[:most])
    if len(rows) < _MIN_TRANSITIONS:
        return None
    table, keys, _ = choice_table(codes_Thw[rows])
    # A choice that nearly all transitions share says nothing: weigh by inverse document frequency.
    table = csr_matrix(table.multiply(np.log(len(rows) / np.asarray(table.sum(0)))))
    dims = min(30, len(rows) - 1, len(keys) - 1)
    if dims < 2 or not table.data.any():
        return None
    places = _tsne(TruncatedSVD(dims, random_state=seed).fit_transform(table), seed)
    return None if places is None else (rows, places)


def _tsne(vectors: np.ndarray, seed: int) -> np.ndarray | None:
    from sklearn.manifold import TSNE

    # scikit-learn divides by the spread of its start, and crashes the interpreter where that is zero.
    if float(np.ptp(vectors, axis=0).max()) < 1e-6:
        return None
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(vectors)
