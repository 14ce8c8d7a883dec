"""What a world model is trained on: batches, prioritized sampling, and rollouts kept between steps.

Dimensions: B sequences, k frames of history, L frames that follow, C colour channels, H W frame.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.buttons.assignment import MAX_CONTROLS
from ghostpad.buttons.control_map import noop_control
from ghostpad.errors import UserError
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions, read_sequences


@dataclass(frozen=True)
class WorldBatch:
    """What a world model is trained on in one step.

    Attributes:
        history: (B, k, C, H, W) uint8, recorded frames, or the world's own in a rollout.
        next_frames: (B, L, C, H, W) uint8, recorded.
        rows: (B,) the training transitions, −1 for augmented ones; None outside training.
        buttons: (B,) the button of each, −1 where it is to be inferred; None where all are.
        temperature: of the assignment to buttons while these are inferred; None afterwards.
        labelled: a few transitions whose controls are known.
        is_rollout: whether these are rollouts, which go on from what is predicted.
    """

    history: np.ndarray
    next_frames: np.ndarray
    rows: Tensor | None = None
    buttons: Tensor | None = None
    temperature: float | None = None
    labelled: "LabelledBatch | None" = None
    is_rollout: bool = False

    @property
    def given_buttons(self) -> Tensor | None:
        """The buttons, where those of all transitions are known."""
        return self.buttons if self.buttons is not None and bool((self.buttons >= 0).all()) else None


@dataclass(frozen=True)
class LabelledBatch:
    """Recorded transitions with controls.

    Attributes:
        history: (B, k, C, H, W) uint8.
        next_frames: (B, C, H, W) uint8.
        controls: (B,) int64, number of the control that was held.
        noop: the control that stands for pressing nothing.
        rows: (B,) the training transitions.
    """

    history: np.ndarray
    next_frames: np.ndarray
    controls: Tensor
    noop: int
    rows: Tensor


OBJECTS_DIVERGENCE_DB = 43.0
"""PSNR below which a frame of a rollout differs too much, with the object prior."""
COPIED = 512  # transitions whose frames are compared for `RolloutBuffer.limit_divergence`


@dataclass(frozen=True)
class Labels:
    """Training transitions whose control is known, or whose button was inferred beforehand.

    Attributes:
        rows: which these are, ascending.
        controls: number of the control of every transition, −1 where it is not known.
        noop: the control that stands for pressing nothing.
    """

    rows: np.ndarray
    controls: np.ndarray
    noop: int

    @property
    def occurring(self) -> list[int]:
        """Controls that occur, ascending."""
        return np.unique(self.controls[self.rows]).tolist()

    def fit_buttons(self, num_buttons: int) -> bool:
        """Whether each control can have the button of its own number."""
        return max(self.occurring) < num_buttons


def draw_labels(transitions: Transitions, num: int, seed: int) -> Labels:
    """Draw `num` transitions and read their controls; a UserError if none, or too many, were recorded."""
    rows = np.random.default_rng(seed).permutation(len(transitions))[:num]
    read = read_controls(transitions, rows, directions=False)
    if read is None or not (read[0] >= 0).any() or len(read[1]) > MAX_CONTROLS:
        raise UserError(f"--labels: {transitions.store.path} has no recorded controls; leave it out")
    known = read[0] >= 0
    counts = np.bincount(read[0][known], minlength=len(read[1]))
    controls = np.full(len(transitions), -1, np.int64)
    controls[rows] = read[0]
    return Labels(np.sort(rows[known]), controls, noop_control(read[1], counts))


class PrioritizedSampling(nn.Module):
    """How hard each training transition was when last seen, so that hard ones are drawn more often.

    Most transitions of a game are easy; what a world gets wrong (a bounce, a new life) is rare and is learned
    late under uniform sampling. Prioritized replay (https://arxiv.org/abs/1511.05952) of half a batch, so
    that no transition is forgotten and unpredictable ones do not take over.
    """

    MOST = 20.0
    """Negative log-likelihood, nats, above which all transitions are equally hard."""
    priority: Tensor

    def __init__(self, num_rows: int) -> None:
        super().__init__()
        self.register_buffer("priority", torch.zeros(num_rows))

    @torch.no_grad()
    def record(self, rows_B: Tensor, nll_B: Tensor) -> None:
        """Keep the nll (B,), nats, of transitions; a priority at most halves. Negative rows are skipped."""
        known = rows_B >= 0
        rows_B, nll_B = rows_B[known], nll_B[known]
        self.priority[rows_B] = nll_B.float().clamp_max(self.MOST).maximum(self.priority[rows_B] / 2)

    def choose(
        self, rows_B: np.ndarray, generator: np.random.Generator, among: np.ndarray | None = None
    ) -> np.ndarray:
        """Replace half of the uniform draws `rows_B` by others (of `among`), in proportion to priority."""
        priority = self.priority.cpu().numpy().astype(np.float64)
        sums = (priority if among is None else priority[among]).cumsum()
        half = len(rows_B) // 2
        if not sums[-1] or not half:
            return rows_B
        drawn = np.searchsorted(sums, generator.random(half) * sums[-1], side="right").clip(0, len(sums) - 1)
        return np.concatenate([drawn if among is None else among[drawn], rows_B[half:]])


class RolloutBuffer(nn.Module):
    """The worlds of a training batch, each running on its own predictions beside its recording.

    A rollout is restarted from another recorded transition when its frames differ from the recording by a
    PSNR below `divergence_db` for more than `patience` frames in a row (after a bounce that went the other
    way the recording is no target any more), at the end of the recorded episode, and by chance after
    `mean_length` transitions on average. All state is in buffers of `shape` (B, k, C, H, W), and so in the
    checkpoint. Where `divergence_db` is not given, `limit_divergence` may set the limit later.
    """

    history: Tensor
    rows: Tensor
    num_off: Tensor

    def __init__(
        self,
        transitions: Transitions,
        shape: tuple[int, ...],
        divergence_db: float | None,
        mean_length: float,
        patience: int = 0,
    ) -> None:
        super().__init__()
        self.transitions = transitions
        limit_db = OBJECTS_DIVERGENCE_DB if divergence_db is None else divergence_db
        self.largest_error = 255**2 * 10 ** (-limit_db / 10)
        self.mean_length, self.patience = mean_length, patience
        self.sampling = PrioritizedSampling(len(transitions))
        self.register_buffer("history", torch.zeros(shape, dtype=torch.uint8))
        # The transition that comes next in each rollout; −1 before the first.
        self.register_buffer("rows", torch.full((shape[0],), -1, dtype=torch.int64))
        self.register_buffer("num_off", torch.zeros(shape[0], dtype=torch.int64))

    def limit_divergence(self, generator: np.random.Generator) -> None:
        """Let a frame differ at most as much as recorded frames differ from the ones before them."""
        some = generator.integers(0, len(self.transitions), COPIED)
        pairs = read_sequences(self.transitions, np.sort(some), 1, 1, self.history.shape[2] == 1)
        self.largest_error = float(np.square(np.diff(pairs.astype(np.float32), axis=1)).mean())

    def before_hard_transitions(self, rows_B: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Rows (B,) to start at: half of `rows_B`, and for the others some steps before a hard transition."""
        chosen = self.sampling.choose(rows_B, generator)
        stride = self.transitions.stride
        back = generator.integers(0, self.history.shape[1] + 1, len(rows_B)) * stride
        frames = self.transitions.frame_index[chosen].astype(np.int64)
        return np.where(chosen == rows_B, rows_B, chosen - np.minimum(back, frames - frames % stride))

    def next_batch(self, fresh_rows: np.ndarray, generator: np.random.Generator) -> WorldBatch:
        """Where the rollouts are, and the recorded frames that follow; restarts begin at `fresh_rows`."""
        gray, length = self.history.shape[2] == 1, self.history.shape[1]
        history, rows = self.history.cpu().numpy().copy(), self.rows.cpu().numpy()
        chance = generator.random(len(rows)) < 1 / self.mean_length
        recorded = read_sequences(self.transitions, np.maximum(rows, 0), 1, 1, gray)
        difference = history[:, -1].astype(np.float32) - recorded[:, 0]
        is_off = torch.from_numpy(np.square(difference).mean((1, 2, 3)) > self.largest_error)
        self.num_off.copy_((self.num_off + 1) * is_off.to(self.num_off.device))
        restarts = (self.num_off > self.patience).cpu().numpy() | (rows < 0) | chance
        next_frames = recorded[:, 1:].copy()
        if restarts.any():
            rows = np.where(restarts, fresh_rows, rows)
            fresh = read_sequences(self.transitions, rows[restarts], length, 1, gray)
            history[restarts], next_frames[restarts] = fresh[:, :-1], fresh[:, -1:]
            self.history.copy_(torch.from_numpy(history))
            self.num_off[torch.from_numpy(restarts).to(self.num_off.device)] = 0
            self.rows.copy_(torch.from_numpy(rows))
        return WorldBatch(history, next_frames, self.rows.clone(), is_rollout=True)

    def advance(self, predicted_BCHW: np.ndarray) -> None:
        """Append the predicted frames (uint8); a rollout whose recording ends here is restarted next time."""
        newest = torch.from_numpy(predicted_BCHW).to(self.history.device)
        self.history.copy_(torch.cat([self.history[:, 1:], newest[:, None]], 1))
        rows = self.rows.cpu().numpy()
        next_rows, episodes = rows + self.transitions.stride, self.transitions.episode_index
        inside = next_rows < len(episodes)
        inside[inside] = episodes[next_rows[inside]] == episodes[rows[inside]]
        self.rows.copy_(torch.from_numpy(np.where(inside, next_rows, -1)))
