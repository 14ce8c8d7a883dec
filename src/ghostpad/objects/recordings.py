"""Objects tracked in recordings: what the scene model and the networks are fitted to.

Dimensions: T consecutive frames, C colour channels, H W frame.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from ghostpad.frames.pairs import Transitions, read_sequence
from ghostpad.objects.detection import Object
from ghostpad.objects.scene import Scene
from ghostpad.objects.tracking import locate_next_controllable, seen_again, track, track_next
from ghostpad.progress import progress
from ghostpad.workers import map_in_order

TRANSITIONS_PER_STEP = 24  # tracked for each optimizer step of the object dynamics, at most
CHUNK = 256  # transitions of a task for one process

Task = TypeVar("Task")
Found = TypeVar("Found")


@dataclass(frozen=True)
class TrackedObject:
    """An object before a recorded transition, and what became of it.

    Attributes:
        row: of the transition.
        object: a confirmed track or the controllable object; or a small object that the next frame adds.
        displacement: (2,) pixels since it was last seen; None if it is not seen as it was, or is new.
        controllable: the controllable object at its next position; None if it is unknown or not visible.
        is_new: whether the object appears with the transition.
    """

    row: int
    object: Object
    displacement: np.ndarray | None
    controllable: Object | None = None
    is_new: bool = False


@dataclass(frozen=True)
class Recordings:
    """The recorded transitions that an object prior is fitted to.

    Attributes:
        transitions: of the training episodes.
        history: frames before a transition in which objects are tracked.
        gray: whether frames are read in gray.
        num_workers: processes.
        seed: of all draws.
    """

    transitions: Transitions
    history: int
    gray: bool
    num_workers: int = 1
    seed: int = 0

    def read(self, row: int, history: int, future: int = 0) -> np.ndarray:
        """Frames (history + future, C, H, W) uint8 around a transition, see `read_sequence`."""
        return read_sequence(self.transitions, int(row), history, future, self.gray)

    def previous(self, buttons_T: np.ndarray) -> np.ndarray:
        """Buttons (T,) of the transitions that lead to the given ones, −1 where unknown."""
        has_previous = self.transitions.frame_index >= self.transitions.stride
        return np.where(has_previous, np.roll(buttons_T, self.transitions.stride), -1)

    def in_processes(
        self, work: Callable[[Task], Found], tasks: Sequence[Task], what: str, unit: str
    ) -> list[Found]:
        """Results of the tasks, with a progress bar."""
        done = map_in_order(work, tasks, self.num_workers)
        return list(progress(done, what=what, unit=unit, total=len(tasks)))

    def in_chunks(
        self, work: Callable[[np.ndarray], list[Found]], rows: np.ndarray, what: str
    ) -> list[Found]:
        """All that `work` finds in rows, given a chunk of them at a time, in processes."""
        chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
        return [each for part in self.in_processes(work, chunks, what, "parts") for each in part]

    def sample_rows(self, num_steps: int) -> np.ndarray:
        """The transitions, ascending, in which objects are tracked for so many steps of training."""
        rng = np.random.default_rng((self.seed, num_steps))
        return np.sort(rng.permutation(len(self.transitions))[: TRANSITIONS_PER_STEP * num_steps])

    def track(self, rows: np.ndarray, scene: Scene | None = None) -> list[TrackedObject]:
        """Track objects before some transitions and through them; `scene` as far as it is fitted."""
        return self.in_chunks(partial(self._track, scene), rows, "tracking objects")

    def _track(self, scene: Scene | None, rows: np.ndarray) -> list[TrackedObject]:
        return [each for row in rows for each in outcomes(int(row), self.read(row, self.history, 1), scene)]


def outcomes(row: int, frames_TCHW: np.ndarray, scene: Scene | None = None) -> Iterator[TrackedObject]:
    """Each object of all frames but the last with what becomes of it in the last, and new small objects."""
    tracks = track(frames_TCHW[:-1], scene)
    next_objects = track_next(tracks, frames_TCHW[-1])
    if next_objects is None:
        return
    found = locate_next_controllable(tracks, frames_TCHW[-1], next_objects)
    if found is not None:
        tracks = tracks.with_controllable_at(found.position)
    for each in next_objects:
        if each.is_new and each.is_small:
            yield TrackedObject(row, each, None, tracks.controllable, is_new=True)
    seen = seen_again(next_objects)
    for index, each in enumerate(tracks.objects):
        if each.is_controllable or each.is_confirmed:
            after = found if each.is_controllable else seen.get(index)
            moved = None if after is None else after.position - each.position
            yield TrackedObject(row, each, moved, tracks.controllable)


def appearance_key(seen: Object) -> tuple:
    """What objects of the same appearance have in common."""
    color = None if seen.row_colors is not None else seen.colors[:, 0].tobytes()
    return seen.mask.shape, seen.mask.tobytes(), color
