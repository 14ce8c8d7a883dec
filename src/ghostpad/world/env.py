"""A world as a Gymnasium environment: `gymnasium.make("ghostpad/World-v0")` after importing this module.

Observations are frames (H, W, 3) uint8. Actions are the game's controls when the world's folder holds
`controls.json`, else its buttons. Rewards are read from the picture: in Breakout, what the bricks that
vanish are worth; in worlds of other games, whose score nobody reads here, always 0. An episode terminates
with the last life, where that can be read, and is truncated after 1,000 steps unless `max_episode_steps` says
otherwise.

Dimensions: N environments side by side, H W frame.
"""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostpad.errors import UserError
from ghostpad.world.rollouts import Games
from ghostpad.world.world_model import WorldModel

try:
    import gymnasium
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ImportError:
    raise UserError(
        'the environment needs gymnasium; install it with: pip install "ghostpad[atari]"'
    ) from None

ENV_ID = "ghostpad/World-v0"
MAX_STEPS = 1000
METADATA = {"render_modes": ["rgb_array"], "render_fps": 15}


class WorldEnv(gymnasium.Env[np.ndarray, np.int64]):
    """One world as an environment.

    `reset(options={"start": i})` begins from the i-th recorded history; without it one is drawn. The info
    holds `start` (at a reset), `lives` (where they can be read) and `scored`: whether rewards mean anything.
    """

    metadata = METADATA

    def __init__(
        self,
        world: WorldModel | Path | str = "breakout-world",
        render_mode: str | None = None,
        temperature: float = 0.0,
        device: str = "cpu",
    ) -> None:
        """Load a world.

        Args:
            world: a world model, its folder, or the name of a shipped one.
            render_mode: None or `rgb_array`.
            temperature: of the codes, 0 for the likeliest.
            device: where to compute.

        Raises:
            UserError: there is no such world, or it has no starts.
        """
        self.games = Games(_loaded(world, device), 1, temperature)
        self.render_mode = render_mode
        self.action_space = gymnasium.spaces.Discrete(len(self.games.control_names))
        self.observation_space = _frames(self.games)

    def get_action_meanings(self) -> list[str]:
        """Names of the actions."""
        return list(self.games.control_names)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin anew; returns the frame and the info.

        Raises:
            UserError: there is no such start.
        """
        super().reset(seed=seed)
        start = (options or {}).get("start")
        if start is None:
            start = self.np_random.integers(len(self.games.frames_SkHWC))
        self.games.seed(int(self.np_random.integers(2**31)))
        self.games.begin(np.array([0]), np.array([int(start)]))
        return self.games.pictures[0].copy(), self._info() | {"start": int(start)}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold a control for one frame."""
        points, over = self.games.step(np.array([action]))
        return self.games.pictures[0].copy(), float(points[0]), bool(over[0]), False, self._info()

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The frame (H, W, 3) uint8 in the mode `rgb_array`."""
        return self.games.pictures[0].copy() if self.render_mode == "rgb_array" else None

    def _info(self) -> dict[str, Any]:
        lives = {"lives": int(self.games.lives[0])} if self.games.scored else {}
        return {"scored": self.games.scored, **lives}


class WorldVectorEnv(VectorEnv):
    """N worlds, stepped in one batch; those that ended begin anew at the step after.

    `reset(options={"start": i})` begins all from the i-th recorded history, or each from its own of N.
    """

    metadata = {**METADATA, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012  as Gymnasium has it

    def __init__(
        self,
        num_envs: int = 1,
        world: WorldModel | Path | str = "breakout-world",
        render_mode: str | None = None,
        temperature: float = 0.0,
        device: str = "cpu",
        max_episode_steps: int = MAX_STEPS,
    ) -> None:
        """Load a world once for all.

        Args:
            num_envs: N, at least 1.
            world: as in `WorldEnv`, like the next three.
            render_mode: the same.
            temperature: the same.
            device: the same.
            max_episode_steps: after which an episode is truncated.

        Raises:
            UserError: as in `WorldEnv`.
        """
        self.games = Games(_loaded(world, device), num_envs, temperature)
        self.num_envs, self.render_mode, self.max_episode_steps = num_envs, render_mode, max_episode_steps
        self.single_action_space = gymnasium.spaces.Discrete(len(self.games.control_names))
        self.single_observation_space = _frames(self.games)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._steps = np.zeros(num_envs, int)
        self._ended = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin all anew; returns the frames (N, H, W, 3) and the infos.

        Raises:
            UserError: there is no such start.
        """
        super().reset(seed=seed)
        self.games.seed(int(self.np_random.integers(2**31)))
        starts = self._begin(np.arange(self.num_envs), (options or {}).get("start"))
        return self.games.pictures.copy(), self._info() | {"start": starts}

    def step(self, actions: np.ndarray | Sequence[int]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Hold a control in each for one frame; those that ended the step before begin anew instead."""
        anew = np.flatnonzero(self._ended)
        points, over = self.games.step(np.asarray(actions))
        self._steps += 1
        if len(anew):
            self._begin(anew, None)
            points[anew], over[anew] = 0, False
        truncated = (self._steps >= self.max_episode_steps) & ~over
        self._ended = over | truncated
        return self.games.pictures.copy(), points, over, truncated, self._info()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The frames (H, W, 3) uint8 in the mode `rgb_array`."""
        return tuple(self.games.pictures.copy()) if self.render_mode == "rgb_array" else None

    def _begin(self, which: np.ndarray, start: Any) -> np.ndarray:
        if start is None:
            start = self.np_random.integers(len(self.games.frames_SkHWC), size=len(which))
        starts = np.broadcast_to(np.asarray(start, int), which.shape)
        self.games.begin(which, starts)
        self._steps[which] = 0
        self._ended[which] = False
        return starts

    def _info(self) -> dict[str, Any]:
        lives = {"lives": self.games.lives.copy()} if self.games.scored else {}
        return {"scored": np.full(self.num_envs, self.games.scored), **lives}


def _loaded(world: WorldModel | Path | str, device: str) -> WorldModel:
    if multiprocessing.parent_process() is not None:
        # One of many, side by side; and in a forked process the threads of its parent are waited for in vain.
        torch.set_num_threads(1)
    return world if isinstance(world, WorldModel) else WorldModel.from_pretrained(world, device)


def _frames(games: Games) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(0, 255, (games.world.height, games.world.width, 3), np.uint8)


if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="ghostpad.world.env:WorldEnv",
        vector_entry_point="ghostpad.world.env:WorldVectorEnv",
        max_episode_steps=MAX_STEPS,
    )
