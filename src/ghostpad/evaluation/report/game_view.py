"""What a game offers to the report; a section is absent where its game offers nothing for it."""

from ghostpad.evaluation.insight import GROUPS
from ghostpad.games.elements import Ball, Bar, Wall
from ghostpad.games.registry import Game

_PLACED = {
    "within_1px": ("within 1 px", "%"),
    "within_2px": ("within 2 px", "%"),
    "median_px": ("median distance, where detected", "px"),
    "p95_px": ("95th percentile of the distance", "px"),
}
_METRICS = {
    Ball: {
        "detected": ("detected", "%"),
        **_PLACED,
        "vx_sign": ("horizontal direction correct", "%"),
        "vy_sign": ("vertical direction correct", "%"),
        "false_share": ("too many detected", "%"),
    },
    Bar: {**_PLACED, "iou": ("intersection over union", "")},
    Wall: {
        "state_accuracy": ("states correct", "%"),
        "vanish_precision": ("precision of vanishing", "%"),
        "vanish_recall": ("recall of vanishing", "%"),
        "back_share": ("one reappears", "%"),
    },
}


def element_metrics(game: Game | None) -> dict[str, dict[str, tuple[str, str]]]:
    """By element, title and unit of each metric that tables show."""
    return {name: _METRICS[type(part)] for name, part in game.parts.items()} if game else {}


def key_metrics(game: Game | None) -> dict[str, str]:
    """By element, the one metric by which it is judged at a glance."""
    parts = game.parts.items() if game else ()
    return {name: "state_accuracy" if isinstance(part, Wall) else "within_2px" for name, part in parts}


def event_groups(game: Game | None) -> dict[str, str]:
    """Groups of mutually exclusive events, and how the names of their events begin."""
    return GROUPS if game else {}


def player(game: Game | None) -> str:
    """The element that the player moves."""
    return game.paddle.partition("_")[0] if game else "player"
