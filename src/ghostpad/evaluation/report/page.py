"""Building blocks of the report: one HTML file that needs no network, with every text escaped."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


Text = str | Markup
DASH = "\N{EN DASH}"
"""Stands for a number that is not there."""


def html(text: Any) -> Markup:
    """Escape `text`, unless it is `Markup`."""
    return text if isinstance(text, Markup) else Markup(escape(str(text), quote=True))


def join(parts: Iterable[Text], between: str = "") -> Markup:
    """Put parts together, escaping those that are plain text."""
    return Markup(between.join(html(part) for part in parts))


def tag(name: str, *content: Text, **attributes: str) -> Markup:
    """An element; `class_` stands for `class`, and a `_` inside a name for a hyphen."""
    pairs = (f' {key.strip("_").replace("_", "-")}="{html(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{''.join(pairs)}>{join(content)}</{name}>")


def section(anchor: str, title: str, *content: Text, lead: str = "") -> Markup:
    """A part of the page with a heading, and a sentence that says how to read it."""
    head = [tag("h2", title)]
    if lead:
        head.append(tag("p", lead, class_="lead"))
    return tag("section", *head, *content, id=anchor)


def table(head: Sequence[Text], rows: Iterable[Sequence[Text]], text: Sequence[int] = ()) -> Markup:
    """A table that scrolls by itself on narrow screens.

    Args:
        head: titles of the columns; none at all when all are empty.
        rows: their cells; the first names the row, the others are numbers.
        text: columns that are text instead.
    """
    looks = ["text" if column in text else "number" for column in range(len(head))]
    body = [tag("tr", tag("th", row[0], scope="row"), *map(_cell, row[1:], looks[1:])) for row in rows]
    top = tag(
        "tr", *(tag("th", cell, scope="col", class_=look) for cell, look in zip(head, looks, strict=True))
    )
    parts = [tag("thead", top)] if any(head) else []
    return tag("div", tag("table", *parts, tag("tbody", *body)), class_="scroll")


def _cell(content: Text, look: str) -> Markup:
    return tag("td", content, class_=look)


def picture(address: str, caption: Text, alt: str) -> Markup:
    """An image with a caption below."""
    image = Markup(f'<img src="{html(address)}" alt="{html(alt)}" loading="lazy">')
    return tag("figure", image, tag("figcaption", caption))


def strip(*pictures: Markup) -> Markup:
    """Pictures side by side, which wrap on narrow screens."""
    return tag("div", *pictures, class_="strip")


def data(identifier: str, value: Any) -> Markup:
    """Values for the page's script; no text inside can end the element."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(f'<script type="application/json" id="{html(identifier)}">{text}</script>')


def page(title: str, body: Iterable[Markup], contents: Sequence[tuple[str, str]]) -> str:
    """The whole file.

    Args:
        title: of the page.
        body: its parts.
        contents: anchor and title of the parts to list at the top.
    """
    links = [tag("a", name, href=f"#{anchor}") for anchor, name in contents]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{_asset('report.css')}</style>"
    )
    main = tag("main", *body)
    script = f"<script>{_asset('report.js')}</script>"
    top = tag("nav", *links, aria_label="Contents")
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{top}{main}{script}</body></html>\n'


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A number for people; a dash where there is none."""
    if value is None:
        return DASH
    return f"{value:.{digits}f}{' ' if unit else ''}{unit}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent; a dash where there is none."""
    return DASH if value is None else f"{100 * value:.{digits}f} %"


def _asset(name: str) -> str:
    return files("ghostpad.evaluation.report").joinpath("assets", name).read_text(encoding="utf-8")
