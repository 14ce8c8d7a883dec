"""The supervised ceiling of agreement: an inverse dynamics model that names the control from the frames.

It sees the frames of the same window as the probe on the codes, and all labels of the training episodes. What
it names is about what codes could say about the control at most.

Dimensions: T transitions, N frames, F frames of a window, C colour channels, H W shrunken frame.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.probes import WINDOW, WINDOWS, Labelled
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.model.frame_format import FrameScale
from ghostpad.progress import progress
from ghostpad.training.fit import fit

MAX_SIDE = 84  # pixels; larger frames are averaged down, which keeps motion of less than a pixel
MAX_LABELS = 8192
"""Training transitions that are used at most, so that an evaluation takes a minute of two cores."""
MIN_LABELS = 128  # training transitions below which the network would be no ceiling
BATCH_SIZE = 64
EPOCHS, MAX_STEPS = 20, 400
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1e-2
VALIDATIONS = 10
"""Of a fit, each on held-out training episodes; the best weights stay (early stopping)."""
_HELD_OUT = 8  # one of so many training episodes is held out
_CHUNK = 64


class InverseDynamicsModel(nn.Module):
    """Names the control from the F frames (H, W) of a window: a small convolutional network."""

    def __init__(self, num_frames: int, size: tuple[int, ...], num_classes: int) -> None:
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
    """Windows of shrunken frames; neighbours share theirs.

    Attributes:
        frames: (N, C, H, W) uint8.
        places: (T, F) which of them; repeated at the ends of an episode.
        controls: (T,) class of the control.
        episodes: (T,) episode of each.
    """

    frames: Tensor
    places: Tensor
    controls: Tensor
    episodes: Tensor

    def of(self, rows: np.ndarray | Tensor, offsets: tuple[int, ...] = WINDOW) -> "Clips":
        """The windows of the transitions `offsets` strides away from `rows`."""
        first = offsets[0] - WINDOW[0]
        places = self.places[rows][:, first : first + len(offsets) + 1]
        return Clips(self.frames, places, self.controls[rows], self.episodes[rows])


def supervised_ceilings(
    training: Transitions, controls: np.ndarray, test: Labelled, num_classes: int, num_seeds: int, seed: int
) -> dict[str, float]:
    """Share of the test transitions whose control the network names, by prefix of `WINDOWS`.

    `controls` are the classes of all `training` transitions, −1 where unknown. The accuracy is the mean of
    `num_seeds` networks, on the test transitions that `agreement` scores. Windows with too few labels are
    left out.
    """
    rows = np.flatnonzero(controls >= 0)
    rows = rows[draw_blocks(len(rows), MAX_LABELS, seed)]
    train = Labelled.of(training, rows, np.empty((len(rows), 0)), controls[rows])
    usable = {prefix: (train.usable(offsets), test.usable(offsets)) for prefix, offsets in WINDOWS.items()}
    usable = {key: rows for key, rows in usable.items() if len(rows[0]) >= MIN_LABELS and len(rows[1])}
    if not usable or not num_seeds:
        return {}
    sides, ceilings = [_read(training.store, part) for part in (train, test)], {}
    for prefix, rows_of in usable.items():
        fitted, scored = (clips.of(rows, WINDOWS[prefix]) for clips, rows in zip(sides, rows_of, strict=True))
        networks = (_fit(fitted, num_classes, [seed, number]) for number in range(num_seeds))
        ceilings[prefix] = float(np.mean([_accuracy(network, scored) for network in networks]))
    return ceilings


def _read(store: FrameStore, labelled: Labelled) -> Clips:
    """Read and shrink the frames of the widest window around each transition."""
    steps = labelled.stride * np.arange(WINDOW[0], WINDOW[-1] + 2)
    episodes = labelled.episode_index.astype(np.int64)
    lengths = np.array([episode.num_frames for episode in store.episodes])
    wanted = (labelled.frame_index[:, None] + steps).clip(0, lengths[episodes][:, None] - 1)
    unique, places = np.unique(episodes[:, None] * lengths.max() + wanted, return_inverse=True)
    parts = []
    with progress(what="read frames for the ceiling", unit="frames", total=len(unique)) as bar:
        for owner in np.unique(episodes):
            numbers = unique[unique // lengths.max() == owner] % lengths.max()
            for chunk in np.array_split(numbers, -(-len(numbers) // _CHUNK)):
                parts.append(_shrink(torch.from_numpy(store.read(int(owner), chunk, False))))
                bar.update(len(chunk))
    columns = (places.reshape(wanted.shape), labelled.controls.astype(np.int64), episodes)
    return Clips(torch.cat(parts), *map(torch.from_numpy, columns))


def _shrink(frames_NCHW: Tensor) -> Tensor:
    """Average uint8 frames over whole squares of pixels until no side is longer than `MAX_SIDE`."""
    scale = FrameScale(-(-max(frames_NCHW.shape[-2:]) // MAX_SIDE), picks=False)
    return scale.shrink(frames_NCHW.float()).round().byte()


def _fit(clips: Clips, num_classes: int, seed: list[int]) -> InverseDynamicsModel:
    """Train on most training episodes; the weights that are best on the others stay."""
    rng = np.random.default_rng(seed)
    episodes = rng.permutation(np.unique(clips.episodes))
    aside = torch.from_numpy(episodes[: max(1, len(episodes) // _HELD_OUT)])
    held_out = torch.isin(clips.episodes, aside)
    train, validation = (clips.of(~held_out), clips.of(held_out)) if len(episodes) > 1 else (clips, clips)
    steps = min(MAX_STEPS, -(-len(train.controls) * EPOCHS // BATCH_SIZE))
    best: tuple[float, dict[str, Tensor]] = (-1.0, {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network = InverseDynamicsModel(clips.places.shape[1], tuple(clips.frames.shape[-2:]), num_classes)

        def validate() -> None:
            nonlocal best
            accuracy = _accuracy(network, validation)
            if accuracy > best[0]:
                best = accuracy, {name: value.clone() for name, value in network.state_dict().items()}

        def loss(step: int) -> Tensor:
            if step and step % max(1, steps // VALIDATIONS) == 0:
                validate()
            rows = torch.randint(len(train.controls), (BATCH_SIZE,))
            logits = network.train()(train.frames[train.places[rows]])
            return nn.functional.cross_entropy(logits, train.controls[rows])

        what = f"fit inverse dynamics to {clips.places.shape[1]} frames"
        fit(network, loss, steps, LEARNING_RATE, weight_decay=WEIGHT_DECAY, what=what)
        validate()
    network.load_state_dict(best[1])
    return network


@torch.no_grad()
def _accuracy(network: InverseDynamicsModel, clips: Clips) -> float:
    """Share of the transitions whose control is named correctly."""
    network.eval()
    named = torch.cat([network(clips.frames[part]).argmax(1) for part in clips.places.split(_CHUNK)])
    return float((named == clips.controls).double().mean())
