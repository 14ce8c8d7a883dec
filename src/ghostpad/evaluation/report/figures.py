"""Plots as SVG images that follow the light or dark theme of whoever reads the page."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpad.theme import CSS, INK, NEUTRAL, SERIES

MODEL, SECOND, THIRD = SERIES[:3]
_MARKERS = "os^DvPX"
Styles = dict[str, tuple[str, str]]
"""Colour and marker by name."""
_THEME = f"<style>{CSS.read_text()}svg{{color:var(--ink)}}</style>"
_STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "ghostpad",
    "font.size": 8,
    "axes.labelsize": 9,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), INK),
}
_styled = matplotlib.rc_context(_STYLE)


@dataclass(frozen=True)
class Plot:
    """An image for the page: its `data:` address, what it shows for those who cannot see it, its width."""

    uri: str
    alt: str
    width_px: int


@dataclass(frozen=True)
class Panel:
    """One set of axes with grouped bars."""

    unit: str
    groups: list[str]
    heights: dict[str, list[float]]
    """by series, one for each group"""


def event_styles(events: Iterable[str]) -> Styles:
    """A colour and marker for each event, the same on every plot; colours repeat with other markers."""
    colors, markers = len(SERIES), len(_MARKERS)
    return {
        name: (SERIES[i % colors], _MARKERS[(i + i // colors) % markers]) for i, name in enumerate(events)
    }


@_styled
def code_histogram(counts: np.ndarray) -> Plot:
    """How often each code is chosen, most used first."""
    figure, axes = _new_figure()
    shares = 100 * np.sort(counts)[::-1] / max(1, counts.sum())
    even = 100 / len(shares)
    axes.bar(np.arange(len(shares)), shares, width=1.0, color=MODEL)
    axes.axhline(even, color=INK, alpha=0.5, linewidth=0.8, linestyle="--")
    axes.text(len(shares) - 1, even, "uniform", ha="right", va="bottom")
    axes.set(xlim=(-0.5, len(shares) - 0.5), xlabel="codes, most used first", ylabel="share of choices (%)")
    return _to_plot(figure, "Share of choices by code, most used first")


@_styled
def grouped_bars(panels: Sequence[Panel], alt: str) -> Plot:
    """Bars side by side, one colour for each series."""
    figure = Figure(figsize=(9.0, 3.2))
    places = figure.subplots(1, len(panels), width_ratios=[len(panel.groups) for panel in panels])
    for axes, panel in zip(places, panels, strict=True):
        width = 0.8 / max(1, len(panel.heights))
        for number, (series, heights) in enumerate(panel.heights.items()):
            left = np.arange(len(heights)) + (number - (len(panel.heights) - 1) / 2) * width
            axes.bar(left, heights, width * 0.94, color=SERIES[number % len(SERIES)], label=series)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xticks(np.arange(len(panel.groups)), panel.groups)
        axes.set_ylabel(panel.unit)
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return _to_plot(figure, alt)


@_styled
def transition_scatter(places: np.ndarray, groups: dict[str, np.ndarray], styles: Styles) -> Plot:
    """Transitions in the plane by group: title and mask; later groups lie above earlier ones."""
    figure, axes = _new_figure(4.2)
    for title, mask in groups.items():
        color, marker = styles.get(title, (NEUTRAL, "o"))
        label = f"{title} ({mask.sum()})"
        axes.scatter(*places[mask].T, s=16, color=color, marker=marker, label=label, linewidths=0)
    _finish_map(axes)
    return _to_plot(figure, "t-SNE of transitions by their codes")


@_styled
def code_map(
    codes: np.ndarray, places: np.ndarray, counts: np.ndarray, events: dict[int, str], styles: Styles
) -> Plot:
    """Codes in the plane: larger the more often they are chosen, coloured by the event they go with."""
    figure, axes = _new_figure(4.4)
    hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": NEUTRAL, "linewidths": 0.7}
    axes.scatter(*places[counts == 0].T, s=10, label="unused", **hollow)
    names = np.array([events.get(int(code), "no event") for code in codes])
    for name, (color, marker) in {"no event": (NEUTRAL, "o"), **styles}.items():
        mask = (names == name) & (counts > 0)
        sizes = 14 + 70 * np.sqrt(counts[mask] / max(1, counts.max()))
        if mask.any():
            axes.scatter(*places[mask].T, s=sizes, label=name, color=color, marker=marker, linewidths=0)
    for row in np.argsort(-counts)[: min(24, int((counts > 0).sum()))]:
        axes.annotate(
            str(codes[row]), tuple(places[row]), xytext=(4, 3), textcoords="offset points", fontsize=7
        )
    _finish_map(axes)
    return _to_plot(figure, "t-SNE of the code embeddings")


@_styled
def budget_curve(curve: dict[str, dict[str, float]], levels: dict[str, float | None]) -> Plot:
    """Accuracy of the probe by number of labels, with the range over seeds, and levels to compare with."""
    figure, axes = _new_figure()
    budgets = [int(budget) for budget in curve]
    mean, low, high = (100 * np.array([p[key] for p in curve.values()]) for key in ("mean", "low", "high"))
    axes.fill_between(budgets, low, high, color=MODEL, alpha=0.25, linewidth=0)
    axes.plot(budgets, mean, color=MODEL, marker="o", markersize=3, label="probe")
    lines = ((NEUTRAL, ":"), (SECOND, "--"), (THIRD, "-."))
    for (title, level), (color, dash) in zip(levels.items(), lines, strict=True):
        if level is not None:
            axes.axhline(100 * level, color=color, linestyle=dash, linewidth=1.2, label=title)
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.minorticks_off()
    axes.set(xlabel="labelled transitions", ylabel="controls named correctly (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return _to_plot(figure, "Accuracy of the probe by number of labelled transitions")


def _new_figure(height: float = 2.6) -> tuple[Figure, Axes]:
    """Empty axes on a figure 7 inches wide and `height` inches high, drawn without a display."""
    figure = Figure(figsize=(7.0, height))
    return figure, figure.add_subplot()


def _finish_map(axes: Axes) -> None:
    axes.set_axis_off()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _to_plot(figure: Figure, alt: str) -> Plot:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue().replace(INK, "currentColor").replace("</metadata>", f"</metadata>{_THEME}", 1)
    uri = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return Plot(uri, alt, round(96 * figure.get_figwidth()))
