"""Sequences of recorded frames, and the world's own rollouts beside them.

Dimensions: B sequences, k frames of history, L frames that follow, C colour channels, H W frame.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequences


@dataclass(frozen=True)
class WorldBatch:
    """What a world model is trained on.

    Attributes:
        history: (B, k, C, H, W) float32 in [0, 1], recorded, or what the world made of it in a rollout.
        next_frames: (B, L, C, H, W) float32 in [0, 1], recorded.
        temperature: of the assignment of buttons while they are being found; None when they are settled.
        labelled: a few recorded transitions whose controls are known, see `Labelled`.
        rows: (B,) the training transitions that these are, to keep count of what is hard; None elsewhere.
        held: (B,) the button of each, −1 where it is to be inferred; None where all are.
        windows: recorded transitions beside these, of which only parts are seen.
        lives: whether these are rollouts, which go on from what is predicted.
    """

    history: Tensor
    next_frames: Tensor
    temperature: float | None = None
    rows: Tensor | None = None
    labelled: "Labelled | None" = None
    held: Tensor | None = None
    windows: "Seen | None" = None
    lives: bool = False


@dataclass(frozen=True)
class Seen:
    """Transitions to learn from: whole frames, or windows of them.

    Attributes:
        history: (B, k, C, H, W) float32 in [0, 1]; of windows H and W are their sides.
        next_frames: (B, C, H, W) float32 in [0, 1].
        rows: (B,) the training transitions that these are; None elsewhere.
        corners: (B, 2) int64, row and column of the first cell of each window; None for whole frames.
        counted: (B, n, n) bool, cells of windows that see enough around them to be learned from; None for
            whole frames.
        held: (B,) int64, the button of each, −1 where it is to be inferred; None where all are.
    """

    history: Tensor
    next_frames: Tensor
    rows: Tensor | None = None
    corners: Tensor | None = None
    counted: Tensor | None = None
    held: Tensor | None = None

    @property
    def told(self) -> Tensor | None:
        """The buttons, where those of all are known."""
        return self.held if self.held is not None and bool((self.held >= 0).all()) else None

    def to(self, device: torch.device) -> "Seen":
        """The same on another device."""
        others = (self.rows, self.corners, self.counted, self.held)
        moved = (None if part is None else part.to(device) for part in others)
        return Seen(self.history.to(device), self.next_frames.to(device), *moved)


@dataclass(frozen=True)
class Labelled:
    """Recorded transitions with controls.

    Attributes:
        history: (B, k, C, H, W) float32 in [0, 1].
        next_frames: (B, C, H, W) float32 in [0, 1].
        controls: (B,) int64, number of the control that was held.
        rest: the control that means that nothing is pressed.
        rows: (B,) the training transitions that these are; None elsewhere.
    """

    history: Tensor
    next_frames: Tensor
    controls: Tensor
    rest: int
    rows: Tensor | None = None


class Practice(nn.Module):
    """How hard each training transition was when last met, so that hard ones are met oftener.

    Nearly all transitions of a game are free flight. What a world is bad at (a bounce, a ball that is lost, a
    serve) is rare, and is learned late when all are shown alike. Prioritized, after Schaul et al. 2016
    (https://arxiv.org/abs/1511.05952), but of half a batch only, so that no transition is forgotten and what
    cannot be predicted at all does not take over.

    Args:
        num_rows: training transitions.
    """

    MOST = 20.0
    """Surprise (nats) above which all is equally hard."""
    hardness: Tensor

    def __init__(self, num_rows: int) -> None:
        super().__init__()
        self.register_buffer("hardness", torch.zeros(num_rows))

    @torch.no_grad()
    def record(self, rows_B: Tensor, surprise_B: Tensor) -> None:
        """Keep the surprise (B,), nats, of the codes of transitions `rows_B`.

        What was hard stays half as hard at least: a window may have shown another part of it. Rows below 0
        are left out.
        """
        known = rows_B >= 0
        rows_B, surprise_B = rows_B[known], surprise_B[known]
        self.hardness[rows_B] = surprise_B.float().clamp_max(self.MOST).maximum(self.hardness[rows_B] / 2)

    def choose(
        self, rows_B: np.ndarray, generator: np.random.Generator, among: np.ndarray | None = None
    ) -> np.ndarray:
        """Replace the first half of `rows_B` by transitions drawn in proportion to how hard they were.

        Args:
            rows_B: transitions, each as likely as any other.
            generator: of the draw.
            among: the transitions that may be drawn; all when not given.
        """
        hardness = self.hardness.cpu().numpy().astype(np.float64)
        sums = (hardness if among is None else hardness[among]).cumsum()
        half = len(rows_B) // 2
        if not sums[-1] or not half:
            return rows_B
        drawn = np.searchsorted(sums, generator.random(half) * sums[-1], side="right").clip(0, len(sums) - 1)
        return np.concatenate([drawn if among is None else among[drawn], rows_B[half:]])


class Rollouts(nn.Module):
    """The worlds of a training batch, each living on in its own predictions beside its recording.

    A world is a teacher's pupil only as long as it stays near the recording: once its frames differ too much
    for some time (after a bounce that went the other way, the recording is no lesson any more), at the end of
    the recorded episode, and now and then by chance, it starts afresh from another recorded transition. It is
    given that time to learn how to find back, as when it forgot to draw the paddle. All that it needs to go
    on is in its buffers, and so in the checkpoint.

    Args:
        transitions: of the training episodes.
        shape: (B, k, C, H, W).
        divergence_db: PSNR against the recording below which a frame differs too much.
        mean_length: transitions after which a world that stays true starts afresh, on average.
        patience: frames in a row that may differ too much.
    """

    history: Tensor
    rows: Tensor
    num_off: Tensor

    def __init__(
        self,
        transitions: Transitions,
        shape: tuple[int, ...],
        divergence_db: float,
        mean_length: float,
        patience: int = 0,
    ) -> None:
        super().__init__()
        self.transitions = transitions
        self.largest_error = 255**2 * 10 ** (-divergence_db / 10)
        self.mean_length, self.patience = mean_length, patience
        self.practice = Practice(len(transitions))
        self.register_buffer("history", torch.zeros(shape, dtype=torch.uint8))
        # The transition that each world is before; −1 before the first.
        self.register_buffer("rows", torch.full((shape[0],), -1, dtype=torch.int64))
        self.register_buffer("num_off", torch.zeros(shape[0], dtype=torch.int64))

    def before_hard_ones(self, rows_B: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Rows (B,) to begin at: half of `rows_B`, and for the others some steps before what is hard."""
        chosen = self.practice.choose(rows_B, generator)
        back = generator.integers(0, self.history.shape[1] + 1, len(rows_B)) * self.transitions.stride
        return np.where(chosen == rows_B, rows_B, chosen - np.minimum(back, self._frames(chosen)))

    def _frames(self, rows: np.ndarray) -> np.ndarray:
        """How many transitions of its episode lie before each row, as far as whole strides go."""
        frames = self.transitions.frame_index[rows].astype(np.int64)
        return frames - frames % self.transitions.stride

    def next_batch(self, fresh_rows: np.ndarray, generator: np.random.Generator) -> WorldBatch:
        """Where the worlds are, and what their recordings say; lost ones begin at `fresh_rows` (B,)."""
        gray, length = self.history.shape[2] == 1, self.history.shape[1]
        rows = self.rows.cpu().numpy()
        chance = generator.random(len(rows)) < 1 / self.mean_length
        recorded = read_sequences(self.transitions, np.maximum(rows, 0), 1, 1, gray).to(self.history.device)
        error_B = (self.history[:, -1].float() - recorded[:, 0].float()).square().flatten(1).mean(1)
        self.num_off.copy_((self.num_off + 1) * (error_B > self.largest_error))
        lost = (self.num_off > self.patience).cpu().numpy() | (rows < 0) | chance
        next_frames = recorded[:, 1:]
        if lost.any():
            rows = np.where(lost, fresh_rows, rows)
            anew = read_sequences(self.transitions, rows[lost], length, 1, gray).to(self.history.device)
            places = torch.from_numpy(lost.nonzero()[0]).to(anew.device)
            self.history[places], next_frames[places] = anew[:, :-1], anew[:, -1:]
            self.num_off[places] = 0
            self.rows.copy_(torch.from_numpy(rows))
        seen, follows = self.history.float() / 255, next_frames.float() / 255
        return WorldBatch(seen, follows, rows=self.rows.clone(), lives=True)

    def advance(self, predicted_BCHW: Tensor) -> None:
        """Take up what the worlds predicted, in [0, 1]; one whose recording ends here is lost."""
        newest = (predicted_BCHW * 255).round().to(torch.uint8)
        self.history.copy_(torch.cat([self.history[:, 1:], newest[:, None]], 1))
        rows = self.rows.cpu().numpy()
        following, episodes = rows + self.transitions.stride, self.transitions.episode_index
        inside = following < len(episodes)
        inside[inside] = episodes[following[inside]] == episodes[rows[inside]]
        self.rows.copy_(torch.from_numpy(np.where(inside, following, -1)))
