"""Plots as SVG that takes its colours from the page, so that it fits light and dark."""

import io
import itertools
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's own text colour until the SVG is written."""
MODEL, COPY, THIRD, FOURTH = "#3b82f6", "#9ca3af", "#f59e0b", "#10b981"
SERIES = (MODEL, THIRD, FOURTH, "#ef4444", "#a855f7", "#06b6d4", "#ec4899", "#84cc16", "#a16207")


def new_figure(width: float = 7.0, height: float = 2.6) -> "Figure":
    """An empty figure (inches) in the page's style, without any display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def style(axes: "Axes", x: str = "", y: str = "") -> None:
    """Bring axes to the page's style."""
    axes.set_xlabel(x, color=INK, fontsize=9)
    axes.set_ylabel(y, color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=8)
    axes.set_facecolor("none")
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_alpha(0.4)
        spine.set_visible(name in ("left", "bottom"))
    if (legend := axes.get_legend()) is not None:
        legend.get_frame().set_visible(False)
        for text in legend.get_texts():
            text.set_color(INK)


def to_svg(figure: "Figure", name: str, label: str) -> str:
    """The figure as an `<svg>` element that scrolls by itself on narrow screens.

    Args:
        figure: drawn with `INK` where the page's text colour belongs.
        name: unlike that of every other figure of the page, as the ids inside derive from it.
        label: what the figure shows, for those who cannot see it.
    """
    import matplotlib

    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}
    buffer = io.StringIO()
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = _own_ids(text, name)
    opening = f'<svg class="plot" role="img" aria-label="{escape(label, quote=True)}"'
    size = re.search(r'width="([\d.]+)pt"', text)
    width = float(size.group(1)) * 4 / 3 if size else 600
    text = re.sub(r'(<svg[^>]*?) width="[\d.]+pt"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[\d.]+pt"', r"\1", text, count=1)
    text = text.replace("<svg", f'{opening} style="max-width:{width:.0f}px"', 1)
    return f'<div class="scroll">{text}</div>'


def _own_ids(text: str, name: str) -> str:
    """Put the figure's name before every id, so that no two figures of a page share one."""
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace('xlink:href="#', f'xlink:href="#{name}-')
    return text.replace("url(#", f"url(#{name}-")


def code_histogram(counts: np.ndarray) -> str:
    """How often each code is chosen, most used first."""
    figure = new_figure()
    axes = figure.add_subplot()
    order = np.sort(counts)[::-1] / max(1, counts.sum())
    axes.bar(np.arange(len(order)), 100 * order, width=1.0, color=MODEL)
    axes.axhline(100 / len(order), color=INK, alpha=0.5, linewidth=0.8, linestyle="--")
    axes.set_xlim(-0.5, len(order) - 0.5)
    axes.text(len(order) - 1, 100 / len(order), "even use", color=INK, fontsize=8, ha="right", va="bottom")
    style(axes, x="codes, most used first", y="% of choices")
    return to_svg(figure, "histogram", "Share of choices by code, most used first")


def grouped_bars(
    name: str,
    label: str,
    panels: Sequence[tuple[str, list[str], dict[str, list[float | None]]]],
) -> str:
    """Bars side by side: one colour per series.

    Args:
        name: of the figure.
        label: what it shows.
        panels: unit, titles of the groups of bars, and heights by series, of each panel.
    """
    figure = new_figure(width=9.0, height=3.2)
    ratios = [len(groups) for _, groups, _ in panels]
    for place, (unit, groups, series) in zip(
        figure.subplots(1, len(panels), width_ratios=ratios), panels, strict=True
    ):
        _bars(place, groups, series)
        style(place, y=unit)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", fontsize=8, ncols=4, frameon=False, labelcolor=INK
    )
    return to_svg(figure, name, label)


def _bars(axes: "Axes", groups: list[str], series: dict[str, list[float | None]]) -> None:
    width = 0.8 / max(1, len(series))
    for (index, (title, values)), color in zip(enumerate(series.items()), itertools.cycle(SERIES)):
        heights = [0.0 if value is None else value for value in values]
        places = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * width
        axes.bar(places, heights, width * 0.94, color=color, label=title)
    axes.set_xticks(np.arange(len(groups)), list(groups))


def event_colors(events: Iterable[str]) -> dict[str, str]:
    """A colour for each event, the same on every plot of the page."""
    return dict(zip(events, itertools.cycle(SERIES)))


def scatter(name: str, label: str, places: np.ndarray, groups: Sequence[tuple[str, np.ndarray, str]]) -> str:
    """Points in the plane by group: title, mask and colour; later groups lie above earlier ones."""
    figure = new_figure(height=4.2)
    axes = figure.add_subplot()
    for title, mask, color in groups:
        axes.scatter(*places[mask].T, s=9, color=color, label=f"{title} ({mask.sum()})", linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    style(axes)
    return to_svg(figure, name, label)


def code_map(
    codes: np.ndarray,
    places: np.ndarray,
    counts: np.ndarray,
    events: dict[int, str],
    colors: dict[str, str],
    num_named: int = 24,
) -> str:
    """Codes in the plane: larger the more often they are chosen, coloured by the event they go with."""
    figure = new_figure(height=4.4)
    axes = figure.add_subplot()
    idle = places[counts == 0]
    axes.scatter(*idle.T, s=10, facecolors="none", edgecolors=COPY, linewidths=0.7, label="not in use")
    names = np.array([events.get(int(code), "no event") for code in codes])
    there = {name: color for name, color in colors.items() if name in events.values()}
    for title, color in {"no event": COPY, **there}.items():
        mine = (names == title) & (counts > 0)
        sizes = 10 + 70 * np.sqrt(counts[mine] / max(1, counts.max()))
        label = title.replace("_", " ")
        axes.scatter(*places[mine].T, s=sizes, color=color, alpha=0.75, linewidths=0, label=label)
    for row in np.argsort(-counts)[: min(num_named, int((counts > 0).sum()))]:
        x, y = places[row]
        axes.annotate(
            str(codes[row]), (x, y), xytext=(4, 3), textcoords="offset points", color=INK, fontsize=7
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    style(axes)
    return to_svg(figure, "code-map", "t-SNE of the code embeddings")


def budget_curve(
    curve: dict[str, dict[str, float]], chance: float, best: float, ceiling: float | None
) -> str:
    """Accuracy of the probe by number of labels, with the range over seeds."""
    figure = new_figure()
    axes = figure.add_subplot()
    budgets = [int(budget) for budget in curve]
    means = [100 * point["mean"] for point in curve.values()]
    axes.fill_between(
        budgets,
        [100 * point["low"] for point in curve.values()],
        [100 * point["high"] for point in curve.values()],
        color=MODEL,
        alpha=0.25,
        linewidth=0,
    )
    axes.plot(budgets, means, color=MODEL, marker="o", markersize=3, label="probe")
    lines = [("chance", chance, COPY), ("all labels", best, THIRD)]
    lines += [("ceiling", ceiling, FOURTH)] if ceiling is not None else []
    for title, level, color in lines:
        axes.axhline(100 * level, color=color, linestyle="--", linewidth=1, label=title)
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.minorticks_off()
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    style(axes, x="labelled transitions", y="% of controls right")
    return to_svg(figure, "budget", "Accuracy by number of labelled transitions")
