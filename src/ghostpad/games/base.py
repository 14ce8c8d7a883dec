"""`Game`: everything Ghostpad may know about one game; each part is optional.

The floors above never name a game or its elements. They ask the registry (`ghostpad.games`) which game frames
show, and leave out whatever that game does not offer. A new game is one module with a subclass of `Game`,
listed in the registry.

Dimensions: N frames (pictures), C colour channels, H W frame, T frames of a rollout, S rollouts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ghostpad.games.elements import Element, GameState, Metric
from ghostpad.sums import Sums, as_floats

_NEAR_PX = 8
"""Distance of two start positions that count as nearly the same when codes are applied to another frame."""


@dataclass(frozen=True)
class Controlled:
    """What the player moves: its plain name, and the column with its position along the axis of motion."""

    name: str
    column: str


@dataclass(frozen=True)
class RolloutStates:
    """Detected states of S rollouts and of the emulators beside them; the start is frame 0.

    Attributes:
        predicted: state detected in the imagined frames, columns (T, S, …).
        true: state detected in the emulator's frames, columns (T, S, …).
        controls: (T, S) control held on the way to each frame, -1 at the start.
        control_names: by control.
        valid: (T, S) bool, frames before the emulator's game is over.
        lives: (S,) lives left at the start.
    """

    predicted: GameState
    true: GameState
    controls: np.ndarray
    control_names: tuple[str, ...]
    valid: np.ndarray
    lives: np.ndarray


class ScriptedPlayer(Protocol):
    """Plays a game by looking at its memory."""

    def __init__(self, rng: np.random.Generator, frame_skip: int) -> None: ...

    def __call__(self, ram_128: np.ndarray) -> int:
        """Choose a control, by its number in the minimal action set, from console memory (128,) uint8."""
        ...


class Scoreboard(Protocol):
    """Points and lives of N games that are played in imagined frames.

    Attributes:
        lives: (N,) int, lives left, the one in play included.
    """

    lives: np.ndarray

    def reset(self, games: np.ndarray, frames_NCHW: np.ndarray) -> None:
        """Restart some games, (n,) indices, at the first frame of each, uint8."""
        ...

    def step(self, frames_NCHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N,) float64 that the new frames, uint8, bring, and whether the game is over, (N,) bool."""
        ...


class Game:
    """A game that Ghostpad knows by name; subclasses override what they know.

    Attributes:
        name: ROM name in the Arcade Learning Environment.
        elements: what can be seen, by name, and how each is scored; needs `detect`.
        controlled: what the player moves.
        event_groups: names of groups of mutually exclusive events; those of the group `g` begin with `g_`.
            The events of the controlled element are the group of its name.
        transfer_events: events whose codes the report applies to other frames.
        key_metrics: the few element metrics (`<element>.<metric>`) that are logged during training and
            compared between splits, by the name under which they appear there.
        single_step_metrics: the few element metrics that are measured on single steps of a world, and on
            rollouts beside recordings, by the name under which they appear there.
        scripted_player: for recording, and for rollouts beside the emulator.
        min_lives_at_start: lives that must be left where a rollout starts.
        rollout_metrics: unit and meaning of the numbers of open-loop rollouts that this game adds.
    """

    name: ClassVar[str]
    elements: ClassVar[Mapping[str, Element]] = {}
    controlled: ClassVar[Controlled | None] = None
    event_groups: ClassVar[tuple[str, ...]] = ()
    transfer_events: ClassVar[tuple[str, ...]] = ()
    key_metrics: ClassVar[Mapping[str, str]] = {}
    single_step_metrics: ClassVar[Mapping[str, str]] = {}
    scripted_player: ClassVar[type[ScriptedPlayer] | None] = None
    min_lives_at_start: ClassVar[int] = 0
    rollout_metrics: ClassVar[Mapping[str, Metric]] = {}

    def applies(self, frames_NCHW: np.ndarray) -> bool:
        """Whether uint8 frames show this game."""
        return False

    def truth_from_ram(self, ram_N128: np.ndarray) -> GameState:
        """True state of N frames from console memory (N, 128) uint8; empty when unknown."""
        return {}

    def detect(self, frames_NCHW: np.ndarray) -> GameState:
        """State detected in frames, uint8 or float in [0, 1], C 1 (luma) or 3, true or predicted."""
        return {}

    def detectable(self, element: str, true: GameState) -> np.ndarray | None:
        """Frames, (N,) bool, that show enough of an element to detect it; None for all."""
        return None

    def events(self, state: GameState, stride: int) -> dict[str, np.ndarray]:
        """Events of each transition of one episode, (N - stride,) bool by name.

        `state` has the N frames of the episode, from memory or detected.
        """
        return {}

    def scoreboard(self, num_games: int) -> Scoreboard | None:
        """Reader of points and lives for games played in imagined frames; None when they cannot be read."""
        return None

    def score_rollouts(self, states: RolloutStates) -> Sums:
        """Quantities per rollout, (S,) each, from which `summarize_rollouts` computes metrics."""
        return {}

    def summarize_rollouts(self, sums: Sums) -> Sums:
        """The numbers of `rollout_metrics`, from sums over rollouts.

        A number in the name of a metric (`paddle_error_px_100`) is the last frame that it needs.
        """
        return {}

    @property
    def columns(self) -> set[str]:
        """Columns that recorded truth must have to take the place of the detector."""
        return {column for element in self.elements.values() for column in element.columns}

    def score_elements(self, predicted: GameState, true: GameState, current: GameState) -> Sums:
        """Quantities of every element per transition: `<element>.<quantity>` and `<element>.copy_<quantity>`.

        The copies are those of a model that predicts the current frame.
        """
        sums = {}
        for name, element in self.elements.items():
            for prefix, state in (("", predicted), ("copy_", current)):
                scores = element.score(state, true, current)
                sums |= {f"{name}.{prefix}{quantity}": values for quantity, values in scores.items()}
        return sums

    def summarize_elements(self, sums: Sums) -> Sums:
        """Metrics of every element: `<element>.<metric>` and `<element>.copy_<metric>`."""
        metrics = {}
        for name, element in self.elements.items():
            for prefix in ("", "copy_"):
                start = f"{name}.{prefix}"
                own = {key.removeprefix(start): value for key, value in sums.items() if key.startswith(start)}
                metrics |= {f"{start}{metric}": value for metric, value in element.summarize(own).items()}
        return metrics

    def single_step_keys(self) -> dict[str, tuple[str, str]]:
        """Unit and meaning of each of `single_step_metrics`."""
        found = {}
        for name, path in self.single_step_metrics.items():
            element, _, key = path.partition(".")
            metric = self.elements[element].metrics[key]
            found[name] = (metric.unit, f"{element} {metric.meaning}")
        return found

    def summarize_single_steps(self, sums: Sums) -> Sums:
        """The numbers of `single_step_metrics`, from sums of `score_elements`."""
        elements = self.summarize_elements(sums)
        return {name: elements[path] for name, path in self.single_step_metrics.items()}

    def distance_quantiles(self, sums: Sums) -> dict[str, float]:
        """Median and 95th percentile (pixels) of the distances, where detected in both frames."""
        metrics = {}
        for key, values in sums.items():
            name, _, quantity = key.partition(".")
            if name in self.elements and quantity in ("distance", "copy_distance"):
                prefix = quantity.removesuffix("distance")
                known = values[~np.isnan(values)]
                for metric, level in (("median_px", 0.5), ("p95_px", 0.95)):
                    quantile = float(np.quantile(known, level)) if len(known) else np.nan
                    metrics[f"{name}.{prefix}{metric}"] = quantile
        return metrics

    def score_transfer(
        self, predicted: GameState, current: GameState, source: GameState, next_source: GameState
    ) -> Sums:
        """Whether codes move the controlled element the same way in another frame.

        `predicted` are states of frames decoded from the current frames and the codes of other transitions,
        whose frames are `source` and `next_source`.

        Returns:
            `transfer_moved`, `transfer_right`; the same `…_near` where both start within 8 pixels.
        """
        if self.controlled is None:
            return {}
        start, end, own, moved = (
            state[self.controlled.column].astype(int) for state in (source, next_source, current, predicted)
        )
        goes = (start >= 0) & (end >= 0) & (own >= 0) & (start != end)
        right = goes & (moved >= 0) & (np.sign(moved - own) == np.sign(end - start))
        near = np.abs(start - own) <= _NEAR_PX
        sums = {"transfer_moved": goes, "transfer_right": right}
        return as_floats({**sums, "transfer_moved_near": goes & near, "transfer_right_near": right & near})

    def detector_metrics(self, detected: GameState, true: GameState) -> dict[str, float]:
        """How often the detector agrees with the truth, by element."""
        metrics: dict[str, float] = {}
        for name, element in self.elements.items():
            mask = self.detectable(name, true)
            states = (
                {column: values if mask is None else values[mask] for column, values in state.items()}
                for state in (detected, true)
            )
            metrics |= zip(element.detector_keys(name), element.detector_metrics(*states), strict=True)
        return metrics
