"""One player's game: an imagined game and the emulator beside it, under the same controls.

Dimensions: H W frame, P palette size, h w grid of codes.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ghostpad.buttons.control_map import ControlMap, noop_control
from ghostpad.errors import UserError
from ghostpad.objects.detection import pack_colors
from ghostpad.play.starts import Starts
from ghostpad.world.rollouts import Rollout
from ghostpad.world.world_model import WorldModel

RECORDED = 255  # stands for the button and the control of a recorded frame
KEYS = ("up", "down", "left", "right", "fire")


def keys_for(control_name: str) -> frozenset[str]:
    """Keys that hold a control, by its name: `RIGHTFIRE` → right and fire, `turn left` → left."""
    return frozenset(key for key in KEYS if key in control_name.lower())


def random_controls(controls: ControlMap) -> frozenset[int]:
    """Controls with the same button as NOOP: whether they have an effect is random to the world."""
    noop = noop_control(controls.control_names)
    buttons = controls.button_for_control
    return frozenset(i for i, button in enumerate(buttons) if i != noop and button == buttons[noop])


def map_of_buttons(world: WorldModel) -> ControlMap:
    """Each button as a control of its own, for a world without a control map."""
    buttons = world.buttons_in_use
    given = [tuple(float(button == other) for other in buttons) for button in range(world.num_buttons)]
    return ControlMap(tuple(f"button {button}" for button in buttons), tuple(given), buttons, 0)


class PixelFormat:
    """How pictures are sent: one byte for each pixel where that is lossless, else three.

    Attributes:
        channels: 1 or 3.
        colors: (P, 3) uint8, the colour of each byte; None with three channels.
    """

    def __init__(self, world: WorldModel) -> None:
        model = world.latent_action_model
        self.channels = 1 if world.grayscale or model.predicts_palette else 3
        self.colors: np.ndarray | None = None
        self._keys = np.zeros(0, np.int32)
        if world.grayscale:
            self.colors = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        elif model.predicts_palette:
            colors = (model.palette_PC * 255).round().to(torch.uint8).cpu().numpy()
            self.colors = colors[np.argsort(pack_colors(colors, 1))]
            self._keys = pack_colors(self.colors, 1)

    def pack(self, picture_HW3: np.ndarray) -> bytes:
        """The bytes of a uint8 picture, row by row; a UserError for a colour that the palette lacks."""
        if self.channels == 3:
            return picture_HW3.tobytes()
        if not len(self._keys):
            return picture_HW3[:, :, 0].tobytes()
        keys = pack_colors(picture_HW3, 2)
        indices = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        if (self._keys[indices] != keys).any():
            raise UserError("this frame has a colour that the world has never seen")
        return indices.astype(np.uint8).tobytes()


@dataclass(frozen=True)
class EmulatorPicture:
    """The screen of the emulator, one byte for each pixel, row by row."""

    height: int
    width: int
    pixels: bytes
    new_colors: np.ndarray | None
    """(256, 3) uint8, the colours of the bytes when some of them appear for the first time"""


class EmulatorGame:
    """The real game in an `ALEInterface`, under the controls of a world."""

    def __init__(self, emulator: Any, control_names: tuple[str, ...]) -> None:
        self._emulator = emulator
        actions = {keys_for(action.name): action for action in emulator.getMinimalActionSet()}
        noop = actions[frozenset()]
        self._actions = [actions.get(keys_for(name), noop) for name in control_names]
        self._colors = np.zeros((256, 3), np.uint8)
        self._known = np.zeros(256, bool)

    def act(self, control: int) -> None:
        """Hold a control for one frame; a game that is over starts again."""
        if self._emulator.game_over():
            self._emulator.reset_game()
        self._emulator.act(self._actions[control])

    def picture(self) -> EmulatorPicture:
        """The screen as it is now."""
        screen = self._emulator.getScreen()
        new = ~self._known[screen]
        if new.any():
            # ALE does not export the palette of the console; the screen in RGB shows some of it.
            self._colors[screen[new]] = self._emulator.getScreenRGB()[new]
            self._known[screen[new]] = True
        height, width = screen.shape
        return EmulatorPicture(height, width, screen.tobytes(), self._colors if new.any() else None)


@dataclass(frozen=True)
class GameFrame:
    """One frame of a game, and the button and control that led to it, `RECORDED` at a start."""

    button: int
    control: int
    codes_hw: np.ndarray
    picture: bytes
    """in the world's `PixelFormat`"""
    real: EmulatorPicture | None
    """the emulator beside it, if there is one"""
    milliseconds: float
    """time that the prediction took"""


class Game:
    """A world that is being played, by one thread at a time."""

    def __init__(
        self, world: WorldModel, controls: ControlMap, starts: Starts, seed: int, with_emulator: bool = True
    ) -> None:
        self.world, self.controls, self.starts = world, controls, starts
        self.pixels = PixelFormat(world)
        self.noop = noop_control(controls.control_names)
        self._open_emulator = starts.emulator if with_emulator else None
        self._emulator_game: EmulatorGame | None = None
        self._random_controls = random_controls(controls)
        self._rollout = Rollout(world, controls)
        self._rollout.seed(seed)
        self._no_codes = np.zeros(world.latent_action_model.grid, np.int64)
        self._button = 0

    def buttons_for(self, control: int | None, button: int | None) -> tuple[int, int]:
        """The button for the world and the control for the emulator; a UserError for unknown ones."""
        if control is not None:
            return self.controls.to_button(control), control
        if button not in self.world.buttons_in_use:
            raise UserError(f"there is no button {button}")
        return button, int(np.argmax(self.controls.control_given_button[button]))

    def start(self, episode: int, frame: int) -> GameFrame:
        """Start from a recorded frame, in the world and in the emulator.

        Raises:
            UserError: there is no such frame, or it cannot be sent; the game continues as it was.
        """
        self.starts.require(episode, frame)
        began, previous = time.perf_counter(), self._rollout.state
        try:
            self._rollout.start(self.starts.read(episode, frame)[None])
            picture = self.pixels.pack(self._rollout.pictures[0])
        except UserError:
            self._rollout.state = previous
            raise
        self._emulator_game = self._start_emulator(episode, frame)
        self._button, _ = self.buttons_for(self.noop, None)
        return self._frame(RECORDED, RECORDED, self._no_codes, picture, began)

    def _start_emulator(self, episode: int, frame: int) -> EmulatorGame | None:
        if self._open_emulator is None:
            return None
        try:
            return EmulatorGame(self._open_emulator(episode, frame), self.controls.control_names)
        except UserError:
            return None  # this episode cannot be replayed

    def advance(self, button: int, control: int, temperature: float) -> GameFrame:
        """Predict the next frame under the button, and hold the control in the emulator, after `start`.

        Under a control with random effect codes are drawn at a temperature of at least 1.
        """
        if control in self._random_controls:
            temperature = max(temperature, 1.0)
        if self._emulator_game is not None:
            self._emulator_game.act(control)
        began = time.perf_counter()
        self._button = button
        codes_Nhw = self._rollout.press(button, temperature)
        picture = self.pixels.pack(self._rollout.pictures[0])
        return self._frame(button, control, codes_Nhw[0].cpu().numpy(), picture, began)

    def prefetch(self) -> None:
        """Forecast the next transition under the last button, which makes the next step faster."""
        self._rollout.prefetch(self._button)

    def _frame(
        self, button: int, control: int, codes_hw: np.ndarray, picture: bytes, began: float
    ) -> GameFrame:
        milliseconds = 1000 * (time.perf_counter() - began)
        real = self._emulator_game.picture() if self._emulator_game is not None else None
        return GameFrame(button, control, codes_hw, picture, real, milliseconds)
