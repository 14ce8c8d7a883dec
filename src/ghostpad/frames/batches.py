"""Batches of transitions for training: frames as palette indices near the device, coloured there.

Dimensions: B batch, C colour channels (1 or 3), H W frame, P palette size.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.luma import tensor_luma


@dataclass(frozen=True)
class Batch:
    """What every latent action model is trained on: B transitions.

    Attributes:
        frames: (B, C, H, W) float32 in [0, 1].
        next_frames: (B, C, H, W) float32 in [0, 1].
        colors: (B, H, W) int64 palette indices of `frames`, or None when the store has no palette.
        next_colors: (B, H, W) int64 palette indices of `next_frames`, or None.
    """

    frames: Tensor
    next_frames: Tensor
    colors: Tensor | None = None
    next_colors: Tensor | None = None


def training_palette(store: FrameStore, grayscale: bool) -> np.ndarray | None:
    """Distinct colours of a store as a model sees them: (P, C) uint8, ascending; None without a palette.

    In grayscale several colours may fall together, so P can be smaller than the store's palette.
    """
    colors = store.colors(grayscale)
    return None if colors is None else np.unique(colors, axis=0)


class BatchLoader:
    """Serves batches of transitions of one split.

    On a CPU the store's memory map is the bank. On a GPU all frames of the split lie on the device as bytes
    when they fit into `budget_gb`; otherwise the two frames of each pair go over as pinned bytes, and a
    thread reads those that are announced by `prefetch` while the device computes.

    Args:
        transitions: of one split.
        grayscale: one channel instead of three.
        device: where batches are wanted.
        budget_gb: GiB that frames may take on a GPU.
        ahead: whether a thread reads ahead; when not given, where it helps.
    """

    def __init__(
        self,
        transitions: Transitions,
        grayscale: bool,
        device: torch.device,
        budget_gb: float = 8.0,
        ahead: bool | None = None,
    ) -> None:
        self.transitions, self.grayscale, self.device = transitions, grayscale, device
        self.store = transitions.store
        palette = training_palette(self.store, grayscale)
        self.palette = None if palette is None else torch.from_numpy(palette).to(device).float() / 255
        self.remap = None if palette is None else self._remap(palette).to(device)
        episodes = np.unique(transitions.episode_index)
        self.starts = np.zeros(len(self.store.episodes), np.int64)
        lengths = [self.store.episodes[episode].num_frames for episode in episodes]
        self.starts[episodes] = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        num_bytes = sum(self.store.array(int(episode)).nbytes for episode in episodes)
        self.resident: Tensor | None = None
        if device.type != "cpu" and num_bytes <= budget_gb * 2**30:
            parts = [torch.from_numpy(np.array(self.store.array(int(e)))).to(device) for e in episodes]
            self.resident = torch.cat(parts)
        helps = device.type != "cpu" and self.resident is None
        self.thread = ThreadPoolExecutor(1, "frames") if (helps if ahead is None else ahead) else None
        self._expected: dict[bytes, Future[tuple[Tensor, Tensor]]] = {}

    def __len__(self) -> int:
        return len(self.transitions)

    def _remap(self, palette: np.ndarray) -> Tensor:
        colors = self.store.colors(self.grayscale)
        assert colors is not None
        matches = (colors[:, None, :] == palette[None]).all(-1)
        return torch.from_numpy(matches.argmax(1))

    def batch(self, rows: np.ndarray) -> Batch:
        """Return the transitions `rows` (positions in the split) as a batch on the device."""
        expected = self._expected.pop(rows.tobytes(), None)
        raw, next_raw = self._fetch(rows) if expected is None else expected.result()
        return self._color(*(part.to(self.device, non_blocking=True) for part in (raw, next_raw)))

    def prefetch(self, rows: np.ndarray) -> None:
        """Announce a batch that will be wanted soon, so that it can be read meanwhile."""
        if self.thread is not None and rows.tobytes() not in self._expected:
            self._expected[rows.tobytes()] = self.thread.submit(self._fetch, rows)

    def _fetch(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Frames and next frames as stored: on the device when they are resident, else in (pinned) memory."""
        episodes = self.transitions.episode_index[rows].astype(np.int64)
        frames = self.transitions.frame_index[rows].astype(np.int64)
        return self._raw(episodes, frames), self._raw(episodes, frames + self.transitions.stride)

    def _raw(self, episodes: np.ndarray, frames: np.ndarray) -> Tensor:
        if self.resident is not None:
            rows = torch.from_numpy(self.starts[episodes] + frames).to(self.device, non_blocking=True)
            return self.resident[rows]
        arrays = [self.store.array(int(e))[int(f)] for e, f in zip(episodes, frames, strict=True)]
        raw = torch.from_numpy(np.stack(arrays))
        return raw.pin_memory() if self.device.type == "cuda" else raw

    def _color(self, raw: Tensor, next_raw: Tensor) -> Batch:
        if self.palette is None or self.remap is None:
            return Batch(self._to_channels(raw), self._to_channels(next_raw))
        colors, next_colors = self.remap[raw.long()], self.remap[next_raw.long()]
        return Batch(_paint(self.palette, colors), _paint(self.palette, next_colors), colors, next_colors)

    def _to_channels(self, raw: Tensor) -> Tensor:
        """(B, H, W) or (B, H, W, 3) bytes → (B, C, H, W) in [0, 1]."""
        if raw.ndim == 3:
            frames = raw[:, None].float() / 255
            return frames if self.grayscale else frames.expand(-1, 3, -1, -1)
        frames = raw.permute(0, 3, 1, 2)
        return (tensor_luma(frames) if self.grayscale else frames).float() / 255


def _paint(palette_PC: Tensor, colors_BHW: Tensor) -> Tensor:
    if palette_PC.shape[1] == 1:
        return palette_PC[:, 0][colors_BHW][:, None]
    return palette_PC[colors_BHW].permute(0, 3, 1, 2).contiguous()
