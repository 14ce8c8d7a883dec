"""Running a latent action model on transitions: what evaluation needs of it, in batches.

Dimensions: T transitions, n transitions of a batch, C colour channels, H W frame, h w grid of codes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.progress import progress

if TYPE_CHECKING:
    from ghostpad.model.latent_action_model import LatentActionModel

CPU_BATCH, GPU_BATCH = 8, 64
"""Transitions per batch. Small on a CPU: larger arrays go back to the system and are cleared each time."""


class Model(Protocol):
    """What evaluation needs of a latent action model."""

    codebook_size: int
    """Number of codes K."""
    grid: tuple[int, int]
    """Rows and columns of the grid of codes."""
    grayscale: bool
    """Whether the model sees one channel."""

    def encode(self, frames: Any, next_frames: Any) -> Any:
        """Codes (n, h, w) of pairs of uint8 frames (n, C, H, W), or (n, T, C, H, W) with a history."""
        ...

    def decode(self, frames: Any, codes: Any) -> Any:
        """Next frames (n, C, H, W) float in [0, 1] from uint8 frames and codes."""
        ...


def load_model(path: Path, store: FrameStore, split: str, device: str) -> "LatentActionModel":
    """Load a model; a UserError if there is none, or it cannot read the frames of the store."""
    from ghostpad.machine import resolve_device
    from ghostpad.model.latent_action_model import LatentActionModel

    model = LatentActionModel.from_pretrained(path, device=str(resolve_device(device)))
    first = transitions_of(model, store, split).read(np.array([0]), model.grayscale)
    try:
        model.encode(*first)
    except UserError as error:
        raise UserError(f"{path} does not fit {store.path}: {error}") from None
    return model


def transitions_of(model: Model, store: FrameStore, split: str) -> Transitions:
    """The transitions of a split with the stride and history that a model takes."""
    return Transitions(store, split, getattr(model, "stride", 1), getattr(model, "history", 1))


def infer_codes(model: Model, transitions: Transitions, rows: np.ndarray, what: str = "encode") -> np.ndarray:
    """Codes (T, h, w) uint16 of the transitions `rows`."""
    codes = np.empty((len(rows), *model.grid), np.uint16)
    for batch in batches(model, len(rows), what):
        codes[batch] = to_numpy(model.encode(*transitions.read(rows[batch], model.grayscale)))
    return codes


def decode(model: Model, frames: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Predicted frames (n, C, H, W) float32, scaled to the size of `frames` if the model has another."""
    predicted = model.decode(frames, codes.astype(np.int64))
    if tuple(predicted.shape[-2:]) != frames.shape[-2:]:
        import torch

        predicted = torch.nn.functional.interpolate(
            torch.as_tensor(predicted), size=frames.shape[-2:], mode="bilinear", align_corners=False
        )
    return to_numpy(predicted).astype(np.float32, copy=False)


def batches(model: Model, num: int, what: str | None = None) -> Iterator[np.ndarray]:
    """Positions 0…num-1 in batches, with a progress bar called `what`."""
    size = CPU_BATCH if str(getattr(model, "device", "cpu")) == "cpu" else GPU_BATCH
    with progress(what=what or "", unit="transitions", total=num, shown=what is not None) as bar:
        for start in range(0, num, size):
            batch = np.arange(start, min(start + size, num))
            yield batch
            bar.update(len(batch))


def draw_blocks(num: int, most: int | None, seed: int, block: int = 64) -> np.ndarray:
    """At most `most` of the positions 0…num-1 in ascending order, drawn as blocks of neighbours."""
    if most is None or most >= num:
        return np.arange(num)
    block = max(1, min(block, most))
    starts = np.random.default_rng(seed).permutation(-(-num // block))[: -(-most // block)] * block
    positions = (starts[:, None] + np.arange(block)).ravel()
    return np.sort(positions[positions < num][:most])


def as_unit(frames: np.ndarray) -> np.ndarray:
    """Bytes as float32 in [0, 1]."""
    return frames.astype(np.float32) / 255


def to_bytes(frames: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as bytes."""
    return np.round(np.clip(frames, 0, 1) * 255).astype(np.uint8)


def to_numpy(values: Any) -> np.ndarray:
    """A tensor on any device, or an array, as an array."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
