"""Batches of transitions for training, coloured on the device that trains, and windows cut from them.

Dimensions: B batch, C colour channels (1 or 3), H W frame, V U window, P palette size.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.luma import tensor_luma

ANYWHERE = 0.1  # share of the windows that are drawn anywhere, changing pixel or not


@dataclass(frozen=True)
class Batch:
    """B transitions.

    Attributes:
        frames: (B, T·C, H, W) float32 in [0, 1]: T frames of history, oldest first, the current one last.
        next_frames: (B, C, H, W) float32 in [0, 1].
        colors: (B, H, W) int64 indices of the current frames in the training palette, or None without one.
        next_colors: (B, H, W) int64 indices of `next_frames`, or None.
    """

    frames: Tensor
    next_frames: Tensor
    colors: Tensor | None = None
    next_colors: Tensor | None = None

    @property
    def current(self) -> Tensor:
        """(B, C, H, W): the current frames without their history."""
        return self.frames[:, -self.next_frames.shape[1] :]


def training_palette(store: FrameStore, grayscale: bool) -> np.ndarray | None:
    """Distinct colours of a store as a model sees them: (P, C) uint8, ascending; None without a palette.

    In grayscale several colours may have the same luma, so P can be smaller than the store's palette.
    """
    colors = store.colors(grayscale)
    return None if colors is None else np.unique(colors, axis=0)


class BatchLoader:
    """Loads batches of transitions of one split.

    On a CPU frames are read from the store's memory map. On a GPU all frames of the split are copied to the
    device once if they fit into `budget_gb` GiB; otherwise the two frames of each pair are copied from pinned
    memory, and a thread reads the batches announced by `prefetch` while the device computes. `ahead` says
    whether there is such a thread; by default only where it helps.
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
        self.store = store = transitions.store
        colors = store.colors(grayscale)
        self.palette: Tensor | None = None
        self._remap: Tensor | None = None
        self._resident: Tensor | None = None
        if colors is not None:
            palette, remap = np.unique(colors, axis=0, return_inverse=True)
            self.palette = torch.from_numpy(palette).to(device).float() / 255
            self._remap = torch.from_numpy(remap.reshape(-1)).to(device)
        episodes = np.unique(transitions.episode_index).tolist()
        lengths = [store.episodes[episode].num_frames for episode in episodes]
        self._starts = np.zeros(len(store.episodes), np.int64)
        self._starts[episodes] = np.cumsum([0, *lengths[:-1]])
        num_bytes = sum(store.array(episode).nbytes for episode in episodes)
        if device.type != "cpu" and num_bytes <= budget_gb * 2**30:
            arrays = [torch.from_numpy(np.array(store.array(episode))) for episode in episodes]
            self._resident = torch.cat([array.to(device) for array in arrays])
        if ahead is None:
            ahead = device.type != "cpu" and self._resident is None
        self.thread = ThreadPoolExecutor(1, "frames") if ahead else None
        self._prefetched: dict[bytes, Future[tuple[Tensor, Tensor]]] = {}

    def __len__(self) -> int:
        return len(self.transitions)

    def batch(self, rows: np.ndarray) -> Batch:
        """Load the transitions `rows` (positions in the split) as a batch on the device."""
        prefetched = self._prefetched.pop(rows.tobytes(), None)
        raw, next_raw = self._fetch(rows) if prefetched is None else prefetched.result()
        (frames, colors), (next_frames, next_colors) = (
            self._paint(part.to(self.device, non_blocking=True)) for part in (raw, next_raw)
        )
        return Batch(frames, next_frames, colors, next_colors)

    def prefetch(self, rows: np.ndarray) -> None:
        """Announce a batch that will be needed soon, so that a thread can read it in the meantime."""
        if self.thread is not None and rows.tobytes() not in self._prefetched:
            self._prefetched[rows.tobytes()] = self.thread.submit(self._fetch, rows)

    def _fetch(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Frames (B, T, …) and next frames (B, 1, …) as stored: on the device if resident, else in memory."""
        episodes = self.transitions.episode_index[rows].astype(np.int64)
        frames, next_frames = self.transitions.indices(rows)
        return self._raw(episodes, frames), self._raw(episodes, next_frames[:, None])

    def _raw(self, episodes_B: np.ndarray, frames_BT: np.ndarray) -> Tensor:
        if self._resident is not None:
            rows = torch.from_numpy(self._starts[episodes_B][:, None] + frames_BT)
            return self._resident[rows.to(self.device, non_blocking=True)]
        arrays = [self.store.array(int(e))[f] for e, f in zip(episodes_B, frames_BT, strict=True)]
        raw = torch.from_numpy(np.stack(arrays))
        return raw.pin_memory() if self.device.type == "cuda" else raw

    def _paint(self, raw: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, T, H, W[, 3]) bytes to (B, T·C, H, W) in [0, 1], and indices (B, H, W) of the last frame."""
        flat, colors = raw.flatten(0, 1), None
        if self.palette is not None and self._remap is not None:
            indices = self._remap[flat.long()]
            colors = indices.view(raw.shape)[:, -1]
            if self.palette.shape[1] == 1:
                frames = self.palette[:, 0][indices][:, None]
            else:
                frames = self.palette[indices].permute(0, 3, 1, 2).contiguous()
        elif flat.ndim == 3:
            frames = flat[:, None].float() / 255
            frames = frames if self.grayscale else frames.expand(-1, 3, -1, -1)
        else:
            frames = flat.permute(0, 3, 1, 2)
            frames = (tensor_luma(frames) if self.grayscale else frames).float() / 255
        return frames.reshape(len(raw), -1, *frames.shape[2:]), colors


def check_windows(window: tuple[int, int], size: tuple[int, int], cell: int) -> None:
    """Refuse windows (V, U) that do not fit frames of `size` (H, W) on a grid of `cell` pixels.

    Raises:
        UserError: a side is not a multiple of `cell`, or larger than the frame, or only one is given.
    """
    for name, side, whole in zip(("height", "width"), window, size, strict=True):
        if side % cell or side > whole:
            raise UserError(
                f"--windows.{name} {side}: must be a multiple of {cell} and at most {whole}, or 0"
            )
    if bool(window[0]) != bool(window[1]):
        raise UserError("--windows.height and --windows.width go together; give both, or 0 for whole frames")


def cut_windows(batch: Batch, window: tuple[int, int], cell: int, generator: torch.Generator) -> Batch:
    """Cut one window (V, U) from each transition, around a changing pixel (one in ten: anywhere).

    Windows start at multiples of `cell`, so that the grid of a window is a part of the frame's grid. The
    generator is on the CPU or on the batch's device.
    """
    changed_BHW = (batch.current != batch.next_frames).any(1)
    size, device = changed_BHW.shape, changed_BHW.device
    anywhere = torch.rand(size[0], 1, 1, generator=generator, device=generator.device) < ANYWHERE
    draws = torch.rand(size, generator=generator, device=generator.device).to(device)
    preference = torch.where(anywhere.to(device), 1.0, changed_BHW + 1e-6)
    place_B = (draws * preference).flatten(1).argmax(1)
    offset = torch.rand(2, size[0], generator=generator, device=generator.device).to(device)
    rows = _span(place_B // size[2], offset[0], window[0], size[1], cell)
    columns = _span(place_B % size[2], offset[1], window[1], size[2], cell)
    index = (torch.arange(size[0], device=device)[:, None, None], rows[:, :, None], columns[:, None, :])
    frames, next_frames = (
        part.permute(0, 2, 3, 1)[index].permute(0, 3, 1, 2) for part in (batch.frames, batch.next_frames)
    )
    colors, next_colors = (
        part if part is None else part[index] for part in (batch.colors, batch.next_colors)
    )
    return Batch(frames, next_frames, colors, next_colors)


def _span(place_B: Tensor, offset_B: Tensor, side: int, whole: int, cell: int) -> Tensor:
    """(B, side) indices of spans that start on a cell and contain the place, as far as the edge allows."""
    before = (offset_B * (side - cell + 1)).long()
    start = torch.div(place_B - before, cell, rounding_mode="floor") * cell
    start = start.clamp(0, (whole - side) // cell * cell)
    return start[:, None] + torch.arange(side, device=place_B.device)
