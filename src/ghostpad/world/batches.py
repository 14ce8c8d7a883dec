"""What a world is taught at each step of its training.

Dimensions: B transitions, k frames of history, C colour channels, H W frame.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ghostpad.buttons.assignment import MAX_CONTROLS
from ghostpad.buttons.control_map import noop_control
from ghostpad.errors import UserError
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequences
from ghostpad.model.encoder import grid_sizes
from ghostpad.model.latent_action_model import LatentActionModelConfig
from ghostpad.objects.dropout import with_lapses
from ghostpad.world.config import WorldConfig
from ghostpad.world.learner import LearningWorld
from ghostpad.world.sequences import Labelled, Seen, WorldBatch
from ghostpad.world.windows import read_windows
from ghostpad.world.world_model import cell_of

WHOLE_SHARE = 4
"""Transitions seen through windows for each that is seen whole."""
FINDING_SHARE = 2
"""Transitions of a batch for each that is seen whole while buttons are found."""


@dataclass(frozen=True)
class Labels:
    """Training transitions whose control is known, or whose button was found.

    Attributes:
        rows: which these are, ascending.
        controls: number of the control of every transition, −1 where it is not known.
        rest: the control that means that nothing is pressed.
    """

    rows: np.ndarray
    controls: np.ndarray
    rest: int

    @property
    def heard(self) -> list[int]:
        """Controls that occur, ascending."""
        return np.unique(self.controls[self.rows]).tolist()

    def can_name(self, num_buttons: int) -> bool:
        """Whether each control can have the button of its own number."""
        return max(self.heard) < num_buttons


def draw_labels(transitions: Transitions, num: int, seed: int) -> Labels:
    """Draw `num` transitions and read their controls.

    Raises:
        UserError: nobody recorded controls beside these frames, or they are too many.
    """
    rows = np.random.default_rng(seed).permutation(len(transitions))[:num]
    read = read_controls(transitions, rows, directions=False)
    if read is None or not (read[0] >= 0).any() or len(read[1]) > MAX_CONTROLS:
        raise UserError(f"--labels: {transitions.store.path} has no controls beside its frames; leave it out")
    known = read[0] >= 0
    usual = np.bincount(read[0][known], minlength=len(read[1]))
    controls = np.full(len(transitions), -1, np.int64)
    controls[rows] = read[0]
    return Labels(np.sort(rows[known]), controls, noop_control(read[1], usual))


def cell_for_windows(config: WorldConfig, model: LatentActionModelConfig) -> int:
    """Pixels that a cell covers, of the source; 0 where every transition is to be seen whole."""
    # A code of a cell must depend on the cells around it alone: residual blocks look further.
    encoder, levels = model.architecture.encoder, len(model.architecture.encoder.widths)
    rows, columns = grid_sizes(*model.frames.inner_size, levels)[-1]
    fits = encoder.tokens is None and not any(encoder.blocks) and 2**levels == config.dynamics.stride
    if not config.window or not fits or config.window > min(rows, columns):
        return 0
    return cell_of(model)


def num_rollouts(config: WorldConfig, cell: int) -> int:
    """Worlds that live on in their own predictions, and whole frames before these begin."""
    return max(1, config.batch_size // WHOLE_SHARE) if cell else config.batch_size


def read_whole(
    world: LearningWorld, transitions: Transitions, rows: np.ndarray, future: int = 1
) -> tuple[Tensor, Tensor]:
    """Histories (B, k, C, H, W) and the frames that follow (B, future, C, H, W), in [0, 1]."""
    return _parted(world, read_sequences(transitions, rows, world.history, future, world.grayscale))


def _parted(world: LearningWorld, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (uint8) as histories and what follows them, in [0, 1]."""
    unit = frames_BTCHW.to(world.device).float() / 255
    return unit[:, : world.history], unit[:, world.history :]


class Lessons:
    """The lessons of a training, in four stages.

    First what the past tells: one button stands for whatever was held. Then what it does not: buttons are
    found, on whole frames, since a button must explain all that happens at once; in windows it would mean
    something else in each. Labels, where there are any, take the place of these two. Then all that there is
    to learn from recordings, and at last from the world's own rollouts, with windows of recordings beside
    them throughout. Buttons that were found from what is steered stand for labels.

    Args:
        config: of the training.
        world: that is taught.
        labels: None where nobody knows the controls.
        cell: see `cell_for_windows`.
    """

    def __init__(self, config: WorldConfig, world: LearningWorld, labels: Labels | None, cell: int) -> None:
        self.config, self.world, self.cell = config, world, cell
        self.given = labels
        self.transitions = world.rollouts.transitions

    @cached_property
    def labels(self) -> Labels | None:
        """Those that were given, or else the buttons that were found before the first lesson."""
        buttons = self.world.finder.buttons.cpu().numpy().astype(np.int64)
        rows = np.flatnonzero(buttons >= 0)
        if self.given is not None or not len(rows):
            return self.given
        return Labels(rows, buttons, int(self.world.finder.noop))

    def batch(self, rows: np.ndarray, step: int) -> WorldBatch:
        """The lesson of a step; of the transitions `rows` (B,) half are replaced by hard ones."""
        config, rng = self.config, np.random.default_rng((self.config.seed, step))
        if step >= config.buttons_until * config.steps:
            return self._settled(rows, step, rng)
        if self.labels is not None and self.labels.can_name(self.world.num_buttons):
            known = self.labels.rows
            return self._told(known[rows % len(known)], rng, self.labels.controls, known)
        end = config.buttons_until * config.steps
        begin = 0.0 if config.start_from else config.past_share * end
        if step < begin:
            return self._told(rows, rng, np.zeros(len(self.transitions), np.int64))
        whole = rows[: -(-len(rows) // FINDING_SHARE)] if self.cell else rows
        cooled = max(0.0, 1 - 2 * (step - begin) / (end - begin))
        return dataclasses.replace(
            self._whole(self._chosen(whole, rng)), temperature=config.first_temperature**cooled
        )

    def _told(
        self, rows: np.ndarray, rng: np.random.Generator, buttons: np.ndarray, among: np.ndarray | None = None
    ) -> WorldBatch:
        """Recorded transitions whose buttons are known; `buttons` are those of all transitions."""
        whole_rows = self._chosen(rows[: len(self.world.rollouts.rows)], rng, among)
        batch = dataclasses.replace(self._whole(whole_rows), held=self._on_device(buttons[whole_rows]))
        if not self.cell:
            return batch
        seen_rows = self._chosen(rows, rng, among)
        windows = dataclasses.replace(self._windows(seen_rows, rng), held=self._on_device(buttons[seen_rows]))
        return dataclasses.replace(batch, windows=windows)

    def _settled(self, rows: np.ndarray, step: int, rng: np.random.Generator) -> WorldBatch:
        """Transitions whose buttons are inferred, but where they are known: recorded, or rollouts in time."""
        rollouts, labels = self.world.rollouts, self.labels
        whole_rows = rows[: len(rollouts.rows)]
        if step >= self.config.rollouts_from * self.config.steps:
            batch = rollouts.next_batch(rollouts.before_hard_ones(whole_rows, rng), rng)
            whole_rows = rollouts.rows.cpu().numpy()
        else:
            whole_rows = self._chosen(whole_rows, rng)
            batch = self._whole(whole_rows, rng)
        batch = dataclasses.replace(batch, held=self._known(whole_rows))
        if self.cell:
            seen_rows = self._chosen(rows, rng)
            windows = self._windows(seen_rows, rng, self.config.lapses)
            windows = dataclasses.replace(windows, held=self._known(seen_rows))
            batch = dataclasses.replace(batch, windows=windows)
        if labels is None:
            return batch
        some = rng.choice(labels.rows, max(2, len(whole_rows) // (2 if self.cell else WHOLE_SHARE)))
        drawn = self._chosen(some, rng, labels.rows)
        history, next_frames = read_whole(self.world, self.transitions, drawn)
        held, met = self._on_device(labels.controls[drawn]), self._on_device(drawn)
        labelled = Labelled(history, next_frames[:, 0], held, labels.rest, met)
        return dataclasses.replace(batch, labelled=labelled)

    def _known(self, rows: np.ndarray) -> Tensor | None:
        """The buttons of transitions, −1 where nobody knows; None where labels do not name buttons."""
        if self.labels is None or not self.labels.can_name(self.world.num_buttons):
            return None
        return self._on_device(self.labels.controls[rows])

    def _chosen(
        self, rows: np.ndarray, rng: np.random.Generator, among: np.ndarray | None = None
    ) -> np.ndarray:
        return self.world.rollouts.practice.choose(rows, rng, among)

    def _whole(self, rows: np.ndarray, lapses_of: np.random.Generator | None = None) -> WorldBatch:
        """Whole recorded frames; with lapses if it is given what draws them."""
        world = self.world
        frames = read_sequences(self.transitions, rows, world.history, 1, world.grayscale)
        if lapses_of is not None:
            rows = np.where(with_lapses(frames.numpy(), self.config.lapses, lapses_of), -1, rows)
        return WorldBatch(*_parted(world, frames), rows=self._on_device(rows))

    def _windows(self, rows: np.ndarray, rng: np.random.Generator, lapses: float = 0.0) -> Seen:
        world = self.world
        side, cell = self.config.window, self.cell
        seen = read_windows(self.transitions, rows, world.history, world.grayscale, side, cell, rng, lapses)
        return seen.to(world.device)

    def _on_device(self, part: np.ndarray) -> Tensor:
        return torch.from_numpy(part).to(self.world.device)
