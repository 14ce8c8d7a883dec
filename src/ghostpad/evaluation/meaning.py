"""Pictures of what codes do: where each fires, what it does elsewhere, and which lie near each other.

Dimensions: T transitions, C colour channels, H W frame, h w grid of codes, K codebook size, D embedding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.evaluation.insight import Scene
from ghostpad.evaluation.measure import Measured, Model, draw, to_bytes, to_numpy
from ghostpad.evaluation.reconstruction import changed
from ghostpad.evaluation.report.pictures import mark, to_rgb
from ghostpad.sums import ratio

MIN_PATCH = 48
"""Smallest side (pixels) of a picture of what happens around a code's cell."""
NUM_FIRES = 4
"""Transitions shown of each code."""
NUM_RECEIVERS = 4
_MIN_LIFT = 1.5
_MIN_CODES, _MAX_CODES = 8, 512


@dataclass(frozen=True)
class Gallery:
    """Where one code fires."""

    code: int
    choices: int
    """how often it is chosen, over all cells"""
    place: tuple[int, int]
    """row and column of the cell that chooses it most"""
    event: str | None
    """the event that it goes with, None when with none"""
    lift: float
    """P(event | code anywhere) / P(event)"""
    pictures: list[np.ndarray]
    """frame and next frame around the cell, side by side, (h, w, 3) uint8, what changes marked"""


@dataclass(frozen=True)
class Transfer:
    """The codes of one transition applied to other frames."""

    event: str
    giver: np.ndarray
    """(H, W, 3) the giver's next frame, what changes marked"""
    receivers: list[np.ndarray]
    """(H, W, 3) what is drawn from other frames and the giver's codes, what changes marked"""


def galleries(measured: Measured, scene: Scene, codebook_size: int, gray: bool, most: int) -> list[Gallery]:
    """Codes in use, those first that tell most of an event, at most `most` of them."""
    codes = measured.codes
    present = _present(codes, codebook_size)
    told, events, lifts = _strongest_events(present, scene.columns)
    used = np.asarray(present.any(0))
    choices = np.bincount(codes.ravel(), minlength=codebook_size)
    order = np.lexsort((-choices, -np.round(told, 9)))
    return [
        Gallery(
            int(code),
            int(choices[code]),
            _usual_place(codes, code),
            events[code] if lifts[code] >= _MIN_LIFT else None,
            float(lifts[code]),
            _fires(measured, code, gray),
        )
        for code in order[used[order]][:most]
    ]


def transfers(model: Model, measured: Measured, scene: Scene, seed: int) -> list[Transfer]:
    """For each event one transition's codes, applied to frames drawn by the seed."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(measured.rows))[:NUM_RECEIVERS]
    frames, _ = measured.transitions.read(measured.rows[rows], model.grayscale)
    found = []
    for event in scene.game.transfer_events if scene.game else ():
        happens = np.flatnonzero(scene.columns.get(event, []))
        if not len(happens):
            continue
        giver = int(rng.choice(happens))
        own, own_next = measured.transitions.read(measured.rows[[giver]], model.grayscale)
        drawn = to_bytes(draw(model, frames, np.repeat(measured.codes[[giver]], len(frames), 0)))
        different = changed(frames, drawn)
        shown = [mark(picture, mask) for picture, mask in zip(drawn, different, strict=True)]
        found.append(Transfer(event, mark(own_next[0], changed(own, own_next)[0]), shown))
    return found


def codebook_map(model: Any, codes_Thw: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """t-SNE of the code embeddings: n codes, the most used ones where there are many, and (n, 2).

    None when the model has no codebook to show.
    """
    codebook = getattr(model, "codebook", None)
    if codebook is None or len(codebook) != model.codebook_size or len(codebook) < _MIN_CODES:
        return None
    counts = np.bincount(codes_Thw.ravel(), minlength=len(codebook))
    codes = np.sort(np.argsort(-counts, kind="stable")[:_MAX_CODES])
    places = _tsne(to_numpy(codebook).astype(np.float32)[codes], seed)
    return None if places is None else (codes, places)


def transition_map(codes_Thw: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """t-SNE of transitions by their codes: places of at most `most` transitions, and (n, 2)."""
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD

    rows = np.sort(np.random.default_rng(seed).permutation(len(codes_Thw))[:most])
    if len(rows) < 32:
        return None
    flat = codes_Thw[rows].reshape(len(rows), -1).astype(np.int64)
    keys = flat + np.arange(flat.shape[1]) * (int(flat.max()) + 1)
    known, place = np.unique(keys, return_inverse=True)
    pointers = np.arange(0, keys.size + 1, flat.shape[1])
    ones = np.ones(keys.size, np.float32)
    table = csr_matrix((ones, place.ravel(), pointers), shape=(len(rows), len(known)))
    # A choice that nearly all transitions share tells nothing: weigh by rarity, as words in a text.
    table = csr_matrix(table.multiply(np.log(len(rows) / np.asarray(table.sum(0)))))
    dims = min(30, len(rows) - 1, len(known) - 1)
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


def _present(codes_Thw: np.ndarray, codebook_size: int) -> np.ndarray:
    """(T, K) bool: whether any cell of a transition shows a code."""
    present = np.zeros((len(codes_Thw), codebook_size), bool)
    flat = codes_Thw.reshape(len(codes_Thw), -1)
    present[np.arange(len(flat))[:, None], flat] = True
    return present


def _strongest_events(
    present_TK: np.ndarray, columns: dict[str, np.ndarray]
) -> tuple[np.ndarray, list[str | None], np.ndarray]:
    """For each code the bits that its presence tells of the event it goes with, the event, and the lift."""
    size = present_TK.shape[1]
    told, lifts = np.zeros(size), np.ones(size)
    names: list[str | None] = [None] * size
    share = present_TK.mean(0)
    for name, happens in columns.items():
        base = happens.mean()
        if base == 0:
            continue
        given = ratio(present_TK[happens].sum(0), present_TK.sum(0))
        lift = np.nan_to_num(given / base, nan=1.0)
        bits = np.where(lift > 1, share * np.nan_to_num(given) * np.log2(np.maximum(lift, 1)), 0)
        better = bits > told
        told[better], lifts[better] = bits[better], lift[better]
        for code in np.flatnonzero(better):
            names[code] = name
    return told, names, lifts


def _usual_place(codes_Thw: np.ndarray, code: int) -> tuple[int, int]:
    counts = (codes_Thw == code).sum(0)
    row, column = np.unravel_index(counts.argmax(), counts.shape)
    return int(row), int(column)


def _fires(measured: Measured, code: int, gray: bool) -> list[np.ndarray]:
    """The transitions in which most cells show the code, around the one where most changes."""
    cells = (measured.codes == code).sum((1, 2))
    # Of equals, those far apart, so that a gallery is not four neighbouring frames.
    best = np.argsort(-cells, kind="stable")
    best = best[cells[best] > 0]
    top = best[cells[best] == cells[best[0]]]
    chosen = top[np.linspace(0, len(top) - 1, NUM_FIRES).astype(int)] if len(top) > NUM_FIRES else best
    rows = np.unique(chosen[:NUM_FIRES])
    frames, next_frames = measured.transitions.read(measured.rows[rows], gray)
    masks = changed(frames, next_frames)
    shown = []
    for row, frame, next_frame, mask in zip(rows, frames, next_frames, masks, strict=True):
        window = _around(measured.codes[row] == code, mask)
        pair = [to_rgb(frame)[window], mark(next_frame, mask)[window]]
        gap = np.full((pair[0].shape[0], 2, 3), 128, np.uint8)
        shown.append(np.concatenate([pair[0], gap, pair[1]], 1))
    return shown


def _around(fires_hw: np.ndarray, mask_HW: np.ndarray) -> tuple[slice, slice]:
    """The part of a frame around the cell, of those that fire, in which most changes."""
    (rows, columns), (height, width) = fires_hw.shape, mask_HW.shape
    tops = np.arange(rows + 1) * height // rows
    lefts = np.arange(columns + 1) * width // columns
    places = np.argwhere(fires_hw)
    moved = [mask_HW[tops[r] : tops[r + 1], lefts[c] : lefts[c + 1]].sum() for r, c in places]
    row, column = places[int(np.argmax(moved))]
    window = []
    for edges, place, full in ((tops, row, height), (lefts, column, width)):
        size = min(full, max(MIN_PATCH, 2 * int(edges[1] - edges[0])))
        start = int(edges[place] + edges[place + 1]) // 2 - size // 2
        start = min(max(start, 0), full - size)
        window.append(slice(start, start + size))
    return window[0], window[1]
