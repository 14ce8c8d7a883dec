"""Sequences under inferred buttons: a disguised emulator gets the numbers that follow from what it draws."""

import numpy as np
import pytest
import torch

from ghostpad.evaluation.rollouts.open_loop import Start
from ghostpad.evaluation.rollouts.sequences import KEYS, draw_sequences, inferred_buttons, sequences
from known_worlds import KnownWorld
from small_world import small_world

pytest.importorskip("ale_py")
NUM = 2


class Knowing(KnownWorld):
    """Names the recorded control as the button of a transition, and notes the histories it was given."""

    buttons_in_use = (0, 1, 2, 3)

    def __init__(self, store, change=lambda pictures, step: pictures, ignores=False):
        whole, four = (draw_sequences(store, 1, length, NUM, 0) for length in (32, self.history + 4))
        starts = [Start(episode, int(frames[0]), 0) for episode, frames in whole]
        starts += [Start(episode, int(frames[self.history - 1]), 0) for episode, frames in four] * 2
        super().__init__(store, starts, change)
        self.ignores, self.given = ignores, []

    def button_probabilities(self, histories, next_frames):
        self.given.append(histories.shape[1])
        held = []
        for current, obedient in zip(histories[:, -1], next_frames, strict=True):
            held.append(self._control(current, obedient))
        return torch.eye(4)[held]

    def _control(self, current, obedient):
        for number, episode in enumerate(self.store.episodes):
            if episode.split == "test":
                frames = self.store.read(number, np.arange(episode.num_frames), False)
                same = (frames[:-1] == current).all((1, 2, 3)) & (frames[1:] == obedient).all((1, 2, 3))
                if same.any():
                    return int(self.store.controls(number)[same.argmax()])
        raise AssertionError("no recorded transition")

    def step(self, state, buttons, temperature=0.0, generator=None):
        held = np.zeros_like(buttons) if self.ignores else buttons
        return super().step(state, held, temperature, generator)


def paddle_gone(pictures, step):
    pictures[:, 189:193, 8:152] = 0
    return pictures


def paddle_shifted(pictures, step):
    rows = pictures[:, 189:193, 8:152].copy()
    pictures[:, 189:193, 8:152] = np.concatenate([rows[:, :, 3:], rows[:, :, -1:].repeat(3, 2)], 2)
    return pictures


def test_a_world_that_is_the_emulator_is_perfect_and_its_buttons_count(store):
    world = Knowing(store)
    metrics, _ = sequences(world, store, NUM)
    assert metrics.keys() == KEYS.keys()
    assert metrics["add_px_32"] == metrics["mdr_32"] == 0
    assert metrics["inferred_psnr_db_4"] == 100
    assert metrics["inferred_delta_psnr_db_4"] > 40
    # Histories begin with the sequence, from which alone the buttons are inferred.
    assert world.given == [1] + [2] * 30 + [2] * 4


def test_a_world_that_ignores_its_buttons_has_no_delta_psnr(store):
    metrics, _ = sequences(Knowing(store, ignores=True), store, NUM)
    assert metrics["inferred_delta_psnr_db_4"] == 0
    assert metrics["add_px_32"] > 0


def test_a_paddle_that_is_missing_counts_as_missed_and_one_that_is_off_by_its_distance(store):
    gone, _ = sequences(Knowing(store, paddle_gone), store, NUM)
    assert gone["mdr_32"] == 31 / 32 and gone["add_px_32"] == 0  # the given frame counts
    shifted, _ = sequences(Knowing(store, paddle_shifted), store, NUM)
    assert shifted["mdr_32"] == 0 and 2.5 < shifted["add_px_32"] <= 3 * 31 / 32


def test_buttons_are_inferred_for_every_transition_after_the_given_frames(store):
    world = small_world(store)
    frames = np.stack([store.read(0, np.arange(first, first + 5), False) for first in (0, 9)])
    buttons = inferred_buttons(world, frames, 2)
    assert buttons.shape == (2, 3)
    alone = world.button_probabilities(frames[:, 2:4], frames[:, 4]).argmax(1)
    assert (buttons[:, 2] == alone.numpy()).all()


def test_sequences_lie_within_one_held_out_episode_and_are_drawn_by_the_seed(store):
    drawn = draw_sequences(store, 2, 10, 50, seed=0)
    for episode, frames in drawn:
        assert store.episodes[episode].split == "test"
        assert len(frames) == 10 and set(np.diff(frames)) == {2}
        assert frames[0] >= 0 and frames[-1] < store.episodes[episode].num_frames
    firsts = [[int(frames[0]) for _, frames in draw_sequences(store, 2, 10, 5, seed)] for seed in (0, 0, 1)]
    assert firsts[0] == firsts[1] != firsts[2]
    assert draw_sequences(store, 1, 1000, 5, seed=0) == []
