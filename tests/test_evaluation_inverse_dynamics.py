"""The supervised ceiling: what an inverse dynamics network names is known from the frames."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ghostpad.evaluation import inverse_dynamics
from ghostpad.evaluation.inverse_dynamics import supervised_ceilings
from ghostpad.evaluation.probes import Labelled

SIDE, LENGTH, STEPS = 24, 101, ((0, 0), (0, 2), (0, -2), (2, 0), (-2, 0))


class Squares:
    """A store of episodes in which the control moves a square over a still, random scene; it wraps around."""

    def __init__(self, num_episodes: int, scale: int = 1, obeys: bool = True) -> None:
        rng = np.random.default_rng(num_episodes)
        self.episodes = [SimpleNamespace(num_frames=LENGTH)] * num_episodes
        self.controls = rng.integers(len(STEPS), size=(num_episodes, LENGTH - 1))
        moved = self.controls if obeys else rng.integers(len(STEPS), size=self.controls.shape)
        starts = rng.integers(SIDE, size=(num_episodes, 1, 2))
        places = np.concatenate([starts, starts + np.array(STEPS)[moved].cumsum(1)], 1)
        self.frames = np.repeat(rng.integers(0, 64, (num_episodes, 1, 3, SIDE, SIDE), np.uint8), LENGTH, 1)
        square = np.full((3, 6, 6), 255, np.uint8)
        for episode, frame in np.ndindex(num_episodes, LENGTH):
            rows, columns = (np.arange(6)[:, None] + places[episode, frame]).T % SIDE
            self.frames[episode, frame][:, rows[:, None], columns] = square
        self.frames = self.frames.repeat(scale, 3).repeat(scale, 4)

    def read(self, episode: int, frames: np.ndarray, grayscale: bool) -> np.ndarray:
        assert not grayscale
        return self.frames[episode, frames]


class Recorded:
    """All transitions of a store, as `Transitions` lists them."""

    def __init__(self, store: Squares, episodes: range) -> None:
        self.store, self.stride = store, 1
        self.episode_index = np.repeat(episodes, LENGTH - 1)
        self.frame_index = np.tile(np.arange(LENGTH - 1), len(episodes))
        self.controls = store.controls[list(episodes)].ravel()


def ceilings(store: Squares, num_seeds: int = 1, num_train: int = 12) -> dict[str, float]:
    train, test = Recorded(store, range(num_train)), Recorded(store, range(12, len(store.episodes)))
    rows = np.arange(len(test.frame_index))
    held_out = Labelled.of(test, rows, np.empty((len(rows), 0)), test.controls)
    return supervised_ceilings(train, train.controls, held_out, len(STEPS), num_seeds, seed=0)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(inverse_dynamics, "MAX_STEPS", 300)


def test_the_control_of_a_moving_square_is_named_by_one_transition_and_by_a_window():
    found = ceilings(Squares(15))
    assert found[""] > 0.95
    assert found["window_"] > 0.95


def test_large_frames_are_averaged_down_without_losing_the_motion():
    assert ceilings(Squares(15, scale=4))[""] > 0.95  # 96 pixels become 48


def test_random_labels_are_named_by_chance():
    found = ceilings(Squares(15, obeys=False))
    for accuracy in found.values():
        assert accuracy == pytest.approx(1 / len(STEPS), abs=0.08)


def test_the_same_seed_gives_the_same_ceiling_and_leaves_the_global_generator_alone():
    store = Squares(14)
    before = torch.random.get_rng_state()
    first = ceilings(store, num_seeds=2, num_train=4)
    assert ceilings(store, num_seeds=2, num_train=4) == first
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_enough_labels_there_is_no_ceiling():
    assert ceilings(Squares(13), num_train=1) == {}
    assert ceilings(Squares(14), num_seeds=0) == {}
