"""The supervised ceiling of agreement: an inverse dynamics model that names the control from the frames.

It sees the frames of the same window as the probe on the codes, and all labels of the training episodes. What
it names is about what codes could say about the control at most.

Dimensions: T transitions, N frames, F frames of a window, C colour channels, H W shrunken frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.probes import WINDOW, WINDOWS, Labelled
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.progress import progress
from ghostpad.training.fit import fit

MAX_SIDE = 84
"""Pixels; larger frames are averaged down, which keeps motion of less than a pixel."""
MAX_LABELS = 8192
"""Training transitions that are used at most, so that an evaluation takes a minute of two cores."""
MIN_LABELS = 128
"""Training transitions below which the network would be no ceiling."""
BATCH_SIZE = 64
EPOCHS, MAX_STEPS = 20, 400
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1e-2
VALIDATIONS = 10
"""Of a fit, each on held-out training episodes; the best weights stay (early stopping)."""
_HELD_OUT = 8
"""One of so many training episodes is held out."""
_CHUNK = 64


class InverseDynamicsModel(nn.Module):
    """Names the control from the frames of a window: a small convolutional network.

    Args:
        num_frames: F.
        size: (H, W) of a frame.
        num_classes: of controls.
    """

    def __init__(self, num_frames: int, size: tuple[int, int], num_classes: int) -> None:
        super().__init__()
        widths = (3 * num_frames, 16, 32, 64)  # the first frame, and the differences of neighbours
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0], affine=False)]
        for before, width in pairwise(widths):
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        height, width = (-(-side // 8) for side in size)  # three strides of 2, each rounded up
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * height * width, num_classes)
        )

    def forward(self, frames_TFCHW: Tensor) -> Tensor:
        """Logits (T, classes) of windows of uint8 frames."""
        frames = frames_TFCHW.float() / 255
        inputs = torch.cat([frames[:, 0], frames.diff(dim=1).flatten(1, 2)], 1)
        return self.layers(inputs.contiguous(memory_format=torch.channels_last))  # a third faster on a CPU


@dataclass(frozen=True)
class Clips:
    """The shrunken frames of the widest window around transitions, each frame once.

    Attributes:
        frames: (N, C, H, W) uint8.
        places: (T, F) which of them; repeated at the ends of an episode.
        controls: (T,) class of the control.
    """

    frames: Tensor
    places: Tensor
    controls: Tensor

    def window(self, rows: Tensor, offsets: tuple[int, ...]) -> Tensor:
        """(n, F, C, H, W) uint8: the frames of the transitions `offsets` strides away from `rows`."""
        first = offsets[0] - WINDOW[0]
        return self.frames[self.places[rows, first : first + len(offsets) + 1]]


def supervised_ceilings(
    training: Transitions, controls: np.ndarray, test: Labelled, num_classes: int, num_seeds: int, seed: int
) -> dict[str, float]:
    """Share of the test transitions whose control the network names, for each of `WINDOWS`.

    Args:
        training: the transitions of training episodes.
        controls: of all of them, their class, −1 where unknown.
        test: transitions of test episodes; the same are scored as by `agreement`.
        num_classes: of controls.
        num_seeds: of the network; the mean counts.
        seed: of all draws.

    Returns:
        Accuracy by prefix of the window; without windows that have too few labels.
    """
    rows = np.flatnonzero(controls >= 0)
    rows = rows[draw_blocks(len(rows), MAX_LABELS, seed)]
    store, train = training.store, Labelled.of(training, rows, np.empty((len(rows), 0)), controls[rows])
    scored = {prefix: test.usable(offsets) for prefix, offsets in WINDOWS.items()}
    known = {prefix: train.usable(offsets) for prefix, offsets in WINDOWS.items()}
    prefixes = [key for key in WINDOWS if len(scored[key]) and len(known[key]) >= MIN_LABELS and num_seeds]
    if not prefixes:
        return {}
    fitted, held_out = (_read(store, part) for part in (train, test))
    ceilings = {}
    for prefix in prefixes:
        rights = []
        rows, test_rows = torch.from_numpy(known[prefix]), torch.from_numpy(scored[prefix])
        for number in range(num_seeds):
            network = _fit(fitted, rows, train.episode_index, WINDOWS[prefix], num_classes, [seed, number])
            rights.append(_accuracy(network, held_out, test_rows, WINDOWS[prefix]))
        ceilings[prefix] = float(np.mean(rights))
    return ceilings


def _read(store: FrameStore, labelled: Labelled) -> Clips:
    """Read and shrink the frames of the widest window around each transition."""
    steps = labelled.stride * np.arange(WINDOW[0], WINDOW[-1] + 2)
    episodes = labelled.episode_index.astype(np.int64)
    lengths = np.array([episode.num_frames for episode in store.episodes])
    wanted = (labelled.frame_index[:, None] + steps).clip(0, lengths[episodes][:, None] - 1)
    unique, places = np.unique(episodes[:, None] * lengths.max() + wanted, return_inverse=True)
    owners, numbers = unique // lengths.max(), unique % lengths.max()
    parts = []
    with progress(what="read frames for the ceiling", unit="frames", total=len(unique)) as bar:
        for owner in np.unique(owners):
            for chunk in _chunks(numbers[owners == owner]):
                parts.append(_shrink(torch.from_numpy(store.read(int(owner), chunk, False))))
                bar.update(len(chunk))
    places = torch.from_numpy(places.reshape(wanted.shape))
    return Clips(torch.cat(parts), places, torch.from_numpy(labelled.controls.astype(np.int64)))


def _chunks(numbers: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(numbers), _CHUNK):
        yield numbers[start : start + _CHUNK]


def _shrink(frames_NCHW: Tensor) -> Tensor:
    """Average uint8 frames over whole squares of pixels until no side is longer than `MAX_SIDE`."""
    factor = -(-max(frames_NCHW.shape[-2:]) // MAX_SIDE)
    if factor == 1:
        return frames_NCHW
    averaged = nn.functional.avg_pool2d(frames_NCHW.float(), factor, ceil_mode=True, count_include_pad=False)
    return averaged.round().byte()


def _fit(
    clips: Clips,
    rows: Tensor,
    episode_index: np.ndarray,
    offsets: tuple[int, ...],
    num_classes: int,
    seed: list[int],
) -> InverseDynamicsModel:
    """Train on most training episodes; the weights that are best on the others stay."""
    rng = np.random.default_rng(seed)
    episodes = rng.permutation(np.unique(episode_index[rows]))
    aside = episodes[: max(1, len(episodes) // _HELD_OUT)] if len(episodes) > 1 else episodes
    is_aside = torch.from_numpy(np.isin(episode_index[rows], aside))
    validation, rows = rows[is_aside], rows[~is_aside] if len(episodes) > 1 else rows
    steps = min(MAX_STEPS, -(-len(rows) * EPOCHS // BATCH_SIZE))
    best: tuple[float, dict[str, Tensor]] = (-1.0, {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        size = (int(clips.frames.shape[-2]), int(clips.frames.shape[-1]))
        network = InverseDynamicsModel(len(offsets) + 1, size, num_classes)

        def validate() -> None:
            nonlocal best
            accuracy = _accuracy(network, clips, validation, offsets)
            if accuracy > best[0]:
                best = accuracy, {name: value.clone() for name, value in network.state_dict().items()}

        def loss(step: int) -> Tensor:
            if step and step % max(1, steps // VALIDATIONS) == 0:
                validate()
            chosen = rows[torch.randint(len(rows), (BATCH_SIZE,))]
            logits = network.train()(clips.window(chosen, offsets))
            return nn.functional.cross_entropy(logits, clips.controls[chosen])

        what = f"fit inverse dynamics, {len(offsets) + 1} frames"
        fit(network, loss, steps, LEARNING_RATE, weight_decay=WEIGHT_DECAY, what=what)
        validate()
    network.load_state_dict(best[1])
    return network


@torch.no_grad()
def _accuracy(network: InverseDynamicsModel, clips: Clips, rows: Tensor, offsets: tuple[int, ...]) -> float:
    """Share of the transitions `rows` whose control is named correctly."""
    network.eval()
    named = torch.cat([network(clips.window(part, offsets)).argmax(1) for part in rows.split(_CHUNK)])
    return float((named == clips.controls[rows]).double().mean())
