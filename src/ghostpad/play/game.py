"""One player's game: the predicted world, and the real one beside it, under the same controls.

Dimensions: H W frame, P palette size, h w grid of codes.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.objects.detection import packed
from ghostpad.play.keys import resting_control
from ghostpad.play.real_game import RealGame, RealPicture
from ghostpad.play.starts import Starts
from ghostpad.world.world_model import WorldModel, WorldState

NOTHING = 255


def controls_of(world: WorldModel) -> ControlMap | None:
    """The controls that lie beside a world, None when there are none.

    Raises:
        UserError: they are those of another world.
    """
    found = ControlMap.read(world.folder) if world.folder else None
    if found is not None and len(found.control_given_button) != world.num_buttons:
        raise UserError(
            f"{world.folder}/controls.json: is for {len(found.control_given_button)} buttons, but the world "
            f"has {world.num_buttons}; run ghostpad controls again"
        )
    return found


def buttons_alone(world: WorldModel) -> ControlMap:
    """Each button as a control of its own, for a world whose buttons nobody has named."""
    buttons = world.buttons_in_use
    names = tuple(f"button {button}" for button in buttons)
    given = [tuple(float(button == other) for other in buttons) for button in range(world.num_buttons)]
    return ControlMap(names, tuple(given), buttons, 0)


def left_to_chance(controls: ControlMap) -> frozenset[int]:
    """Controls without a button of their own: what they do is chance to the world, like serving a ball."""
    rest = resting_control(controls.control_names)
    pressed = controls.button_for_control
    return frozenset(
        control for control in range(len(pressed)) if control != rest and pressed[control] == pressed[rest]
    )


class PixelFormat:
    """How a world's pictures travel: one byte for each pixel where that loses nothing, else three."""

    def __init__(self, world: WorldModel) -> None:
        model = world.latent_action_model
        self.channels = 1 if world.grayscale or model.predicts_palette else 3
        self.colors: np.ndarray | None = None
        """(P, 3) uint8, what the byte of a pixel stands for; None with three channels."""
        self._keys = np.zeros(0, np.int32)
        if world.grayscale:
            self.colors = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        elif model.predicts_palette:
            colors = (model.palette_PC * 255).round().to(torch.uint8).cpu().numpy()
            self.colors = colors[np.argsort(packed(colors, 1))]
            self._keys = packed(self.colors, 1)

    def pack(self, picture_HW3: np.ndarray) -> bytes:
        """The bytes of a uint8 picture, row by row.

        Raises:
            UserError: it has a colour that is not in the palette.
        """
        if self.channels == 3:
            return picture_HW3.tobytes()
        if not len(self._keys):
            return picture_HW3[:, :, 0].tobytes()
        keys = packed(picture_HW3, 2)
        places = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        if (self._keys[places] != keys).any():
            raise UserError("this frame has a colour that the world has never seen")
        return places.astype(np.uint8).tobytes()


@dataclass(frozen=True)
class Shown:
    """One frame of the game: button and control that led to it, or `NOTHING` when it was recorded."""

    button: int
    control: int
    codes_hw: np.ndarray
    picture: bytes
    real: RealPicture | None
    milliseconds: float
    """What it took to predict."""


class Game:
    """A world that is being played. Not for several threads at once."""

    def __init__(
        self, world: WorldModel, controls: ControlMap, starts: Starts, seed: int, beside: bool = True
    ) -> None:
        self.world, self.controls, self.starts = world, controls, starts
        self._emulator = starts.emulator if beside else None
        self._real: RealGame | None = None
        self.pixels = PixelFormat(world)
        self._buttons = world.buttons_in_use
        self._left_to_chance = left_to_chance(controls)
        self.rest = resting_control(controls.control_names)
        self._generator = torch.Generator(world.device).manual_seed(seed)
        self._no_codes = np.zeros(world.latent_action_model.grid, np.int64)
        self._state: WorldState
        self._button: int

    def buttons_for(self, control: int | None, button: int | None) -> tuple[int, int]:
        """The button to press in the world and the control to hold in the real game.

        Raises:
            UserError: there is no such control or button.
        """
        if control is not None:
            return self.controls.to_button(control), control
        if button not in self._buttons:
            raise UserError(f"there is no button {button}")
        return button, int(np.argmax(self.controls.control_given_button[button]))

    def start(self, episode: int, frame: int) -> Shown:
        """Begin from a recorded frame, which the real game shows too.

        Raises:
            UserError: there is no such frame, or the world cannot draw it; the game goes on as it was.
        """
        self.starts.require(episode, frame)
        began = time.perf_counter()
        state = self.world.start(self.starts.read(episode, frame))
        picture = self.pixels.pack(state.pictures[0])
        self._state, self._real = state, self._real_game(episode, frame)
        self._button, _ = self.buttons_for(self.rest, None)
        return self._shown(NOTHING, NOTHING, self._no_codes, picture, began)

    def _real_game(self, episode: int, frame: int) -> RealGame | None:
        if self._emulator is None:
            return None
        try:
            return RealGame(self._emulator(episode, frame), self.controls.control_names)
        except UserError:
            return None  # this episode cannot be played again

    def advance(self, button: int, control: int, temperature: float) -> Shown:
        """Predict the next frame with that button held, and hold the control in the real game.

        A control that is left to chance draws what happens as often as it is expected, as at temperature 1.
        Before it, `start`.
        """
        if control in self._left_to_chance:
            temperature = max(temperature, 1.0)
        if self._real is not None:
            self._real.act(control)
        began = time.perf_counter()
        self._button = button
        self._state, codes = self.world.step(self._state, button, temperature, self._generator)
        picture = self.pixels.pack(self._state.pictures[0])
        return self._shown(button, control, codes[0].cpu().numpy(), picture, began)

    def prefetch(self) -> None:
        """Forecast the next transition under the last button, which makes the next step faster."""
        self._state = self.world.prefetch(self._state, self._button)

    def _shown(self, button: int, control: int, codes_hw: np.ndarray, picture: bytes, began: float) -> Shown:
        milliseconds = 1000 * (time.perf_counter() - began)
        real = self._real.picture() if self._real is not None else None
        return Shown(button, control, codes_hw, picture, real, milliseconds)
