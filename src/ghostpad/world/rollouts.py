"""Rollouts: imagined games that a world model continues from recorded frames under controls or buttons.

The environment, the measurements beside the emulator and the browser game all step a world through `Rollout`.

Dimensions: N games side by side, n games that restart, S starts, k frames of history, A controls,
C colour channels, H W frame, h w grid of codes.
"""

import numpy as np
import torch
from torch import Tensor

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.games import Scoreboard, recognize
from ghostpad.objects.action_motion import ControlState
from ghostpad.world.starts import read_starts
from ghostpad.world.world_model import Buttons, WorldModel, WorldState


class Rollout:
    """N imagined games in one world, stepped in one batch.

    Attributes:
        world: in evaluation mode.
        control_names: the controls of the map; without one, each button of the world is a control.
        button_for_control: (A,) int, the button that stands for each control.
        start_frames: (S, k, H, W, C) uint8 histories for `restart`; empty when none were given.
        scoreboard: reads points and lives from the imagined frames; None when they cannot be read.
        state: the worlds, None before the first start.
        points: (N,) float64, points that the last step brought; zeros without a scoreboard.
        over: (N,) bool, whether the last life was lost in the last step; False without a scoreboard.
    """

    def __init__(
        self,
        world: WorldModel,
        control_map: ControlMap | None = None,
        start_frames: np.ndarray | None = None,
        scoreboard: Scoreboard | None = None,
    ) -> None:
        self.world, self.scoreboard = world, scoreboard
        buttons = control_map.button_for_control if control_map else range(world.num_buttons)
        names = control_map.control_names if control_map else [f"button {button}" for button in buttons]
        self.control_names, self.button_for_control = tuple(names), np.array(buttons)
        self.start_frames = np.zeros((0, 0, 0, 0, 0), np.uint8) if start_frames is None else start_frames
        self.state: WorldState | None = None
        self.points, self.over = np.zeros(0), np.zeros(0, bool)
        self._generator = torch.Generator(world.device)

    @classmethod
    def from_world(cls, world: WorldModel, num: int) -> "Rollout":
        """N games with the control map and starts in the folder of a world; a UserError without starts."""
        frames, _ = read_starts(world.folder)
        game = recognize(frames[:, -1].transpose(0, 3, 1, 2))
        control_map = ControlMap.read(world.folder) if world.folder else None
        return cls(world, control_map, frames, game.scoreboard(num) if game else None)

    def seed(self, seed: int) -> None:
        """Seed the draws of codes, for temperatures above 0."""
        self._generator.manual_seed(seed)

    def start(self, frames: np.ndarray) -> None:
        """Start all N games from histories (N, k, H, W, 3) or (N, k, C, H, W), see `WorldModel.start`."""
        self._started(self.world.start(frames), np.arange(len(frames)))

    def restart(self, games: np.ndarray, starts: np.ndarray) -> None:
        """Start some games (n,) again from `start_frames`, by their numbers (n,); at first, all N in order.

        Raises:
            UserError: a start is out of range.
        """
        if starts.min() < 0 or starts.max() >= len(self.start_frames):
            raise UserError(f"start {starts.tolist()}: must be from 0 to {len(self.start_frames) - 1}")
        fresh = self.world.start(self.start_frames[starts])
        if self.state is None:
            self._started(fresh, games)
            return
        frames, control = self.state.frames.copy(), self.state.control
        frames[games] = fresh.frames
        if control is not None:
            initial = self.world.prior.initial_control(self.world.prior.track(fresh.frames))
            buttons, overshoot = control.buttons.clone(), control.overshoot.copy()
            buttons[torch.from_numpy(games)], overshoot[games] = initial.buttons, initial.overshoot
            control = ControlState(buttons, overshoot)
        self._started(WorldState(frames, control), games)

    def _started(self, state: WorldState, games: np.ndarray) -> None:
        self.state = state
        self.points, self.over = np.zeros(len(self.pictures)), np.zeros(len(self.pictures), bool)
        if self.scoreboard:
            self.scoreboard.reset(games, self.frames[games])

    def step(self, controls: np.ndarray, temperature: float = 0.0) -> Tensor:
        """Hold a control (N,) in each game for one frame; see `press`."""
        return self.press(self.button_for_control[controls], temperature)

    def press(self, buttons: Buttons, temperature: float = 0.0) -> Tensor:
        """Hold a button in each game, (N,) or one for all, for one frame; errors as in `WorldModel.step`.

        Returns:
            The codes (N, h, w) of the transition.
        """
        assert self.state is not None, "start first"
        self.state, codes_Nhw = self.world.step(self.state, buttons, temperature, self._generator)
        if self.scoreboard:
            self.points, self.over = self.scoreboard.step(self.frames)
        return codes_Nhw

    def prefetch(self, buttons: Buttons) -> None:
        """Forecast the next transition under these buttons, which makes the next step faster."""
        assert self.state is not None, "start first"
        self.state = self.world.prefetch(self.state, buttons)

    @property
    def pictures(self) -> np.ndarray:
        """The newest frames for display: (N, H, W, 3) uint8."""
        assert self.state is not None, "start first"
        return self.state.pictures

    @property
    def frames(self) -> np.ndarray:
        """The newest frames as detectors take them: (N, C, H, W) uint8."""
        return self.pictures[..., : self.world.num_channels].transpose(0, 3, 1, 2)
