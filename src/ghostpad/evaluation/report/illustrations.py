"""What the report draws of a model: transitions, a clip, where codes are chosen, codes on other frames.

Dimensions: T transitions, H W frame, h w grid of codes, K codebook size.
"""

from typing import Any

import numpy as np

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.inference import decode, to_bytes
from ghostpad.evaluation.measurements import Measurements
from ghostpad.evaluation.reconstruction import changed
from ghostpad.evaluation.report.pictures import mark, to_rgb
from ghostpad.frames.pairs import Transitions, current_frames
from ghostpad.sums import ratio

FILM_LENGTH, STRIP_LENGTH = 32, 8
"""Consecutive transitions of the film, if an episode has so many, and of the film strip."""
MIN_CROP = 48
"""Smallest side (pixels) of the crop around the cell of a code."""
NUM_CROPS, NUM_TARGETS = 4, 4
"""Transitions shown of each code; frames that the codes of an event are applied to."""
_MIN_LIFT = 1.5


def choose_examples(events: dict[str, np.ndarray], num: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of `num` transitions in ascending order, of each event in turn."""
    rng = np.random.default_rng(seed)
    queues = [rng.permutation(np.flatnonzero(happens)).tolist() for happens in events.values()]
    queues.append(rng.permutation(num).tolist())
    chosen: set[int] = set()
    while len(chosen) < min(most, num):
        for queue in queues:
            if queue and len(chosen) < most:
                chosen.add(queue.pop())
    return np.array(sorted(chosen), np.int64)


def choose_clip(
    events: dict[str, np.ndarray], transitions: Transitions, rows: np.ndarray, length: int, seed: int
) -> np.ndarray:
    """Positions of `length` consecutive transitions, around the rarest event that has enough neighbours."""
    episodes, frames = transitions.episode_index[rows], transitions.frame_index[rows]
    ends = np.arange(len(rows)) + length - 1
    fits = ends < len(rows)
    ends = ends.clip(max=len(rows) - 1)
    whole = fits & (episodes[ends] == episodes) & (frames[ends] - frames == length - 1)
    for happens in sorted(events.values(), key=lambda happens: happens.sum()):
        starts = np.flatnonzero(happens) - length // 2
        starts = starts[(starts >= 0) & whole[starts.clip(min=0)]]
        if len(starts):
            start = int(np.random.default_rng(seed).choice(starts))
            return np.arange(start, start + length)
    starts = np.flatnonzero(whole)[:1]
    return (starts[:, None] + np.arange(length)).ravel()


def galleries(assessment: Assessment, most: int) -> list[dict[str, Any]]:
    """Transitions in which a code is chosen, for at most `most` codes, the most informative ones first.

    Returns:
        For each `code`: its `choices` over all cells, the `place` (row and column) that chooses it most, the
        `event` that it is most informative of, if any, with `lift` P(event | code in any cell) / P(event),
        and `pictures` (h, w, 3) uint8 of frame and next frame around a cell.
    """
    measured, codebook_size = assessment.measurements, assessment.model.codebook_size
    flat = measured.codes.reshape(len(measured.codes), -1)
    present_TK = np.zeros((len(flat), codebook_size), bool)
    present_TK[np.arange(len(flat))[:, None], flat] = True
    bits, names, lifts = _strongest_events(present_TK, assessment.truth.events)
    choices = np.bincount(flat.ravel(), minlength=codebook_size)
    order = np.lexsort((-choices, -np.round(bits, 9)))
    found = []
    for code in map(int, order[choices[order] > 0][:most]):
        counts = (measured.codes == code).sum(0)
        gallery = {
            "code": code,
            "choices": int(choices[code]),
            "place": tuple(map(int, np.unravel_index(counts.argmax(), counts.shape))),
            "event": names[code] if lifts[code] >= _MIN_LIFT else None,
            "lift": float(lifts[code]),
            "pictures": _crops(measured, code, assessment.model.grayscale),
        }
        found.append(gallery)
    return found


def transfers(assessment: Assessment, seed: int) -> list[dict[str, Any]]:
    """For some events the codes of one transition, applied to frames drawn by the seed.

    Returns:
        For each `event`: `source` (H, W, 3), the true next frame of that transition, and `predictions` from
        other frames and its codes.
    """
    model, measured, truth = assessment.model, assessment.measurements, assessment.truth
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(measured.rows))[:NUM_TARGETS]
    frames, _ = measured.transitions.read(measured.rows[rows], model.grayscale)
    found = []
    for event in truth.game.transfer_events if truth.game else ():
        happens = np.flatnonzero(truth.events[event])
        if len(happens):
            source = int(rng.choice(happens))
            before, after = measured.transitions.read(measured.rows[[source]], model.grayscale)
            predicted = to_bytes(decode(model, frames, measured.codes[[source]].repeat(len(frames), 0)))
            predictions = list(map(mark, predicted, changed(current_frames(frames), predicted)))
            source_picture = mark(after[0], changed(current_frames(before), after)[0])
            found.append({"event": event, "source": source_picture, "predictions": predictions})
    return found


def _strongest_events(
    present_TK: np.ndarray, events: dict[str, np.ndarray]
) -> tuple[np.ndarray, list[str | None], np.ndarray]:
    """For each code the bits that its presence has about the event it is most informative of; event; lift."""
    size = present_TK.shape[1]
    most_bits, lifts = np.zeros(size), np.ones(size)
    names: list[str | None] = [None] * size
    share = present_TK.mean(0)
    for name, happens in events.items():
        base = happens.mean()
        if base == 0:
            continue
        given = ratio(present_TK[happens].sum(0), present_TK.sum(0))
        lift = np.nan_to_num(given / base, nan=1.0)
        bits = np.where(lift > 1, share * np.nan_to_num(given) * np.log2(np.maximum(lift, 1)), 0)
        better = bits > most_bits
        most_bits[better], lifts[better] = bits[better], lift[better]
        for code in np.flatnonzero(better):
            names[code] = name
    return most_bits, names, lifts


def _crops(measured: Measurements, code: int, gray: bool) -> list[np.ndarray]:
    """The transitions in which most cells show the code, around the cell in which most pixels change."""
    cells = (measured.codes == code).sum((1, 2))
    best = np.argsort(-cells, kind="stable")
    best = best[cells[best] > 0]
    # Of equals those far apart, so that a gallery is not four neighbouring frames.
    top = best[cells[best] == cells[best[0]]]
    chosen = top[np.linspace(0, len(top) - 1, NUM_CROPS).astype(int)] if len(top) > NUM_CROPS else best
    rows = np.unique(chosen[:NUM_CROPS])
    frames, next_frames = measured.transitions.read(measured.rows[rows], gray)
    frames = current_frames(frames)
    masks = changed(frames, next_frames)
    shown = []
    for row, frame, next_frame, mask in zip(rows, frames, next_frames, masks, strict=True):
        window = _window(measured.codes[row] == code, mask)
        pair = [to_rgb(frame)[window], mark(next_frame, mask)[window]]
        gap = np.full((pair[0].shape[0], 2, 3), 128, np.uint8)
        shown.append(np.concatenate([pair[0], gap, pair[1]], 1))
    return shown


def _window(chosen_hw: np.ndarray, changed_HW: np.ndarray) -> tuple[slice, slice]:
    """The part of a frame around the cell, of those that are chosen, in which most pixels change."""
    shapes = zip(chosen_hw.shape, changed_HW.shape, strict=True)
    edges = [np.arange(cells + 1) * size // cells for cells, size in shapes]
    # Changed pixels by cell, from their cumulative sums in both directions.
    cumulative = np.pad(changed_HW.astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))[np.ix_(*edges)]
    counts = np.where(chosen_hw, np.diff(np.diff(cumulative, axis=0), axis=1), -1)
    cell = np.unravel_index(counts.argmax(), counts.shape)
    window = []
    for edge, place, full in zip(edges, cell, changed_HW.shape, strict=True):
        size = min(full, max(MIN_CROP, 2 * int(edge[1] - edge[0])))
        start = int(edge[place] + edge[place + 1]) // 2 - size // 2
        start = min(max(start, 0), full - size)
        window.append(slice(start, start + size))
    return window[0], window[1]
