"""One pass over transitions: codes, predictions, and what each transition contributes to every metric.

Most metrics are functions of sums over transitions, so that the same code gives a number on a split and its
bootstrap over episodes. The pass streams in batches and keeps a few numbers and the codes per transition.

Dimensions: T transitions, n transitions of a batch, C colour channels, H W frame, h w grid of codes.
"""

from dataclasses import dataclass

import numpy as np

from ghostpad.evaluation.codebook import changing_cells
from ghostpad.evaluation.ground_truth import Detections, detect_all
from ghostpad.evaluation.inference import Model, as_unit, batches, decode, infer_codes
from ghostpad.evaluation.reconstruction import (
    changed,
    counterfactual_sums,
    delta_psnr,
    pair_sums,
    structural_similarity,
    summarize,
)
from ghostpad.frames.pairs import Transitions, current_frames
from ghostpad.games import Game
from ghostpad.sums import Sums, ratio


@dataclass(frozen=True)
class Measurements:
    """Results of a pass over T transitions.

    Attributes:
        transitions: the split they belong to.
        rows: (T,) their places in it.
        codes: (T, h, w) uint16.
        sums: quantities by name, (T,) float64, NaN where one was not taken.
        detections: detected in the true frames, None for an unknown game.
        changing: (T, h, w) bool: the cells with a changed pixel; None where codes do not belong to cells.
    """

    transitions: Transitions
    rows: np.ndarray
    codes: np.ndarray
    sums: Sums
    detections: Detections | None
    changing: np.ndarray | None

    @property
    def episode_index(self) -> np.ndarray:
        """(T,) episode of each transition."""
        return self.transitions.episode_index[self.rows]

    @property
    def frame_index(self) -> np.ndarray:
        """(T,) current frame of each transition."""
        return self.transitions.frame_index[self.rows]


def measure(
    model: Model,
    transitions: Transitions,
    rows: np.ndarray,
    game: Game | None,
    seed: int,
    num_ssim: int = 0,
    num_counterfactual: int = 0,
) -> Measurements:
    """Encode and decode the transitions `rows`, and measure the reconstruction and the game's elements.

    SSIM is taken of `num_ssim` transitions drawn by the seed; `num_counterfactual` are also decoded with the
    codes of others.
    """
    num, gray = len(rows), model.grayscale
    codes = infer_codes(model, transitions, rows)
    rng = np.random.default_rng(seed)
    order = rng.permutation(num)
    partners = np.empty(num, np.int64)  # a derangement, if there are two: whose codes each is decoded with
    partners[order] = np.roll(order, 1)
    with_ssim, with_partner = np.zeros((2, num), bool)
    with_ssim[rng.permutation(num)[:num_ssim]] = True
    with_partner[rng.permutation(num)[: num_counterfactual if num > 1 else 0]] = True
    detections = detect_all(transitions, rows, game, gray) if game else None
    cell = int(getattr(model, "cell", 0)) if getattr(model, "codes_are_local", False) else 0
    changing = np.zeros(codes.shape, bool) if cell else None
    columns: Sums = {}

    def keep(positions: np.ndarray, sums: Sums) -> None:
        for name, values in sums.items():
            columns.setdefault(name, np.full(num, np.nan))[positions] = values

    for batch in batches(model, num, "decode"):
        frames, next_frames = transitions.read(rows[batch], gray)
        predicted = decode(model, frames, codes[batch])
        current, true = as_unit(current_frames(frames)), as_unit(next_frames)
        keep(batch, pair_sums(predicted, true, current))
        if changing is not None:
            changing[batch] = changing_cells(changed(current, true), model.grid, cell)
        if detections:
            states = detections.of(detections.next[batch]), detections.of(detections.current[batch])
            keep(batch, detections.game.score_elements(detections.game.detect(predicted), *states))
        taken = with_ssim[batch]
        if taken.any():
            similarities = structural_similarity(predicted[taken], true[taken])
            copies = structural_similarity(current[taken], true[taken])
            keep(batch[taken], {"ssim": similarities, "copy_ssim": copies})
        taken = with_partner[batch]
        if taken.any():
            others = partners[batch[taken]]
            swapped = decode(model, frames[taken], codes[others])
            source, next_source = transitions.read(rows[others], gray)
            sources = as_unit(current_frames(source)), as_unit(next_source)
            own = predicted[taken], true[taken], current[taken]
            keep(batch[taken], counterfactual_sums(swapped, *own, *sources))
            if detections:
                places = (
                    detections.current[batch[taken]],
                    detections.current[others],
                    detections.next[others],
                )
                states = map(detections.of, places)
                keep(batch[taken], detections.game.score_transfer(detections.game.detect(swapped), *states))
    return Measurements(transitions, rows, codes, columns, detections, changing)


def metrics_of_sums(game: Game | None, sums: Sums) -> Sums:
    """Every metric that is a function of sums over transitions, by its key in `metrics.json`."""
    metrics = {f"reconstruction.{key}": value for key, value in summarize(sums).items()}
    if "swapped_squared" in sums:
        metrics |= {f"reconstruction.{key}": value for key, value in delta_psnr(sums).items()}
    if game and game.controlled and "transfer_moved" in sums:
        for near in ("", "_near"):
            share = ratio(sums[f"transfer_right{near}"], sums[f"transfer_moved{near}"])
            metrics[f"transfer.{game.controlled.name}_direction{near}"] = share
    if game:
        metrics |= {f"elements.{key}": value for key, value in game.summarize_elements(sums).items()}
    return metrics
