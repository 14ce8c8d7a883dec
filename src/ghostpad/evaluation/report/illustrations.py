"""Illustrations of an assessment: transitions, a clip, where codes are chosen, codes applied to other frames.

Dimensions: T transitions, H W frame, h w grid of codes, K codebook size.
"""

from dataclasses import dataclass

import numpy as np

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.config import Amounts
from ghostpad.evaluation.inference import decode, to_bytes
from ghostpad.evaluation.measurements import Measurements
from ghostpad.evaluation.reconstruction import changed
from ghostpad.evaluation.report.pictures import mark, to_rgb
from ghostpad.evaluation.report.tsne import TsneMap, codebook_map, transition_map
from ghostpad.frames.pairs import Transitions
from ghostpad.sums import ratio

CLIP_LENGTH = 8
"""Consecutive transitions in the clip."""
MIN_CROP = 48
"""Smallest side (pixels) of the crop around the cell of a code."""
NUM_CROPS, NUM_TARGETS = 4, 4
"""Transitions shown of each code; frames that the codes of an event are applied to."""
_MIN_LIFT = 1.5


@dataclass(frozen=True)
class Gallery:
    """Transitions in which one code is chosen."""

    code: int
    choices: int
    """how often, over all cells"""
    place: tuple[int, int]
    """row and column of the cell that chooses it most"""
    event: str | None
    """the event that it is most informative of, None without one"""
    lift: float
    """P(event | code in any cell) / P(event)"""
    pictures: list[np.ndarray]
    """frame and next frame around the cell side by side, (h, w, 3) uint8, changes marked"""


@dataclass(frozen=True)
class Transfer:
    """The codes of one transition applied to other frames."""

    event: str
    source: np.ndarray
    """(H, W, 3) next frame of that transition, changes marked"""
    predictions: list[np.ndarray]
    """(H, W, 3) decoded from other frames and its codes, changes marked"""


@dataclass(frozen=True)
class Illustrations:
    """What the report shows beside the numbers.

    Attributes:
        examples: positions of transitions, ascending.
        clip: positions of a few consecutive transitions.
        galleries: where codes are chosen, the most informative codes first.
        transfers: codes of one transition applied to other frames.
        code_map: t-SNE of the codes, if asked for and possible.
        transition_map: t-SNE of transitions, if asked for and possible.
    """

    examples: np.ndarray
    clip: np.ndarray
    galleries: list[Gallery]
    transfers: list[Transfer]
    code_map: TsneMap | None
    transition_map: TsneMap | None


def illustrate(assessment: Assessment, amounts: Amounts, seed: int) -> Illustrations:
    """Draw what the report shows of a model, by the seed."""
    measured, events = assessment.measurements, assessment.truth.events
    examples = choose_examples(events, len(measured.rows), amounts.examples, seed)
    shown = len(examples) > 0
    return Illustrations(
        examples,
        choose_clip(events, measured.transitions, measured.rows, seed) if shown else examples,
        galleries(assessment, amounts.galleries),
        transfers(assessment, seed) if shown else [],
        codebook_map(assessment.model, measured.codes, seed) if amounts.tsne else None,
        transition_map(measured.codes, amounts.tsne, seed) if amounts.tsne else None,
    )


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
    events: dict[str, np.ndarray], transitions: Transitions, rows: np.ndarray, seed: int
) -> np.ndarray:
    """Positions of consecutive transitions, around the rarest event that has enough neighbours."""
    episodes, frames = transitions.episode_index[rows], transitions.frame_index[rows]
    ends = np.arange(len(rows)) + CLIP_LENGTH - 1
    fits = ends < len(rows)
    ends = ends.clip(max=len(rows) - 1)
    whole = fits & (episodes[ends] == episodes) & (frames[ends] - frames == CLIP_LENGTH - 1)
    for happens in sorted(events.values(), key=lambda happens: happens.sum()):
        starts = np.flatnonzero(happens) - CLIP_LENGTH // 2
        starts = starts[(starts >= 0) & whole[starts.clip(min=0)]]
        if len(starts):
            start = int(np.random.default_rng(seed).choice(starts))
            return np.arange(start, start + CLIP_LENGTH)
    starts = np.flatnonzero(whole)[:1]
    return (starts[:, None] + np.arange(CLIP_LENGTH)).ravel()


def galleries(assessment: Assessment, most: int) -> list[Gallery]:
    """At most `most` of the codes in use, the most informative ones first."""
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
        row, column = map(int, np.unravel_index(counts.argmax(), counts.shape))
        event = names[code] if lifts[code] >= _MIN_LIFT else None
        crops = _crops(measured, code, assessment.model.grayscale)
        found.append(Gallery(code, int(choices[code]), (row, column), event, float(lifts[code]), crops))
    return found


def transfers(assessment: Assessment, seed: int) -> list[Transfer]:
    """For some events the codes of one transition, applied to frames drawn by the seed."""
    model, measured, truth = assessment.model, assessment.measurements, assessment.truth
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(measured.rows))[:NUM_TARGETS]
    frames, _ = measured.transitions.read(measured.rows[rows], model.grayscale)
    found = []
    for event in truth.game.transfer_events if truth.game else ():
        happens = np.flatnonzero(truth.events[event])
        if len(happens):
            source = int(rng.choice(happens))
            pair = measured.transitions.read(measured.rows[[source]], model.grayscale)
            predicted = to_bytes(decode(model, frames, measured.codes[[source]].repeat(len(frames), 0)))
            marked = map(mark, predicted, changed(frames, predicted))
            found.append(Transfer(event, mark(pair[1][0], changed(*pair)[0]), list(marked)))
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
