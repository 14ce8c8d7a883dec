"""One step at a time: which button is pressed for which transition, and what it is compared with."""

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.evaluation.rollouts.single_steps import keys_of, single_steps, speed
from ghostpad.games import GAMES
from known_worlds import SAME
from small_world import small_world


class Prophet:
    """Copies the frame, but for the button that it once named, with which it draws what it was shown then."""

    history, num_buttons, grayscale = 2, 4, False
    latent_action_model = SimpleNamespace(stride=1)
    NAMED = 2

    def __init__(self):
        self.next_frames, self.pressed, self.seen = [], [], []

    def button_probabilities(self, frames, next_frames):
        self.next_frames = next_frames
        return torch.eye(4)[[self.NAMED] * len(frames)]

    def start(self, frames):
        return frames

    def step(self, state, buttons):
        self.pressed += list(buttons)
        self.seen += list(state[:, -1])
        drawn = state[:, -1].copy()
        if len(self.next_frames):
            drawn[buttons == self.NAMED] = self.next_frames[buttons == self.NAMED]
        return SimpleNamespace(pictures=drawn.transpose(0, 2, 3, 1)), None


def test_the_button_that_explains_a_transition_best_is_pressed(store):
    metrics, _ = single_steps(Prophet(), None, store, num_transitions=30)
    assert metrics["inferred_psnr_db"] == 100
    assert metrics["inferred_gain_over_copy_db"] == 100 - metrics["inferred_copy_psnr_db"] > 50
    assert metrics["inferred_paddle_within_1px"] == 1
    assert not [name for name in metrics if name.startswith("one_step")]


def test_the_button_for_the_recorded_control_is_pressed(store):
    world = Prophet()
    metrics, _ = single_steps(world, SAME, store, num_transitions=30)
    assert metrics["one_step_gain_over_copy_db"] == 0
    episode = next(i for i, e in enumerate(store.episodes) if e.split == "test")
    frames = store.read(episode, np.arange(store.episodes[episode].num_frames), False)
    held = defaultdict(set)
    for frame, control in zip(frames, store.controls(episode), strict=False):
        held[frame.tobytes()].add(int(control))
    pressed = list(zip(world.seen, world.pressed, strict=True))[:30]
    assert all(button in held[frame.tobytes()] for frame, button in pressed)
    assert len({button for _, button in pressed}) > 1


def test_a_seed_decides_what_is_drawn(store):
    first, again, other = (single_steps(Prophet(), SAME, store, 5, seed)[0] for seed in (0, 0, 1))
    assert first == pytest.approx(again, nan_ok=True) and first != pytest.approx(other, nan_ok=True)


def test_a_history_that_no_episode_has_is_named(store):
    world = Prophet()
    world.history = 41
    with pytest.raises(UserError, match="no test episode is longer than the history of 41 frames"):
        single_steps(world, None, store)


def test_speed_leaves_the_threads_as_they_were(store):
    before = torch.get_num_threads()
    rates = speed(small_world(store), store)
    assert rates["frames_per_s"] > 1 and rates["frames_per_s_one_thread"] > 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
def test_every_game_names_the_elements_that_single_steps_measure(game):
    names = keys_of(game).keys() - keys_of(None).keys()
    measured = {f"{kind}_{name}" for kind in ("one_step", "inferred") for name in game.single_step_metrics}
    assert names == measured != set()
    every = {f"{element}.{key}" for element, kind in game.elements.items() for key in kind.metrics}
    assert set(game.single_step_metrics.values()) <= every
