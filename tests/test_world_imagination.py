"""A policy that is evolved in imagination: what it sees, how it is scored, and its play of real Breakout."""

from types import SimpleNamespace

import numpy as np
import pytest

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.games import game_named
from ghostpad.world.rollouts import Rollout
from known_models import breakout_picture
from small_world import small_world

pytest.importorskip("cma")
import imagination
from imagination import CONTROLS, EvolutionConfig, Observer, choose, evolve, imagined_game, player
from imitate_breakout import play_game

TRACKING = np.array([-1, 2, -0.5, -2, 2, 0, 0.0])
"""Serves when no ball is visible, else moves to the side of the ball when it is a quarter paddle away."""
SHORT = EvolutionConfig(generations=2, policies=4, starts=2, frames=3)


@pytest.fixture
def rollout(store):
    """A small world whose three buttons are mapped to the four controls."""
    same = ControlMap(CONTROLS, tuple(map(tuple, np.full((3, 4), 0.25))), (0, 0, 1, 2), 0)
    starts = np.stack([store.read(0, np.arange(first, first + 2), False) for first in (0, 10, 20)])
    return Rollout(
        small_world(store), same, starts.transpose(0, 1, 3, 4, 2), game_named("breakout").scoreboard(1)
    )


def test_evolution_returns_a_policy_and_continues_where_it_stopped(rollout, tmp_path, monkeypatch):
    weights = evolve(rollout, SHORT, tmp_path / "run")
    assert weights.shape == (imagination.NUM_WEIGHTS,) and np.isfinite(weights).all()

    def imagine_again(*_):
        raise AssertionError("a generation that is known was imagined again")

    monkeypatch.setattr(imagination, "imagined_game", imagine_again)
    assert (evolve(rollout, SHORT, tmp_path / "run") == weights).all()
    with pytest.raises(UserError, match="other settings"):
        evolve(rollout, EvolutionConfig(policies=5), tmp_path / "run")


def test_a_world_without_controls_cannot_be_played(store, tmp_path):
    with pytest.raises(UserError, match="ghostpad controls"):
        evolve(Rollout(small_world(store)), SHORT, tmp_path)


class Countdown:
    """An imagined game that pays a point for each frame with RIGHT and loses the ball on LEFT."""

    control_names = CONTROLS

    def __init__(self):
        self.scoreboard = SimpleNamespace(lives=np.full(1, 5))
        self.frames = breakout_picture()
        self.restarted = []

    def restart(self, games, starts):
        self.restarted += starts.tolist()
        self.scoreboard.lives[games] = 5

    def step(self, controls):
        self.points = (controls == CONTROLS.index("RIGHT")).astype(float)
        self.scoreboard.lives -= controls == CONTROLS.index("LEFT")


def test_a_game_ends_with_the_first_ball_that_is_lost_or_after_its_frames():
    nothing, right, left = np.zeros((3, imagination.NUM_WEIGHTS))
    nothing[2], right[4], left[4] = -100, 1, -1  # the ball is to the right of the paddle
    world = Countdown()
    games = [imagined_game(world, weights, start=3, num_frames=5) for weights in (right, nothing, left)]
    assert games == [(5, 5), (0, 5), (0, 1)]
    assert world.restarted == [3, 3, 3]


def test_left_is_right_in_a_mirror():
    rng = np.random.default_rng(0)
    even, odd = rng.normal(size=(200, 2)), rng.normal(size=(200, 3))
    weights = np.array([0, 1, -1, 0, 1, -1, 1])
    seen, mirrored = choose((even, odd), weights), choose((even, -odd), weights)
    assert set(seen) == {0, 1, 2, 3}
    assert (mirrored == np.array([0, 1, 3, 2])[seen]).all()


def test_an_observer_sees_distance_and_motion(store):
    observer, games = Observer(3), np.array([2, 0])
    frames = store.read(0, np.arange(12), False)
    state = game_named("breakout").detect(frames)
    for frame in range(12):
        even, odd = observer(frames[[frame, frame]], games)
        seen = state["num_balls"][frame] > 0
        assert (even == [1, not seen]).all()
        moved = (int(state["paddle_x"][frame]) - int(state["paddle_x"][frame - 1])) if frame else 0
        assert odd[0].tolist() == odd[1].tolist() and odd[0, 2] == moved / 16
        distance = int(state["ball_x"][frame]) + 1 - int(state["paddle_x"][frame]) - 8
        assert odd[0, 0] == (distance / 16 if seen else 0)


def test_a_policy_that_tracks_the_ball_scores_in_the_real_game():
    pytest.importorskip("ale_py")
    assert play_game(player(TRACKING, 3, 1), 3, 250, seed=1).sum() > 3
