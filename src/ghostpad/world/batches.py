"""The batch of each step of a world's training, in four stages.

Warm-up: one button stands for all, so that the dynamics learn what the past predicts. Button inference: the
rest is assigned to buttons (expectation maximization). Labels, or buttons inferred from the motion of a
controllable object, take the place of both. Then recorded transitions with object dropout, and at last the
world's own rollouts.

Dimensions: B transitions, k frames of history, C colour channels, H W frame.
"""

import dataclasses
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ghostpad.frames.pairs import read_sequences
from ghostpad.objects.detection import label_components, temporal_mode
from ghostpad.world.config import WorldConfig
from ghostpad.world.sampling import LabelledBatch, Labels, WorldBatch
from ghostpad.world.trainable import TrainableWorld

LABELLED_SHARE = 4  # transitions of a batch for each labelled one that is trained on beside them
MIN_RADIUS, MAX_RADIUS = 8, 24  # pixels from the centre of a dropped square to its edge
DUPLICATED_SHARE = 0.3  # of histories with dropout, in which the object is there twice


class Batches:
    """Batches of a training run; `labels` are given with --labels."""

    def __init__(self, config: WorldConfig, world: TrainableWorld, labels: Labels | None) -> None:
        self.config, self.world, self.given = config, world, labels
        self.transitions = world.rollouts.transitions

    @cached_property
    def labels(self) -> Labels | None:
        """Those that were given, else the buttons that were inferred from motion before the first step."""
        buttons = self.world.finder.buttons.cpu().numpy().astype(np.int64)
        rows = np.flatnonzero(buttons >= 0)
        if self.given is not None or not len(rows):
            return self.given
        return Labels(rows, buttons, int(self.world.finder.noop))

    def __call__(self, rows: np.ndarray, step: int) -> WorldBatch:
        """The batch of a step: transitions `rows` (B,), of which half are replaced by hard ones."""
        config, rng = self.config, np.random.default_rng((self.config.seed, step))
        end = config.buttons_until * config.steps
        if step >= end:
            return self._after_inference(rows, step, rng)
        if self._button_labels is not None:
            known = self._button_labels.rows
            rows = self._choose(known[rows % len(known)], rng, known)
            return self._recorded(rows, buttons=self._known_buttons(rows))
        warmup = 0.0 if config.start_from else config.warmup_share * end
        batch = self._recorded(self._choose(rows, rng))
        if step < warmup:
            return dataclasses.replace(batch, buttons=self._on_device(np.zeros(len(rows), np.int64)))
        cooled = max(0.0, 1 - 2 * (step - warmup) / (end - warmup))
        return dataclasses.replace(batch, temperature=config.first_temperature**cooled)

    @property
    def _button_labels(self) -> Labels | None:
        """The labels, where each of their controls can have its own button."""
        fits = self.labels is not None and self.labels.fit_buttons(self.world.num_buttons)
        return self.labels if fits else None

    def _after_inference(self, rows: np.ndarray, step: int, rng: np.random.Generator) -> WorldBatch:
        """Recorded transitions or rollouts; buttons are inferred where they are not known."""
        rollouts, labels = self.world.rollouts, self.labels
        if step >= self.config.rollouts_from * self.config.steps:
            batch = rollouts.next_batch(rollouts.before_hard_transitions(rows, rng), rng)
            rows = rollouts.rows.cpu().numpy()
        else:
            rows = self._choose(rows, rng)
            batch = self._recorded(rows, dropout=rng)
        batch = dataclasses.replace(batch, buttons=self._known_buttons(rows))
        if labels is None or len(labels.rows) == len(self.transitions):
            return batch
        some = rng.choice(labels.rows, max(2, len(rows) // LABELLED_SHARE))
        drawn = self._choose(some, rng, labels.rows)
        beside, controls = self._recorded(drawn), self._on_device(labels.controls[drawn])
        assert beside.rows is not None
        labelled = LabelledBatch(beside.history, beside.next_frames[:, 0], controls, labels.noop, beside.rows)
        return dataclasses.replace(batch, labelled=labelled)

    def _known_buttons(self, rows: np.ndarray) -> Tensor | None:
        """The buttons of transitions, −1 where they are not known; None where labels do not name buttons."""
        labels = self._button_labels
        return None if labels is None else self._on_device(labels.controls[rows])

    def _choose(
        self, rows: np.ndarray, rng: np.random.Generator, among: np.ndarray | None = None
    ) -> np.ndarray:
        return self.world.rollouts.sampling.choose(rows, rng, among)

    def _recorded(
        self, rows: np.ndarray, buttons: Tensor | None = None, dropout: np.random.Generator | None = None
    ) -> WorldBatch:
        """Recorded transitions; with object dropout if a generator is given."""
        world = self.world
        frames = read_sequences(self.transitions, rows, world.history, 1, world.grayscale)
        if dropout is not None:
            changed = drop_objects(frames, self.config.object_dropout, dropout)
            rows = np.where(changed, -1, rows)
        history, next_frames = frames[:, : world.history], frames[:, world.history :]
        return WorldBatch(history, next_frames, self._on_device(rows), buttons)

    def _on_device(self, part: np.ndarray) -> Tensor:
        return torch.from_numpy(part).to(self.world.device)


def drop_objects(frames_BTCHW: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Drop or duplicate an object in some histories, in place (augmentation); returns in which (B,), bool.

    A world that once forgets an object has a history that no recording shows, and would never draw it again.
    Trained on such histories it learns to repair them: the target is the next recorded frame.

    The last frame of each sequence follows its history and is not changed.
    """
    chosen = generator.random(len(frames_BTCHW)) < share
    for index in chosen.nonzero()[0]:
        _drop_object(frames_BTCHW[index, :-1], generator)
    return chosen


def _drop_object(history_kCHW: np.ndarray, generator: np.random.Generator) -> None:
    """Replace a square around a moving object by the background, or copy what differs from it elsewhere."""
    _, boxes = label_components((history_kCHW[-1] != history_kCHW[-2]).any(0))
    if not boxes:
        return
    box = boxes[generator.integers(len(boxes))]
    radius = int(generator.integers(MIN_RADIUS, MAX_RADIUS + 1))
    centre = [(side.start + side.stop) // 2 for side in box]
    rows, columns = (slice(max(0, middle - radius), middle + radius) for middle in centre)
    changed = history_kCHW[-min(int(generator.geometric(0.5)), len(history_kCHW) // 2) :]
    background = temporal_mode(history_kCHW[:, :, rows, columns])
    if generator.random() >= DUPLICATED_SHARE:
        changed[:, :, rows, columns] = background
        return
    offset = generator.integers(-2 * MAX_RADIUS, 2 * MAX_RADIUS + 1, 2)
    for frame in changed:
        pixels = np.argwhere((frame[:, rows, columns] != background).any(0))
        pixels += rows.start, columns.start
        copies = pixels + offset
        inside = ((copies >= 0) & (copies < frame.shape[1:])).all(1)
        frame[:, *copies[inside].T] = frame[:, *pixels[inside].T]
