"""The colours of plots and pictures, which are those of `theme.css`.

Okabe and Ito (2008), "Color Universal Design": distinct for colour-blind people. Of their eight colours these
have a contrast of 3 to 1 to light and dark grounds alike; black stands for the colour of text in both.
"""

from pathlib import Path
from typing import Any

CSS = Path(__file__).with_suffix(".css")
INK = "#1c1f24"
"""Text on a light ground; an SVG image replaces it by that of the reader's theme."""
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", INK)
NEUTRAL = "#6b737c"
"""Whatever is only there for comparison."""
SEQUENTIAL = "inferno"
"""Matplotlib's colour map of amounts: its brightness rises evenly, with and without colour vision."""
OUTLINE_RGB = (255, 64, 255)
"""Outline of the pixels that changed: a magenta that no Atari game uses."""
PLOT_STYLE: dict[Any, Any] = {
    "axes.prop_cycle": f"cycler('linestyle', ['-', '--']) * cycler('color', {list(SERIES)})",
}
"""Settings of Matplotlib for plots of several lines."""
