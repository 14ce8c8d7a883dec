"""Game elements, predicted against true: a table of games, each with its detector and the parts it finds.

A detector turns pictures into columns (`ball_x`, `paddle_x`, `bricks`, …); a part says which columns hold it
and how it is scored. The copy model is scored the same way, with what was found in the current frames.

Dimensions: N transitions, C colour channels, H W frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.evaluation import breakout, breakout_events, pong
from ghostpad.evaluation.reconstruction import Sums, ratio

Found = dict[str, np.ndarray]
"""What a detector found, one row per picture."""


@dataclass(frozen=True)
class Ball:
    """A small thing that flies about."""

    x: str = "ball_x"
    """Column of its left pixel, negative where it was not found."""
    y: str = "ball_y"
    """Column of its top pixel."""
    count: str = "num_balls"
    """Column with the number of balls."""

    def score(self, drawn: Found, true: Found, current: Found) -> Sums:
        """Quantities per transition; distances are the larger of |Δx| and |Δy|, in pixels."""
        there, seen = true[self.x] >= 0, drawn[self.x] >= 0
        away = np.maximum(_gap(drawn[self.x], true[self.x]), _gap(drawn[self.y], true[self.y]))
        distance = np.where(there & seen, away, np.nan)
        sums = {
            "transitions": np.ones(len(there)),
            "there": there,
            "found": there & seen,
            "distance": distance,
        }
        sums["false"] = drawn[self.count] > true[self.count]
        for limit in (1, 2):
            sums[f"within_{limit}"] = distance <= limit
        for axis, column in (("vx", self.x), ("vy", self.y)):
            was = current[column].astype(int)
            moved = np.where(there & (current[self.x] >= 0), np.sign(true[column] - was), 0)
            sums[f"{axis}_moved"] = moved != 0
            sums[f"{axis}_right"] = (moved != 0) & seen & (np.sign(drawn[column] - was) == moved)
        return _floats(sums)

    @staticmethod
    def summarize(sums: Sums) -> Sums:
        """Shares of the transitions whose true next frame shows the ball; false balls of all transitions."""
        return {
            "detected": ratio(sums["found"], sums["there"]),
            "within_1px": ratio(sums["within_1"], sums["there"]),
            "within_2px": ratio(sums["within_2"], sums["there"]),
            "false_share": ratio(sums["false"], sums["transitions"]),
            "vx_sign": ratio(sums["vx_right"], sums["vx_moved"]),
            "vy_sign": ratio(sums["vy_right"], sums["vy_moved"]),
        }


@dataclass(frozen=True)
class Bar:
    """A bar that moves along one axis."""

    position: str
    """Column of its first pixel along that axis, negative where it was not found."""
    length: str
    """Column of its length (pixels)."""

    def score(self, drawn: Found, true: Found, current: Found) -> Sums:
        """Quantities per transition; distances in pixels."""
        there, seen = true[self.position] >= 0, drawn[self.position] >= 0
        first, other = (table[self.position].astype(int) for table in (drawn, true))
        last, other_last = first + drawn[self.length], other + true[self.length]
        shared = np.maximum(np.minimum(last, other_last) - np.maximum(first, other), 0)
        united = np.maximum(last, other_last) - np.minimum(first, other)
        distance = np.where(there & seen, np.abs(first - other), np.nan)
        overlap = np.where(there & seen, ratio(shared, united), 0)
        sums = {"there": there, "found": there & seen, "distance": distance, "overlap": overlap}
        for limit in (1, 2):
            sums[f"within_{limit}"] = distance <= limit
        return _floats(sums)

    @staticmethod
    def summarize(sums: Sums) -> Sums:
        """Shares of the transitions whose true next frame shows the bar; the IoU of none is 0."""
        return {
            "detected": ratio(sums["found"], sums["there"]),
            "within_1px": ratio(sums["within_1"], sums["there"]),
            "within_2px": ratio(sums["within_2"], sums["there"]),
            "iou": ratio(sums["overlap"], sums["there"]),
        }


@dataclass(frozen=True)
class Wall:
    """Things that stand or are gone, each at its place."""

    states: str = "bricks"
    """Column of their states, (N, …) bool."""

    def score(self, drawn: Found, true: Found, current: Found) -> Sums:
        """Numbers of things per transition."""
        now, before, after = (
            table[self.states].reshape(len(table[self.states]), -1) for table in (drawn, current, true)
        )
        gone, drawn_gone = before & ~after, before & ~now
        sums: dict[str, Any] = {
            "states": np.full(len(now), now.shape[1]),
            "right": (now == after).sum(1),
            "gone": gone.sum(1),
            "drawn_gone": drawn_gone.sum(1),
            "rightly_gone": (gone & drawn_gone).sum(1),
            "transitions": np.ones(len(now)),
            "back": (~before & ~after & now).any(1),
        }
        return _floats(sums)

    @staticmethod
    def summarize(sums: Sums) -> Sums:
        """States right; precision and recall of what vanishes; share of transitions that bring one back."""
        return {
            "state_accuracy": ratio(sums["right"], sums["states"]),
            "vanish_precision": ratio(sums["rightly_gone"], sums["drawn_gone"]),
            "vanish_recall": ratio(sums["rightly_gone"], sums["gone"]),
            "back_share": ratio(sums["back"], sums["transitions"]),
        }


Part = Ball | Bar | Wall
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
    ),
)


def game_of(pictures_NCHW: np.ndarray) -> Game | None:
    """The game that pictures show, None when no detector knows it."""
    return next((game for game in GAMES if game.applies(pictures_NCHW)), None)


def element_sums(game: Game, drawn: np.ndarray, true: np.ndarray, current: np.ndarray) -> Sums:
    """Quantities per transition of every part, named `<part>.<quantity>` and `<part>.copy_<quantity>`."""
    found, truth, before = game.detect(drawn), game.detect(true), game.detect(current)
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


def transfer_sums(
    game: Game, drawn: np.ndarray, current: np.ndarray, giver: np.ndarray, next_giver: np.ndarray
) -> Sums:
    """Whether codes that move the paddle in one place move it the same way in another.

    Args:
        game: whose paddle it is.
        drawn: pictures decoded from `current` and the codes of the givers.
        current: (N, C, H, W) frames.
        giver: frames of the transitions that the codes come from.
        next_giver: their next frames.

    Returns:
        `transfer_moved`, `transfer_right`; the same `_near` where both paddles start within 8 pixels.
    """
    starts, ends, own, moved = (
        game.detect(pictures)[game.paddle].astype(int) for pictures in (giver, next_giver, current, drawn)
    )
    known = (starts >= 0) & (ends >= 0) & (own >= 0)
    goes = known & (starts != ends)
    right = goes & (moved >= 0) & (np.sign(moved - own) == np.sign(ends - starts))
    near = np.abs(starts - own) <= _NEAR
    sums = {"transfer_moved": goes, "transfer_right": right}
    return _floats({**sums, "transfer_moved_near": goes & near, "transfer_right_near": right & near})


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


def _gap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.abs(first.astype(int) - second.astype(int))


def _floats(sums: dict[str, Any]) -> Sums:
    return {name: np.asarray(values, np.float64) for name, values in sums.items()}
