"""A world that is played, and what its page has to know of it."""

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ghostpad.buttons.control_map import ControlMap, noop_control
from ghostpad.errors import UserError
from ghostpad.play.game import Game, PixelFormat, keys_for, random_controls
from ghostpad.play.messages import MAX_FPS, MAX_TEMPERATURE
from ghostpad.play.starts import Starts
from ghostpad.world.world_model import WorldModel

OBJECT_CENTRIC = {
    "Networks": "where each tracked object goes, the codes of all else, and the cells that these change.",
    "Code": "tracks the objects, composites them and fills in what was behind them.",
    "Recording": "the frames it starts from, and all that has not changed since.",
}
PLAIN = {
    "Networks": "the codes of what happens next, and every pixel of the next frame.",
    "Code": "in which order codes are decided.",
    "Recording": "the frames it starts from.",
}
"""Where the pixels come from, as pages explain it."""


@dataclass(frozen=True)
class ServedWorld:
    """A world in evaluation mode that is served, and the settings that all players share."""

    name: str
    model_hash: str
    world: WorldModel
    engine: str
    """name of the library that computes it"""
    controls: ControlMap
    named: bool
    """whether the controls are those of the game, not the buttons themselves"""
    starts: Starts
    no_emulator: str
    """why there is no real game beside it; empty when there is one"""
    fps: float
    max_players: int
    seed: int

    def new_game(self, number: int) -> Game:
        """A game for a player; the same number gives the same draws."""
        return Game(self.world, self.controls, self.starts, self.seed + number, not self.no_emulator)

    def picture(self, episode: int, frame: int) -> bytes:
        """A frame to start from, as a PNG; a UserError if there is none."""
        self.starts.require(episode, frame)
        file = io.BytesIO()
        Image.fromarray(self.world.start(self.starts.read(episode, frame)).pictures[0]).save(file, "PNG")
        return file.getvalue()

    def welcome(self) -> dict[str, Any]:
        """The first message to a page, which describes the world."""
        world, names, pixels = self.world, self.controls.control_names, PixelFormat(self.world)
        random = random_controls(self.controls)
        return {
            "type": "welcome",
            "world": self.name,
            "hash": self.model_hash[:12],
            "engine": self.engine,
            "height": world.height,
            "width": world.width,
            "channels": pixels.channels,
            "colors": None if pixels.colors is None else pixels.colors.tolist(),
            "grid": list(world.latent_action_model.grid),
            "codes": world.latent_action_model.codebook_size,
            "objects": world.uses_objects,
            "explanation": OBJECT_CENTRIC if world.uses_objects else PLAIN,
            "buttons": world.buttons_in_use,
            "controls": [
                {"name": name, "holds": sorted(keys_for(name)), "chance": number in random}
                for number, name in enumerate(names)
            ],
            "rest": noop_control(names),
            "control_given_button": self.controls.control_given_button,
            "button_for_control": self.controls.button_for_control,
            "named": self.named,
            "labels": self.controls.num_labels,
            "episodes": [
                {"name": name, "frames": frames}
                for name, frames in zip(self.starts.names, self.starts.lengths, strict=True)
            ],
            "beside": not self.no_emulator,
            "fps": self.fps,
            "fastest": MAX_FPS,
            "hottest": MAX_TEMPERATURE,
        }


def control_map_of(world: WorldModel) -> ControlMap | None:
    """The control map in the folder of a world, None without one; a UserError if it does not fit."""
    found = ControlMap.read(world.folder) if world.folder else None
    if found is not None and len(found.control_given_button) != world.num_buttons:
        raise UserError(
            f"{world.folder}/controls.json: is for {len(found.control_given_button)} buttons, but the world "
            f"has {world.num_buttons}; run ghostpad controls again"
        )
    return found
