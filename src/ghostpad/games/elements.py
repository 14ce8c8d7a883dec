"""The parts of a game, and how each is scored: found in a prediction against found in the truth.

Dimensions: N transitions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpad.games.sums import Sums, ratio

_LIMITS = (1, 2)
"""Distances (pixels) that count as near."""
Found = dict[str, np.ndarray]
"""What a detector found, or a recording has: columns with one row per picture."""


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
        sums = _place_sums(there, seen, away)
        sums |= {"transitions": np.ones(len(there)), "false": drawn[self.count] > true[self.count]}
        for axis, column in (("vx", self.x), ("vy", self.y)):
            was = current[column].astype(int)
            moved = np.where(there & (current[self.x] >= 0), np.sign(true[column] - was), 0)
            sums[f"{axis}_moved"] = moved != 0
            sums[f"{axis}_right"] = (moved != 0) & seen & (np.sign(drawn[column] - was) == moved)
        return as_floats(sums)

    @staticmethod
    def summarize(sums: Sums) -> Sums:
        """Shares of the transitions whose true next frame shows the ball; false balls of all transitions."""
        return {
            **_place_shares(sums),
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
        overlap = np.where(there & seen, ratio(shared, united), 0)
        return as_floats({**_place_sums(there, seen, np.abs(first - other)), "overlap": overlap})

    @staticmethod
    def summarize(sums: Sums) -> Sums:
        """Shares of the transitions whose true next frame shows the bar; the IoU of none is 0."""
        return {**_place_shares(sums), "iou": ratio(sums["overlap"], sums["there"])}


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
        return as_floats(sums)

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


def _place_sums(there: np.ndarray, seen: np.ndarray, away: np.ndarray) -> dict[str, Any]:
    """What everything that has a place is scored by: whether it is found, and how far away (pixels)."""
    distance = np.where(there & seen, away, np.nan)
    within = {f"within_{limit}": distance <= limit for limit in _LIMITS}
    return {"there": there, "found": there & seen, "distance": distance, **within}


def _place_shares(sums: Sums) -> Sums:
    """The same as shares of the transitions whose true next frame shows it."""
    shares = {f"within_{limit}px": ratio(sums[f"within_{limit}"], sums["there"]) for limit in _LIMITS}
    return {"detected": ratio(sums["found"], sums["there"]), **shares}


def _gap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.abs(first.astype(int) - second.astype(int))


def as_floats(sums: dict[str, Any]) -> Sums:
    """Counts and truths as float64."""
    return {name: np.asarray(values, np.float64) for name, values in sums.items()}
