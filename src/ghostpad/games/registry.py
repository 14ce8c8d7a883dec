"""Game elements, predicted against true: a table of games, each with its detector and the parts it finds.

A detector turns pictures into columns (`ball_x`, `paddle_x`, `bricks`, …); a part says which columns hold it
and how it is scored. The copy model is scored the same way, with what was found in the current frames.

Dimensions: N transitions, C colour channels, H W frame.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ghostpad.games import pong
from ghostpad.games.breakout import detector as breakout
from ghostpad.games.breakout import events as breakout_events
from ghostpad.games.elements import Ball, Bar, Found, Part, Wall, as_floats
from ghostpad.games.sums import Sums

_NEAR = 8
_BALL_COLUMNS = ("ball_x", "ball_y")


@dataclass(frozen=True)
class Game:
    """One row of the table of games."""

    name: str
    applies: Callable[[np.ndarray], bool]
    """Whether (N, C, H, W) pictures, uint8, are of this game."""
    detect: Callable[[np.ndarray], Found]
    """Finds its elements in (N, C, H, W) pictures, uint8 or float in [0, 1]."""
    events: Callable[[Found, int], dict[str, np.ndarray]]
    """What happens in the transitions of an episode: from the columns of its frames and the stride."""
    parts: dict[str, Part]
    paddle: str
    """Column with the place of what the player moves."""
    visible: Callable[[Found], np.ndarray]
    """Frames, by the columns of a recording, in which at least half of the ball is in the open."""

    @property
    def columns(self) -> set[str]:
        """Columns that a recording must offer to take the detector's place."""
        return {self.paddle, *_BALL_COLUMNS, *(p.states for p in self.parts.values() if isinstance(p, Wall))}


GAMES = (
    Game(
        "breakout",
        breakout.applies,
        breakout.detect,
        breakout_events.events,
        {"ball": Ball(), "paddle": Bar("paddle_x", "paddle_width"), "bricks": Wall()},
        paddle="paddle_x",
        visible=breakout.ball_visible,
    ),
    Game(
        "pong",
        pong.applies,
        pong.detect,
        pong.events,
        {
            "ball": Ball(),
            "paddle": Bar("paddle_y", "paddle_height"),
            "opponent": Bar("opponent_y", "opponent_height"),
        },
        paddle="paddle_y",
        visible=pong.ball_visible,
    ),
)


def game_of(pictures_NCHW: np.ndarray) -> Game | None:
    """The game that pictures show, None when no detector knows it."""
    return next((game for game in GAMES if game.applies(pictures_NCHW)), None)


def element_sums(game: Game, drawn: np.ndarray, true: np.ndarray, current: np.ndarray) -> Sums:
    """Quantities per transition of every part, named `<part>.<quantity>` and `<part>.copy_<quantity>`."""
    return found_sums(game, game.detect(drawn), game.detect(true), game.detect(current))


def found_sums(game: Game, found: Found, truth: Found, before: Found) -> Sums:
    """The same from what was found in the drawn, the true and the current pictures."""
    sums = {}
    for name, part in game.parts.items():
        for prefix, columns in (("", found), ("copy_", before)):
            scores = part.score(columns, truth, before)
            sums |= {f"{name}.{prefix}{quantity}": values for quantity, values in scores.items()}
    return sums


def summarize_elements(game: Game, sums: Sums) -> Sums:
    """Metrics of every part, named `<part>.<metric>` and `<part>.copy_<metric>`."""
    metrics = {}
    for name, part in game.parts.items():
        for prefix in ("", "copy_"):
            start = f"{name}.{prefix}"
            own = {key.removeprefix(start): value for key, value in sums.items() if key.startswith(start)}
            metrics |= {f"{start}{metric}": value for metric, value in part.summarize(own).items()}
    return metrics


def transfer_sums(game: Game, drawn: Found, current: Found, giver: Found, next_giver: Found) -> Sums:
    """Whether codes that move the paddle in one place move it the same way in another.

    Args:
        game: whose paddle it is.
        drawn: what was found in pictures decoded from the current frames and the codes of the givers.
        current: what was found in the current frames.
        giver: the same of the transitions that the codes come from.
        next_giver: the same of their next frames.

    Returns:
        `transfer_moved`, `transfer_right`; the same `_near` where both paddles start within 8 pixels.
    """
    starts, ends, own, moved = (
        found[game.paddle].astype(int) for found in (giver, next_giver, current, drawn)
    )
    known = (starts >= 0) & (ends >= 0) & (own >= 0)
    goes = known & (starts != ends)
    right = goes & (moved >= 0) & (np.sign(moved - own) == np.sign(ends - starts))
    near = np.abs(starts - own) <= _NEAR
    sums = {"transfer_moved": goes, "transfer_right": right}
    return as_floats({**sums, "transfer_moved_near": goes & near, "transfer_right_near": right & near})


def distances(game: Game, sums: Sums) -> dict[str, float]:
    """Median and 95th percentile (pixels) of what has a place, where it was found in both pictures."""
    metrics = {}
    for key, values in sums.items():
        part, _, quantity = key.partition(".")
        if part in game.parts and quantity in ("distance", "copy_distance"):
            prefix = quantity.removesuffix("distance")
            known = values[~np.isnan(values)]
            for name, level in (("median_px", 0.5), ("p95_px", 0.95)):
                metrics[f"{part}.{prefix}{name}"] = float(np.quantile(known, level)) if len(known) else np.nan
    return metrics
