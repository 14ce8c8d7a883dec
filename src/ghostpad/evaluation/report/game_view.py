"""What a game offers to the report; a section is absent where its game offers nothing for it."""

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


def key_metrics(game: Game | None) -> dict[str, str]:
    """By element, the one metric by which it is judged at a glance."""
    return {name: element.key_metric for name, element in (game.elements.items() if game else ())}


def event_groups(game: Game | None) -> dict[str, str]:
    """Groups of mutually exclusive events, and how the names of their events begin."""
    return {group: f"{group}_" for group in game.event_groups} if game else {}


def player(game: Game | None) -> str:
    """The element that the player moves."""
    return game.controlled.name if game and game.controlled else "player"
