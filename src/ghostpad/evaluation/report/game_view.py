"""What a game offers to the report: its elements with their metrics, its groups of events, its player.

Every section about a game asks this module, and is absent where the game offers nothing.
"""

from dataclasses import dataclass

from ghostpad.evaluation.insight import GROUPS
from ghostpad.games.elements import Ball, Bar, Wall
from ghostpad.games.registry import Game


@dataclass(frozen=True)
class Metric:
    """A number about an element: its title and unit."""

    title: str
    unit: str = "%"
    digits: int | None = None


@dataclass(frozen=True)
class Headline:
    """A sentence of the summary about one metric, and from which values on it is good or bad."""

    metric: str
    sentence: str
    good: float
    bad: float
    digits: int = 1


_PLACED = {
    "within_1px": Metric("within 1 px"),
    "within_2px": Metric("within 2 px"),
    "median_px": Metric("median distance, where detected", "px"),
    "p95_px": Metric("95th percentile of the distance", "px"),
}
_METRICS: dict[type, dict[str, Metric]] = {
    Ball: {
        "detected": Metric("detected"),
        **_PLACED,
        "vx_sign": Metric("horizontal direction correct"),
        "vy_sign": Metric("vertical direction correct"),
        "false_share": Metric("too many detected"),
    },
    Bar: {**_PLACED, "iou": Metric("intersection over union", "")},
    Wall: {
        "state_accuracy": Metric("states correct", digits=3),
        "vanish_precision": Metric("precision of disappearing"),
        "vanish_recall": Metric("recall of disappearing"),
        "back_share": Metric("one reappears"),
    },
}
_NEAR = "The {name} is within 2 px of its true position in {value} of the predictions"
_HEADLINES: dict[type, tuple[Headline, ...]] = {
    Ball: (Headline("within_2px", _NEAR, good=0.9, bad=0.6),),
    Bar: (Headline("within_2px", _NEAR, good=0.95, bad=0.8),),
    Wall: (
        Headline(
            "state_accuracy", "{value} of the {name} are in the correct state", good=0.999, bad=0.99, digits=2
        ),
        Headline("vanish_recall", "{value} of the {name} that should disappear do", good=0.9, bad=0.5),
    ),
}


def element_metrics(game: Game | None) -> dict[str, dict[str, Metric]]:
    """Metrics by element, in the order in which they are shown; empty where no detector knows the game."""
    return {name: _METRICS[type(part)] for name, part in game.parts.items()} if game else {}


def headlines(game: Game | None) -> list[tuple[str, Headline]]:
    """Elements with the sentences of the summary about them."""
    parts = game.parts.items() if game else ()
    return [(name, headline) for name, part in parts for headline in _HEADLINES[type(part)]]


def event_groups(game: Game | None) -> dict[str, str]:
    """Groups of mutually exclusive events, and how the names of their events begin."""
    return GROUPS if game else {}


def player(game: Game | None) -> str:
    """The element that the player moves."""
    return game.paddle.partition("_")[0] if game else "player"
