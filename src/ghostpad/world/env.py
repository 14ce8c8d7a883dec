"""A world as a Gymnasium environment: `gymnasium.make("ghostpad/World-v0")` after importing this module.

Observations are imagined frames (H, W, 3) uint8. Actions are the game's controls when the world's folder
holds `controls.json`, else its buttons. Rewards are the points that the game's scoreboard reads from the
imagined frames, always 0 in games without one. An episode terminates with the last life, where that can be
read, and is truncated after 1,000 steps unless `max_episode_steps` says otherwise.

Dimensions: N environments side by side, H W frame.
"""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostpad.errors import UserError
from ghostpad.world.rollouts import Rollout
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

    `reset(options={"start": i})` starts from the i-th recorded history; without it one is drawn. The info
    holds `start` (at a reset), `lives` (where they can be read) and `scored`: whether rewards can be read.
    """

    metadata = METADATA

    def __init__(
        self,
        world: WorldModel | Path | str = "breakout-world",
        render_mode: str | None = None,
        temperature: float = 0.0,
        device: str = "cpu",
    ) -> None:
        """Load a world: a model, its folder, or the name of a shipped one.

        A `temperature` above 0 samples the codes; `render_mode` is None or `rgb_array`.

        Raises:
            UserError: there is no such world, it has no starts, or the temperature is negative.
        """
        self.rollout = _rollout(world, 1, temperature, device)
        self.render_mode, self.temperature = render_mode, temperature
        self.action_space, self.observation_space = _spaces(self.rollout)

    def get_action_meanings(self) -> list[str]:
        """Names of the actions."""
        return list(self.rollout.control_names)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start again; returns the frame and the info.

        Raises:
            UserError: there is no such start.
        """
        super().reset(seed=seed)
        start = (options or {}).get("start")
        if start is None:
            start = self.np_random.integers(len(self.rollout.start_frames))
        self.rollout.seed(int(self.np_random.integers(2**31)))
        self.rollout.restart(np.array([0]), np.array([int(start)]))
        return self.rollout.pictures[0].copy(), self._info() | {"start": int(start)}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold a control for one frame."""
        self.rollout.step(np.array([action]), self.temperature)
        points, over = float(self.rollout.points[0]), bool(self.rollout.over[0])
        return self.rollout.pictures[0].copy(), points, over, False, self._info()

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The frame (H, W, 3) uint8 in the mode `rgb_array`."""
        return self.rollout.pictures[0].copy() if self.render_mode == "rgb_array" else None

    def _info(self) -> dict[str, Any]:
        return {name: values[0].item() for name, values in _infos(self.rollout).items()}


class WorldVectorEnv(VectorEnv):
    """N worlds, stepped in one batch; those that ended or took `max_episode_steps` restart at the next step.

    `reset(options={"start": i})` starts all from the i-th recorded history, or each from its own of N.
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
        """Load a world once for all; arguments and errors as in `WorldEnv`."""
        self.rollout = _rollout(world, num_envs, temperature, device)
        self.num_envs, self.render_mode, self.temperature = num_envs, render_mode, temperature
        self.max_episode_steps = max_episode_steps
        self.single_action_space, self.single_observation_space = _spaces(self.rollout)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._steps, self._ended = np.zeros(num_envs, int), np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start all again; returns the frames (N, H, W, 3) and the infos. Errors as in `WorldEnv.reset`."""
        super().reset(seed=seed)
        self.rollout.seed(int(self.np_random.integers(2**31)))
        starts = self._restart(np.arange(self.num_envs), (options or {}).get("start"))
        return self.rollout.pictures.copy(), _infos(self.rollout) | {"start": starts}

    def step(self, actions: np.ndarray | Sequence[int]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Hold a control in each for one frame; those that ended in the last step start again instead."""
        ended = np.flatnonzero(self._ended)
        self.rollout.step(np.asarray(actions), self.temperature)
        points, over = self.rollout.points, self.rollout.over
        self._steps += 1
        if len(ended):
            self._restart(ended, None)
            points[ended], over[ended] = 0, False
        truncated = (self._steps >= self.max_episode_steps) & ~over
        self._ended = over | truncated
        return self.rollout.pictures.copy(), points, over, truncated, _infos(self.rollout)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The frames (H, W, 3) uint8 in the mode `rgb_array`."""
        return tuple(self.rollout.pictures.copy()) if self.render_mode == "rgb_array" else None

    def _restart(self, games: np.ndarray, start: Any) -> np.ndarray:
        if start is None:
            start = self.np_random.integers(len(self.rollout.start_frames), size=len(games))
        starts = np.broadcast_to(np.asarray(start, int), games.shape)
        self.rollout.restart(games, starts)
        self._steps[games], self._ended[games] = 0, False
        return starts


def _rollout(world: WorldModel | Path | str, num: int, temperature: float, device: str) -> Rollout:
    if not temperature >= 0:
        raise UserError(f"temperature {temperature}: must be at least 0")
    if multiprocessing.parent_process() is not None:
        # One of many processes; and a forked one would wait forever for the threads of its parent.
        torch.set_num_threads(1)
    if not isinstance(world, WorldModel):
        world = WorldModel.from_pretrained(world, device)
    return Rollout.from_world(world, num)


def _infos(rollout: Rollout) -> dict[str, np.ndarray]:
    """(N,) whether rewards can be read, and where they can the lives."""
    lives = {"lives": rollout.scoreboard.lives.copy()} if rollout.scoreboard else {}
    return {"scored": np.full(len(rollout.pictures), rollout.scoreboard is not None), **lives}


def _spaces(rollout: Rollout) -> tuple[gymnasium.spaces.Discrete, gymnasium.spaces.Box]:
    """The space of actions, and that of observations."""
    frames = gymnasium.spaces.Box(0, 255, (rollout.world.height, rollout.world.width, 3), np.uint8)
    return gymnasium.spaces.Discrete(len(rollout.control_names)), frames


if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="ghostpad.world.env:WorldEnv",
        vector_entry_point="ghostpad.world.env:WorldVectorEnv",
        max_episode_steps=MAX_STEPS,
    )
