"""Games of the benchmark set that are not Atari games, for `ghostpad record --env environments:NAME`.

Each function takes a seed and returns an environment that renders RGB arrays of modest size. Their packages
are the dependency group `games` in `pyproject.toml`.
"""

import copy
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np


def my_way_home(seed: int) -> Any:
    return _vizdoom("my_way_home.cfg")


def defend_the_center(seed: int) -> Any:
    return _vizdoom("defend_the_center.cfg")


def _vizdoom(scenario: str) -> Any:
    """A ViZDoom scenario at 160x120, one button at a time."""
    from vizdoom.gymnasium_wrapper.gymnasium_env_defns import VizdoomScenarioEnv

    class Scenario(VizdoomScenarioEnv):
        def render(self) -> np.ndarray | None:
            return None if self.state is None else super().render()  # it would be black after the end

    return Scenario(scenario, max_buttons_pressed=1, render_mode="rgb_array", screen_resolution="RES_160X120")


def crafter(seed: int) -> Any:
    """Crafter at 64x64 with the controls that walk; most of the others do nothing without tools."""
    from crafter import Env, engine

    class World(engine.World):
        """Keeps its objects in order, where sets make episodes differ between processes and copies."""

        def reset(self, seed: int | None = None) -> None:
            super().reset(seed)
            self._chunks = defaultdict(OrderedSet)

    class Walking(Env):
        action_space = SimpleNamespace(n=5)
        action_names = ("noop", "move_left", "move_right", "move_up", "move_down")

    env = Walking(seed=seed)
    env._world.__class__ = World
    return env


class OrderedSet(dict):
    """A set that is iterated in the order of insertion."""

    def add(self, item: Any) -> None:
        self[item] = None

    def remove(self, item: Any) -> None:
        del self[item]


def coinrun(seed: int) -> Any:
    return Procgen("coinrun", seed)


def jumper(seed: int) -> Any:
    return Procgen("jumper", seed)


class Procgen:
    """A level of a Procgen game at 64x64, as an environment with the interface of Gym.

    Of the 15 actions, those that lead to different frames in platform games. Copies share the game, which
    holds the state of the copy that was stepped last.
    """

    action_space = SimpleNamespace(n=6)
    action_names = ("noop", "left", "right", "jump", "jump_left", "jump_right")
    _ACTIONS = (4, 1, 7, 5, 2, 8)

    def __init__(self, game: str, seed: int) -> None:
        from procgen.env import ProcgenGym3Env

        options = {"distribution_mode": "easy", "num_threads": 0, "num_levels": 1}
        self._game = ProcgenGym3Env(1, game, start_level=seed, rand_seed=seed, **options)
        self._game.stepped, self._state = self, None

    def reset(self) -> np.ndarray:
        self._frame = self._game.observe()[1]["rgb"][0].copy()
        return self._frame

    def step(self, action: int) -> tuple[np.ndarray | None, float, bool, dict]:
        game = self._game
        if game.stepped is not self:
            game.stepped._state = game.get_state()
            game.set_state(self._state)
            game.stepped = self
        game.act(np.array([self._ACTIONS[action]]))
        (reward,), observation, (is_new,) = game.observe()
        self._frame = None if is_new else observation["rgb"][0].copy()  # the next level has begun
        return self._frame, float(reward), bool(is_new), {}

    def render(self) -> np.ndarray | None:
        return self._frame

    def __deepcopy__(self, memo: dict) -> "Procgen":
        twin = copy.copy(self)
        if self._game.stepped is self:
            twin._state = self._game.get_state()
        return twin


def doorkey(seed: int) -> Any:
    """MiniGrid: a room with a locked door and its key, at 128x128."""
    import gymnasium
    import minigrid  # noqa: F401 (registers the environment)

    return gymnasium.make("MiniGrid-DoorKey-8x8-v0", render_mode="rgb_array", tile_size=16)
