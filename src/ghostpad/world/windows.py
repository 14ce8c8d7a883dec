"""Windows of sequences, around cells in which something moves, so that a world spends its time on motion.

Dimensions: B sequences, k frames of history, C colour channels, V pixels of a window's side, n cells of it,
h w grid.
"""

import numpy as np
import torch

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequence
from ghostpad.frames.store import FrameStore
from ghostpad.frames.windows import ANYWHERE
from ghostpad.objects.dropout import with_lapses
from ghostpad.world.sequences import Seen


def read_windows(
    transitions: Transitions,
    rows: np.ndarray,
    history: int,
    gray: bool,
    side: int,
    cell: int,
    generator: np.random.Generator,
    lapses: float = 0.0,
) -> Seen:
    """Read a window of each transition, around a cell that changes (one in ten: anywhere).

    What lies beyond the frame's lower and right edge is black. Cells at a window's border count only where it
    is the frame's.

    Args:
        transitions: to read from.
        rows: (B,) which of them.
        history: k.
        gray: whether in gray.
        side: n, at least 3 and at most the grid's.
        cell: pixels that a cell covers; windows start and end on cells.
        generator: of the draws.
        lapses: share of the windows with lapses, whose rows are −1: how hard they are is not the recording's.
    """
    store = transitions.store
    frame_size = (store.height, store.width)
    grid = tuple(-(-pixels // cell) for pixels in frame_size)
    # Cells that reach beyond the frame see black there, and in whole frames nothing: they never count.
    end = tuple(cells if pixels % cell == 0 else None for cells, pixels in zip(grid, frame_size, strict=True))
    windows, corners, counted = [], [], []
    for row in rows:
        episode, frame = int(transitions.episode_index[row]), int(transitions.frame_index[row])
        moves = _moves(store, episode, frame, frame + transitions.stride, cell)
        liking = moves + 1e-6 if generator.random() >= ANYWHERE else np.ones(grid)
        place = np.unravel_index((liking * generator.random(grid)).argmax(), grid)
        corner = np.clip(np.array(place) - generator.integers(1, side - 1, 2), 0, np.array(grid) - side)
        top, left = (int(first) * cell for first in corner)
        part = slice(top, top + side * cell), slice(left, left + side * cell)
        windows.append(_filled(read_sequence(transitions, int(row), history, 1, gray, part), side * cell))
        corners.append(corner)
        lines, columns = (_counted(int(first), side, last) for first, last in zip(corner, end, strict=True))
        counted.append(lines[:, None] & columns)
    shown = np.stack(windows)
    lapsed = with_lapses(shown, lapses, generator)
    frames = torch.from_numpy(shown).float() / 255
    placed = (torch.from_numpy(np.stack(each)) for each in (corners, counted))
    rows = np.where(lapsed, -1, rows)
    return Seen(frames[:, :-1], frames[:, -1], torch.from_numpy(rows), *placed)


def _moves(store: FrameStore, episode: int, frame: int, next_frame: int, cell: int) -> np.ndarray:
    """Cells (h, w) in which a pixel changes."""
    frames = store.array(episode)
    changed = frames[frame] != frames[next_frame]
    changed = changed.any(-1) if changed.ndim == 3 else changed
    lines = np.logical_or.reduceat(changed, np.arange(0, changed.shape[0], cell), 0)
    return np.logical_or.reduceat(lines, np.arange(0, changed.shape[1], cell), 1)


def _filled(frames_TCHW: np.ndarray, side: int) -> np.ndarray:
    """The frames in the upper left of squares that are black elsewhere."""
    height, width = frames_TCHW.shape[2:]
    if (height, width) == (side, side):
        return frames_TCHW
    return np.pad(frames_TCHW, ((0, 0), (0, 0), (0, side - height), (0, side - width)))


def _counted(first: int, side: int, end: int | None) -> np.ndarray:
    """Cells (n,) along one axis that are inside or at the frame's edge, which is the cell `end`."""
    inside = np.ones(side, bool)
    inside[0], inside[-1] = first == 0, first + side == end
    return inside
