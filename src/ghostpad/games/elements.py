"""Elements of games and how a predicted frame is scored on them: predicted state against true state.

An element reads its columns from the state of a game and offers per-transition quantities (`score`) and the
metrics of their sums (`summarize`). Kinds: `Sprite`, `Bar`, `Tiles`; a game may bring its own. One element
may stand for n like objects, such as cars: its columns are (N, n), and it is scored on all of them together.

Dimensions: N transitions.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ghostpad.sums import Sums, as_floats, ratio

GameState = dict[str, np.ndarray]
"""State of a game by variable (`ball_x`, `score`, …), one row per frame: read from memory or detected."""

_LIMITS_PX = (1, 2)


class Metric(NamedTuple):
    """A number in `metrics.json`."""

    unit: str
    meaning: str
    title: str = ""
    """short, for tables; the number is not shown in them when empty"""


_SHARE = "share of transitions"


def _placed(what: str, title: str = "") -> dict[str, Metric]:
    found = "detected in the prediction, of those where it is in the true frame"
    return {
        "detected": Metric(_SHARE, found, title),
        "within_1px": Metric(_SHARE, f"detected, and {what} at most 1 pixel off", "within 1 px"),
        "within_2px": Metric(_SHARE, f"detected, and {what} at most 2 pixels off", "within 2 px"),
        "median_px": Metric(
            "pixels", f"median distance of {what}, where detected in both", "median distance, where detected"
        ),
        "p95_px": Metric("pixels", "95th percentile of the same", "95th percentile of the distance"),
    }


def _per_transition(sums: Mapping[str, Any]) -> Sums:
    """(N,) of quantities of one object, or over n objects their sums, of the distances their mean."""
    reduced = {}
    for name, values in as_floats(sums).items():
        if values.ndim > 1 and name == "distance":
            values = ratio(np.nansum(values, 1), (~np.isnan(values)).sum(1))
        reduced[name] = values.sum(1) if values.ndim > 1 else values
    return reduced


class Element(ABC):
    """One kind of element.

    Attributes:
        metrics: unit and meaning of what `summarize` returns, and of the quantiles of a `distance`.
    """

    metrics: ClassVar[Mapping[str, Metric]]

    @property
    def columns(self) -> set[str]:
        """Columns of the true state that `score` reads."""
        return set(vars(self).values())

    @abstractmethod
    def score(self, predicted: GameState, true: GameState, current: GameState) -> Sums:
        """Quantities per transition, (N,) float64 each.

        Args:
            predicted: state detected in the predicted next frame.
            true: state in the true next frame.
            current: state in the current frame.
        """

    @abstractmethod
    def summarize(self, sums: Sums) -> Sums:
        """Metrics of the sums over transitions."""

    @abstractmethod
    def detector_keys(self, name: str) -> dict[str, Metric]:
        """The numbers of `detector_metrics` for the element `name`."""

    @abstractmethod
    def detector_metrics(self, detected: GameState, true: GameState) -> tuple[float, ...]:
        """How well the detector agrees with the true state of the same frames: a value for each key."""


class _Positioned(Element):
    """An element with a position, negative where it is not visible."""

    @abstractmethod
    def _offsets(self, state: GameState, true: GameState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where it is visible in truth, where it is detected, and the distance of the two (pixels).

        (N,) each, (N, n) for n objects.
        """

    def _position_sums(self, state: GameState, true: GameState) -> dict[str, Any]:
        there, detected, distance = self._offsets(state, true)
        distance = np.where(there & detected, distance, np.nan)
        within = {f"within_{limit}": distance <= limit for limit in _LIMITS_PX}
        return {"there": there, "found": there & detected, "distance": distance, **within}

    @staticmethod
    def _position_shares(sums: Sums) -> Sums:
        """Shares of the transitions whose true next frame shows the element."""
        shares = {f"within_{limit}px": ratio(sums[f"within_{limit}"], sums["there"]) for limit in _LIMITS_PX}
        return {"detected": ratio(sums["found"], sums["there"]), **shares}

    def detector_keys(self, name: str) -> dict[str, Metric]:
        """Share of the frames with the element in which it is detected within 1 pixel."""
        return {f"{name}_within_1px": Metric("share of frames", f"{name} detected within 1 pixel")}

    def detector_metrics(self, detected: GameState, true: GameState) -> tuple[float, ...]:
        """The same."""
        sums = self._position_sums(detected, true)
        return (float(ratio(sums["within_1"].sum(), sums["there"].sum())),)


@dataclass(frozen=True)
class Sprite(_Positioned):
    """A small object, or n of them, with a position.

    Attributes:
        x: column of its left pixel, negative where it is not visible.
        y: column of its top pixel.
        count: column with the number of objects that are visible, (N,).
    """

    x: str
    y: str
    count: str

    metrics: ClassVar = _placed("the larger of |Δx| and |Δy|", "detected") | {
        **{
            f"v{axis}_sign": Metric(
                _SHARE,
                f"moves in the right direction in {axis}, of those where it moves in {axis}",
                f"{name} direction correct",
            )
            for axis, name in (("x", "horizontal"), ("y", "vertical"))
        },
        "false_share": Metric(
            _SHARE, "more of them in the prediction than in the truth", "too many detected"
        ),
    }

    @property
    def columns(self) -> set[str]:
        """Its position; the number of objects is known from the detector only."""
        return {self.x, self.y}

    def score(self, predicted: GameState, true: GameState, current: GameState) -> Sums:
        """Distances are the larger of |Δx| and |Δy|, in pixels."""
        sums = self._position_sums(predicted, true)
        there, detected = sums["there"], predicted[self.x] >= 0
        for axis, column in (("vx", self.x), ("vy", self.y)):
            start = current[column].astype(int)
            moved = np.where(there & (current[self.x] >= 0), np.sign(true[column] - start), 0)
            sums[f"{axis}_moved"] = moved != 0
            correct = np.sign(predicted[column] - start) == moved
            sums[f"{axis}_right"] = (moved != 0) & detected & correct
        false = {"transitions": np.ones(len(there)), "false": predicted[self.count] > true[self.count]}
        return _per_transition(sums) | as_floats(false)

    def summarize(self, sums: Sums) -> Sums:
        """Shares of the transitions whose true next frame shows it; false ones of all transitions."""
        return {
            **self._position_shares(sums),
            "false_share": ratio(sums["false"], sums["transitions"]),
            "vx_sign": ratio(sums["vx_right"], sums["vx_moved"]),
            "vy_sign": ratio(sums["vy_right"], sums["vy_moved"]),
        }

    def _offsets(self, state: GameState, true: GameState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        gaps = [np.abs(state[axis].astype(int) - true[axis].astype(int)) for axis in (self.x, self.y)]
        return true[self.x] >= 0, state[self.x] >= 0, np.maximum(*gaps)

    def detector_keys(self, name: str) -> dict[str, Metric]:
        """Frames in which enough of it is visible, and the share of these in which it is detected."""
        visible = Metric("frames", f"with enough of the {name} visible to detect it")
        return {f"{name}_visible": visible} | super().detector_keys(name)

    def detector_metrics(self, detected: GameState, true: GameState) -> tuple[float, ...]:
        """Both numbers."""
        return int((true[self.x] >= 0).sum()), *super().detector_metrics(detected, true)


@dataclass(frozen=True)
class Bar(_Positioned):
    """A bar, or n of them, that moves along one axis.

    Attributes:
        position: column of its first pixel along that axis, negative where it is not visible.
        length: column of its length (pixels).
    """

    position: str
    length: str

    metrics: ClassVar = _placed("its edge") | {
        "iou": Metric(
            "0…1",
            "mean overlap of the two bars over their union; 0 if not detected",
            "intersection over union",
        )
    }

    def score(self, predicted: GameState, true: GameState, current: GameState) -> Sums:
        """Distances of the first pixel, in pixels."""
        sums = self._position_sums(predicted, true)
        start, true_start = (state[self.position].astype(int) for state in (predicted, true))
        end, true_end = start + predicted[self.length], true_start + true[self.length]
        intersection = np.maximum(np.minimum(end, true_end) - np.maximum(start, true_start), 0)
        union = np.maximum(end, true_end) - np.minimum(start, true_start)
        overlap = np.where(sums["found"], ratio(intersection, union), 0)
        return _per_transition({**sums, "overlap": overlap})

    def _offsets(self, state: GameState, true: GameState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position, true_position = state[self.position].astype(int), true[self.position].astype(int)
        return true_position >= 0, position >= 0, np.abs(position - true_position)

    def summarize(self, sums: Sums) -> Sums:
        """Shares of the transitions whose true next frame shows the bar."""
        return {**self._position_shares(sums), "iou": ratio(sums["overlap"], sums["there"])}


@dataclass(frozen=True)
class Tiles(Element):
    """Objects at fixed places that are present or absent.

    Attributes:
        present: column of their states, (N, …) bool.
    """

    present: str

    metrics: ClassVar = {
        "state_accuracy": Metric("share of tiles", "present or absent as in the truth", "in the right state"),
        "vanish_precision": Metric(
            "share of tiles",
            "of those that vanish in the prediction: vanish in truth",
            "precision of vanishing",
        ),
        "vanish_recall": Metric(
            "share of tiles", "of those that vanish in truth: vanish in the prediction", "recall of vanishing"
        ),
        "back_share": Metric(_SHARE, "an absent tile is present again in the prediction", "one reappears"),
    }

    def score(self, predicted: GameState, true: GameState, current: GameState) -> Sums:
        """Numbers of tiles per transition."""
        now, before, after = (
            state[self.present].reshape(len(state[self.present]), -1) for state in (predicted, current, true)
        )
        gone, predicted_gone = before & ~after, before & ~now
        return as_floats(
            {
                "states": np.full(len(now), now.shape[1]),
                "right": (now == after).sum(1),
                "gone": gone.sum(1),
                "predicted_gone": predicted_gone.sum(1),
                "rightly_gone": (gone & predicted_gone).sum(1),
                "transitions": np.ones(len(now)),
                "back": (~before & ~after & now).any(1),
            }
        )

    def summarize(self, sums: Sums) -> Sums:
        """States that are right; precision and recall of vanishing; transitions that bring a tile back."""
        return {
            "state_accuracy": ratio(sums["right"], sums["states"]),
            "vanish_precision": ratio(sums["rightly_gone"], sums["predicted_gone"]),
            "vanish_recall": ratio(sums["rightly_gone"], sums["gone"]),
            "back_share": ratio(sums["back"], sums["transitions"]),
        }

    def detector_keys(self, name: str) -> dict[str, Metric]:
        """Share of the tiles whose state is right."""
        return {f"{name.removesuffix('s')}_states": Metric("share of tiles", "detected as they are")}

    def detector_metrics(self, detected: GameState, true: GameState) -> tuple[float, ...]:
        """The same."""
        return (float((detected[self.present] == true[self.present]).mean()),)
