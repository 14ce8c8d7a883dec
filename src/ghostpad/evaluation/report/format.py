"""Numbers and names as the report prints them, and which of them a game offers."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ghostpad.evaluation.schema import get
from ghostpad.games import Game
from ghostpad.theme import CSS

DASH = "\N{EN DASH}"
_DIGITS = {"dB": 2, "px": 2, "%": 1, "bits": 3}
_UNITS = {"pixels": "px", "0…1": ""}


def page_environment() -> Environment:
    """The templates of pages that load nothing from the network; a name without a value is an error."""
    environment = Environment(
        loader=PackageLoader("ghostpad.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.globals["theme"] = CSS.read_text(encoding="utf-8")
    return environment


def quantity(value: float | None, unit: str = "", digits: int | None = None) -> str:
    """A value with its unit; the unit "%" turns a share into per cent.

    Args:
        value: None prints as a dash.
        unit: "dB", "px", "%", "bits", any other word, or nothing.
        digits: decimal places; what is usual for the unit when not given, else 4.
    """
    if value is None:
        return DASH
    places = _DIGITS.get(unit, 4) if digits is None else digits
    if unit == "%":
        almost = 0 < min(value, 1 - value) < 0.0005  # not to be taken for 0 or 100 %
        number = f"{100 * value:.{3 if almost else places}f}"
    else:
        number = f"{value:.{places}f}"
    return f"{number}\N{NO-BREAK SPACE}{unit}" if unit else number


def show(metrics: dict[str, Any], key: str, unit: str = "", digits: int | None = None) -> str:
    """The value at a dotted key of `metrics.json`, with its unit."""
    return quantity(get(metrics, key), unit, digits)


def interval(metrics: dict[str, Any], key: str, unit: str = "", digits: int | None = None) -> str:
    """The 95 % interval of the value at a dotted key, with its unit."""
    low, high = (metrics.get("intervals") or {}).get(key) or (None, None)
    if low is None or high is None:
        return DASH
    return f"{quantity(low, unit, digits)} to {quantity(high, unit, digits)}"


def words(name: str) -> str:
    """The name of an event, metric or element for people."""
    return re.sub(r"(\d)px", r"\1 px", name.replace("_", " "))


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the plural unless the number is 1; `plural` if that is irregular."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


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
