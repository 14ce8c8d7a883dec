"""What Ghostpad knows about single games: truth from memory, a detector, events, scores, scripted players.

The only package that names a ball or a paddle; everything else asks `recognize` or `game_named` for a `Game`.
"""

import numpy as np

from ghostpad.games.base import Controlled, Game, RolloutStates, Scoreboard, ScriptedPlayer
from ghostpad.games.breakout import Breakout
from ghostpad.games.elements import Bar, Element, GameState, Metric, Sprite, Tiles
from ghostpad.games.freeway import Freeway
from ghostpad.games.pong import Pong

__all__ = [
    "GAMES",
    "REFERENCE_GAME",
    "Bar",
    "Controlled",
    "Element",
    "Game",
    "GameState",
    "Metric",
    "RolloutStates",
    "Scoreboard",
    "ScriptedPlayer",
    "Sprite",
    "Tiles",
    "game_named",
    "recognize",
]

GAMES: tuple[Game, ...] = (Breakout(), Pong(), Freeway())
"""The registry: a new game is one module and one entry here."""
REFERENCE_GAME = GAMES[0]
"""Its metric keys belong to the stable schema: they are in every `metrics.json`, null for other games."""


def game_named(name: str | None) -> Game | None:
    """The game with this ROM name, None when it is not in the registry."""
    return next((game for game in GAMES if game.name == name), None)


def recognize(frames_NCHW: np.ndarray) -> Game | None:
    """The game that uint8 frames (N, C, H, W) show, None when it is not in the registry."""
    return next((game for game in GAMES if game.applies(frames_NCHW)), None)
