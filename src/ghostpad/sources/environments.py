"""Gymnasium environments, and those of its predecessor Gym, as emulators for the recorder.

The action space becomes a numbered list of controls: each discrete value, or each button and each end of an
axis by itself. Spaces are recognized by their attributes, not classes, so that those of Gym do as well.
"""

import copy
import enum
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.sources.actions import MOST_CONTROLS

_MOST_EXTENT = 1e6  # a box that reaches beyond is unbounded in all but name


class EnvironmentEmulator:
    """An environment after its reset, as an `Emulator` of the recorder."""

    memory, lives = None, None

    def __init__(self, name: str, seed: int, frame_skip: int) -> None:
        """Make the environment `name`; see `make_environment`.

        Raises:
            UserError: it cannot be made, its action space has no discrete controls, or it renders no RGB.
        """
        self._name, self._frame_skip = name, frame_skip
        self._env = make_environment(name, seed)
        self._actions, self.control_names = discrete_controls(self._env, name)
        self.is_over = False
        try:
            self.observation = self._reset(seed)
            frame = self.frame()
        except Exception as error:  # an environment may raise anything
            raise UserError(f"--env {name}: {_first_line(error)}") from None
        if frame is None or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise UserError(
                f"--env {name}: its render() gives no RGB array (uint8, height, width, 3); choose an "
                "environment with the render mode rgb_array"
            )

    def _reset(self, seed: int) -> Any:
        accepts_seed = "seed" in inspect.signature(self._env.reset).parameters
        result = self._env.reset(seed=seed) if accepts_seed else self._env.reset()
        return result[0] if isinstance(result, tuple) else result  # Gym returns the observation alone

    def step(self, control: int) -> float:
        """Repeat the action of a control `frame_skip` times; returns the sum of the rewards."""
        total = 0.0
        for _ in range(self._frame_skip):
            self.observation, reward, *ends, _ = self._env.step(self._actions[control])
            total += float(reward)
            self.is_over = any(ends)  # terminated and truncated, or the one `done` of Gym
            if self.is_over:
                break
        return total

    def frame(self) -> np.ndarray | None:
        """What the environment renders, (H, W, 3) uint8; None if it shows nothing after the end."""
        # Gym takes the mode here, and opens a window without it.
        takes_mode = "mode" in inspect.signature(self._env.render).parameters
        frame = self._env.render(mode="rgb_array") if takes_mode else self._env.render()
        return None if frame is None else np.asarray(frame)

    def save_state(self) -> Any:
        """A copy of the environment."""
        try:
            return copy.deepcopy(self._env)
        except Exception as error:
            reason = f"--branches: {self._name} cannot be copied ({_first_line(error)})"
            raise UserError(f"{reason}; record without --branches") from None

    def restore_state(self, state: Any) -> None:
        """Continue with another copy of a saved environment."""
        self._env, self.is_over = copy.deepcopy(state), False

    def close(self) -> None:
        """Release what the environment holds."""
        if hasattr(self._env, "close"):
            self._env.close()


def make_environment(name: str, seed: int) -> Any:
    """Make an environment that renders RGB arrays.

    The name is the `ID` of a registered environment, `module:ID`, where importing the module registers it, or
    `module:function`, a function that takes the seed and returns an environment.

    Raises:
        UserError: Gymnasium is missing, or there is no such environment.
    """
    module, _, attribute = name.rpartition(":")
    if module:
        make = getattr(_import(module, f"--env {name}"), attribute, None)
        if callable(make):
            return make(seed)
    try:
        import gymnasium
    except ImportError:
        raise UserError('--env needs Gymnasium; install it with: pip install "ghostpad[gymnasium]"') from None
    try:
        return gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True)
    except Exception as error:  # an environment may raise anything
        reason = f"--env {name}: {_first_line(error)}"
        raise UserError(f"{reason}; give ID, module:ID or module:function") from None


def load_entry_point(name: str, option: str) -> Any:
    """Load `module:function`; a UserError that begins with `option` if there is none."""
    module, _, attribute = name.partition(":")
    function = getattr(_import(module, option), attribute, None)
    if not callable(function):
        raise UserError(f"{option}: {module} has no function {attribute!r}")
    return function


def _import(module: str, option: str) -> Any:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{option}: cannot import {module} ({error})") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def discrete_controls(env: Any, env_name: str) -> tuple[list[Any], list[str]]:
    """Actions and names of the controls of a Gymnasium or Gym environment.

    A discrete space has one control per value. Any other vector of buttons or axes has the control "nothing"
    and one for each other value of each button, or for each end of each axis, the rest left alone. Names are
    those that the environment offers, else numbers.

    Raises:
        UserError: the space is nested or unbounded, or has too many controls.
    """
    space, offered = env.action_space, _offered_names(env)
    if hasattr(space, "n") and getattr(space, "shape", ()) == ():
        first, count = int(getattr(space, "start", 0)), int(space.n)
        actions: list[Any] = list(range(first, first + count))
        names = offered if len(offered) == count else [f"action_{action}" for action in actions]
    else:
        neutral, settings = _settings(space, env_name)
        inputs = offered if len(offered) == len(neutral) else [f"input_{i}" for i in range(len(neutral))]
        actions, names = [neutral], ["nothing"]
        for index, suffix, value in settings:
            action = neutral.copy()
            action[index] = value
            actions.append(action)
            names.append(inputs[index] + suffix)
    if len(actions) > MOST_CONTROLS:
        raise UserError(f"--env {env_name}: {len(actions)} controls; at most {MOST_CONTROLS} are possible")
    return actions, names


def _settings(space: Any, env_name: str) -> tuple[np.ndarray, list[tuple[int, str, Any]]]:
    """The action that does nothing, and each other setting of one input: index, suffix of its name, value."""
    shape = getattr(space, "shape", None) or ()
    if len(shape) == 1 and hasattr(space, "nvec"):  # MultiDiscrete
        neutral = np.array(getattr(space, "start", np.zeros(shape)), space.dtype)
        settings = [(i, count, neutral[i] + k) for i, count in enumerate(space.nvec) for k in range(1, count)]
        return neutral, [(i, "" if count == 2 else f"_{value}", value) for i, count, value in settings]
    if len(shape) == 1 and hasattr(space, "n"):  # MultiBinary
        return np.zeros(shape, space.dtype), [(i, "", 1) for i in range(shape[0])]
    if len(shape) == 1 and hasattr(space, "low") and np.abs([space.low, space.high]).max() < _MOST_EXTENT:
        neutral = np.clip(np.zeros(shape, space.dtype), space.low, space.high)
        ends = (("_min", space.low), ("_max", space.high))
        settings = [(i, suffix, end[i]) for i in range(shape[0]) for suffix, end in ends]
        return neutral, [(i, suffix, value) for i, suffix, value in settings if value != neutral[i]]
    raise UserError(
        f"--env {env_name}: no discrete controls can be made of the action space {space}; give "
        "module:function, a function that returns the environment with a simpler action space"
    )


def _offered_names(env: Any) -> list[str]:
    """Names of actions or buttons as far as an environment has any, in the ways that are common."""
    for owner in (env, getattr(env, "unwrapped", env)):
        if hasattr(owner, "get_action_meanings"):  # Atari
            return list(owner.get_action_meanings())
        if hasattr(owner, "action_names"):  # Crafter
            return list(owner.action_names)
        actions = getattr(owner, "actions", None)
        if isinstance(actions, type) and issubclass(actions, enum.Enum):  # MiniGrid
            return [action.name for action in actions]
        buttons = getattr(getattr(owner, "game", None), "get_available_buttons", list)()  # ViZDoom
        if buttons:
            names = [button.name for button in buttons]
            pressed = getattr(owner, "button_map", None)  # of each action, when the space is discrete
            both = [[name for name, on in zip(names, row, strict=True) if on] for row in pressed or []]
            return ["+".join(row) or "nothing" for row in both] or names
    return []
