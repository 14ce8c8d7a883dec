"""What a game offers to the report; a section is absent where its game offers nothing for it."""

from typing import Any

from ghostpad.evaluation.report.format import words
from ghostpad.games import Game

_UNITS = {"pixels": "px", "0…1": ""}


def element_metrics(game: Game | None) -> dict[str, dict[str, tuple[str, str]]]:
    """By element, title and unit of each metric that tables show."""
    return {
        name: {
            key: (metric.title, _UNITS.get(metric.unit, "%"))
            for key, metric in element.metrics.items()
            if metric.title
        }
        for name, element in (game.elements.items() if game else ())
    }


def key_metrics(game: Game | None) -> dict[str, tuple[str, str]]:
    """The few metrics that the summary quotes: by their name in `splits`, key and label."""
    labels = {
        f"{name}.{key}": f"{words(name)} {title}"
        for name, titles in element_metrics(game).items()
        for key, (title, _) in titles.items()
    }
    paths = game.key_metrics if game else {}
    return {name: (f"elements.{path}", labels[path]) for name, path in paths.items()}


def transfer_key(metrics: dict[str, Any]) -> str | None:
    """Key of the share of frames in which codes move the player's element as they did in their own frame."""
    return next((f"transfer.{key}" for key, share in metrics["transfer"].items() if share is not None), None)


def player(game: Game | None) -> str:
    """The element that the player moves."""
    return game.controlled.name if game and game.controlled else "player"
