"""Games in worlds: frames, points and lives, as far as the pictures tell them.

Dimensions: N games side by side, S starts, k frames of history, C colour channels, H W frame.
"""

import numpy as np
import torch

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.games import recognize
from ghostpad.objects.action_motion import ControlState
from ghostpad.world.starts import read_starts
from ghostpad.world.world_model import WorldModel, WorldState


class Games:
    """N games in one world, stepped in one batch.

    Points and lives are those that the game's scoreboard reads from the imagined frames; without one there
    are no points, and games never end.

    Attributes:
        world: where they are played.
        num: N.
        frames_SkHWC: (S, k, H, W, C) uint8, from which a game may begin.
        control_names: what a player can hold: the game's controls when they are known, else the buttons.
        scored: whether points and lives can be read.
        pictures: (N, H, W, 3) uint8, what is shown.
    """

    def __init__(self, world: WorldModel, num: int, temperature: float = 0.0) -> None:
        """Games that have not begun.

        Args:
            world: in evaluation mode, loaded from a folder that holds starts.
            num: N.
            temperature: of the codes, 0 for the likeliest.

        Raises:
            UserError: there are no starts, or the temperature is negative.
        """
        if not temperature >= 0:
            raise UserError(f"temperature {temperature}: must be at least 0")
        self.world, self.num, self.temperature = world, num, temperature
        self.frames_SkHWC = read_starts(world.folder)
        control_map = ControlMap.read(world.folder) if world.folder else None
        names = [f"button {button}" for button in range(world.num_buttons)]
        self.control_names = control_map.control_names if control_map else tuple(names)
        buttons = control_map.button_for_control if control_map else range(world.num_buttons)
        self._buttons = np.array(buttons)
        game = recognize(self.frames_SkHWC[:, -1].transpose(0, 3, 1, 2))
        self._scoreboard = game.scoreboard(num) if game else None
        self.scored = self._scoreboard is not None
        self._generator = torch.Generator(world.device)
        self._state: WorldState | None = None
        self.pictures = np.zeros((num, world.height, world.width, 3), np.uint8)

    @property
    def lives(self) -> np.ndarray:
        """(N,) lives left, the one in play included; zeros when they cannot be read."""
        return self._scoreboard.lives if self._scoreboard else np.zeros(self.num, int)

    def seed(self, seed: int) -> None:
        """Seed the draws of codes, for temperatures above 0."""
        self._generator.manual_seed(seed)

    def begin(self, games: np.ndarray, starts: np.ndarray) -> None:
        """Begin some of the games anew.

        Args:
            games: (n,) which.
            starts: (n,) numbers of starts.

        Raises:
            UserError: there is no such start.
        """
        if starts.min() < 0 or starts.max() >= len(self.frames_SkHWC):
            raise UserError(f"start {starts.tolist()}: they go from 0 to {len(self.frames_SkHWC) - 1}")
        fresh = self.world.start(self.frames_SkHWC[starts])
        if self._state is None:
            self._state = WorldState(np.repeat(fresh.frames[:1], self.num, 0))
        frames, control = self._state.frames.copy(), self._state.control
        frames[games] = fresh.frames
        if control is not None:
            anew = self.world.prior.initial_control(self.world.prior.track(fresh.frames))
            held, overshoot = control.buttons.clone(), control.overshoot.copy()
            held[torch.from_numpy(games)], overshoot[games] = anew.buttons, anew.overshoot
            control = ControlState(held, overshoot)
        self._state = WorldState(frames, control)
        self.pictures[games] = fresh.pictures
        if self._scoreboard:
            self._scoreboard.reset(games, self._shown()[games])

    def step(self, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hold a control (N,) in each; returns points (N,) float64 and whether the last life is lost (N,)."""
        assert self._state is not None, "begin first"
        self._state, _ = self.world.step(
            self._state, self._buttons[controls], self.temperature, self._generator
        )
        self.pictures = self._state.pictures
        if self._scoreboard is None:
            return np.zeros(self.num), np.zeros(self.num, bool)
        return self._scoreboard.step(self._shown())

    def _shown(self) -> np.ndarray:
        """The pictures as the detector takes them."""
        return self.pictures[..., : self.world.num_channels].transpose(0, 3, 1, 2)
