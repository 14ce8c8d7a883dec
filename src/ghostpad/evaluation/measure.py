"""One pass over transitions: codes, predictions, and what each transition adds to every metric.

Streams in batches; what is kept per transition is a handful of numbers and its codes.

Dimensions: T transitions, n transitions of a batch, C colour channels, H W frame, h w grid of codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ghostpad.evaluation.reconstruction import counterfactual_sums, pair_sums, structural_similarity
from ghostpad.evaluation.truth import Seen, look
from ghostpad.frames.pairs import Transitions
from ghostpad.games import Game
from ghostpad.progress import progress
from ghostpad.sums import Sums

CPU_BATCH, GPU_BATCH = 8, 64
"""Transitions at once. On a CPU few: larger arrays would go back to the system and be cleared each time."""


class Model(Protocol):
    """What evaluation needs of a latent action model; anything that offers this can be evaluated."""

    @property
    def codebook_size(self) -> int:
        """Number of codes K."""
        ...

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the grid of codes."""
        ...

    @property
    def grayscale(self) -> bool:
        """Whether the model sees one channel."""
        ...

    def encode(self, frames: Any, next_frames: Any) -> Any:
        """Codes (N, h, w) of pairs of uint8 frames (N, C, H, W)."""
        ...

    def decode(self, frames: Any, codes: Any) -> Any:
        """Next frames (N, C, H, W) float in [0, 1] from uint8 frames and codes."""
        ...


@dataclass(frozen=True)
class Plan:
    """What to measure beside the reconstruction itself; positions count along the rows that are measured."""

    seed: int
    game: Game | None
    """Whose elements are looked for."""
    num_ssim: int
    """Transitions, drawn by the seed, whose SSIM is taken."""
    num_counterfactual: int
    """Transitions, drawn by the seed, that are also decoded with the codes of others."""
    pictures: np.ndarray
    """Positions whose predictions are kept, ascending."""


@dataclass(frozen=True)
class Measured:
    """What a pass found about T transitions.

    Attributes:
        transitions: the split they belong to.
        rows: (T,) their places in it.
        codes: (T, h, w) uint16.
        sums: quantities by name, (T,) float64, not a number where one was not taken.
        partners: (T,) position of the transition whose codes each was also decoded with.
        pictured: (P,) the positions of the plan, ascending.
        predictions: (P, C, H, W) uint8, for those positions.
        seen: what the detector finds in the true frames, None for other games.
    """

    transitions: Transitions
    rows: np.ndarray
    codes: np.ndarray
    sums: Sums
    partners: np.ndarray
    pictured: np.ndarray
    predictions: np.ndarray
    seen: Seen | None

    def predicted(self, positions: np.ndarray) -> np.ndarray:
        """Predictions (n, C, H, W) uint8 at positions that the plan asked for."""
        return self.predictions[np.searchsorted(self.pictured, positions)]

    @property
    def episode_index(self) -> np.ndarray:
        """(T,) episode of each transition."""
        return self.transitions.episode_index[self.rows]

    @property
    def frame_index(self) -> np.ndarray:
        """(T,) current frame of each transition."""
        return self.transitions.frame_index[self.rows]


def infer_codes(model: Model, transitions: Transitions, rows: np.ndarray, what: str = "encode") -> np.ndarray:
    """Codes (T, h, w) uint16 of the transitions `rows`."""
    codes = np.empty((len(rows), *model.grid), np.uint16)
    for batch in _batches(model, len(rows), what):
        codes[batch] = to_numpy(model.encode(*transitions.read(rows[batch], model.grayscale)))
    return codes


def measure(model: Model, transitions: Transitions, rows: np.ndarray, plan: Plan) -> Measured:
    """Encode and decode the transitions `rows` and take what `plan` asks for."""
    codes = infer_codes(model, transitions, rows)
    rng = np.random.default_rng(plan.seed)
    partners = _partners(len(rows), rng)
    ssim = _drawn(len(rows), plan.num_ssim, rng)
    counterfactual = _drawn(len(rows), plan.num_counterfactual if len(rows) > 1 else 0, rng)
    shape = (1 if model.grayscale else 3, transitions.store.height, transitions.store.width)
    predictions = np.zeros((len(plan.pictures), *shape), np.uint8)
    columns: Sums = {}
    seen = look(transitions, rows, plan.game, model.grayscale) if plan.game else None
    for batch in _batches(model, len(rows), "decode"):
        frames, next_frames = transitions.read(rows[batch], model.grayscale)
        drawn = draw(model, frames, codes[batch])
        current, true = as_unit(frames), as_unit(next_frames)
        sums = pair_sums(drawn, true, current)
        if seen:
            current_parts, true_parts = seen.rows(seen.current[batch]), seen.rows(seen.next[batch])
            sums |= seen.game.score_elements(seen.game.detect(drawn), true_parts, current_parts)
        taken = ssim[batch]
        if taken.any():
            sums["ssim"] = _scatter(taken, structural_similarity(drawn[taken], true[taken]))
            sums["copy_ssim"] = _scatter(taken, structural_similarity(current[taken], true[taken]))
        taken = counterfactual[batch]
        if taken.any():
            others = partners[batch][taken]
            other, next_other = transitions.read(rows[others], model.grayscale)
            scene = {"frames": as_unit(other), "next_frames": as_unit(next_other)}
            swapped = draw(model, frames[taken], codes[others])
            extra = counterfactual_sums(swapped, drawn[taken], true[taken], current[taken], scene)
            if seen:
                extra |= seen.game.score_transfer(
                    seen.game.detect(swapped),
                    seen.rows(seen.current[batch[taken]]),
                    seen.rows(seen.current[others]),
                    seen.rows(seen.next[others]),
                )
            sums |= {name: _scatter(taken, values) for name, values in extra.items()}
        for position in np.intersect1d(batch, plan.pictures):
            place = np.searchsorted(plan.pictures, position)
            predictions[place] = to_bytes(drawn[position - batch[0]])
        for name, values in sums.items():
            columns.setdefault(name, np.full(len(rows), np.nan))[batch] = values
    return Measured(transitions, rows, codes, columns, partners, plan.pictures, predictions, seen)


def draw(model: Model, frames: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Decode to (n, C, H, W) float32; what a model draws at another size is scaled to the source's."""
    drawn = model.decode(frames, codes.astype(np.int64))
    if tuple(drawn.shape[-2:]) != frames.shape[-2:]:
        import torch

        drawn = torch.nn.functional.interpolate(
            torch.as_tensor(drawn), size=frames.shape[-2:], mode="bilinear", align_corners=False
        )
    return to_numpy(drawn).astype(np.float32, copy=False)


def as_unit(frames: np.ndarray) -> np.ndarray:
    """Bytes as float32 in [0, 1]."""
    return frames.astype(np.float32) / 255


def to_bytes(frames: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as bytes."""
    return np.round(np.clip(frames, 0, 1) * 255).astype(np.uint8)


def draw_blocks(num: int, most: int | None, seed: int, block: int = 64) -> np.ndarray:
    """At most `most` of the places 0…num-1 in ascending order, as blocks of neighbours drawn by the seed."""
    if most is None or most >= num:
        return np.arange(num)
    block = max(1, min(block, most))
    starts = np.random.default_rng(seed).permutation(-(-num // block))[: -(-most // block)] * block
    places = (starts[:, None] + np.arange(block)).ravel()
    return np.sort(places[places < num][:most])


def to_numpy(values: Any) -> np.ndarray:
    """A tensor on any device, or an array, as an array."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def batch_size(model: Model) -> int:
    """How many transitions to give to the model at once."""
    return CPU_BATCH if str(getattr(model, "device", "cpu")) == "cpu" else GPU_BATCH


def _batches(model: Model, num: int, what: str) -> Iterator[np.ndarray]:
    size = batch_size(model)
    with progress(what=what, unit="transitions", total=num) as bar:
        for start in range(0, num, size):
            batch = np.arange(start, min(start + size, num))
            yield batch
            bar.update(len(batch))


def _partners(num: int, rng: np.random.Generator) -> np.ndarray:
    """For each of `num` another one (if there is any), each exactly once."""
    order = rng.permutation(num)
    partners = np.empty(num, np.int64)
    partners[order] = np.roll(order, 1)
    return partners


def _drawn(num: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(num,) bool with at most `size` places set."""
    chosen = np.zeros(num, bool)
    chosen[rng.permutation(num)[:size]] = True
    return chosen


def _scatter(taken: np.ndarray, values: np.ndarray) -> np.ndarray:
    column = np.full(len(taken), np.nan)
    column[taken] = values
    return column
