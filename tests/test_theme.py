"""The colours of all pages and pictures: readable in light and dark, and apart for colour-blind people."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from ghostpad import theme

ROOT = Path(__file__).parent.parent
HEX = r"#[0-9a-fA-F]{3,8}\b"
VARIABLES = {
    name: tuple(re.findall(HEX, value) * 2)[:2]
    for name, value in re.findall(r"--([\w-]+): ([^;]+);", theme.CSS.read_text())
}
"""By name, the colour on a light ground and that on a dark one."""
GROUNDS = ("ground", "raised", "shade")
TEXTS = ("ink", "faint", "accent", "good", "bad")
VISION = {
    "all": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
"""Linear RGB as it is seen: Machado, Oliveira and Fernandes (2009), at full severity."""


def linear(color):
    """Linear RGB of a hex colour, as in WCAG 2.2."""
    value = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    dark, light = sorted(linear(color) @ [0.2126, 0.7152, 0.0722] for color in (first, second))
    return (light + 0.05) / (dark + 0.05)


def difference(first, second, vision):
    """CIE 1976 difference; about 2 can just be seen."""

    def lab(color):
        to_xyz = np.array(
            [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        ) / np.array([[0.9505], [1], [1.089]])
        x, y, z = np.cbrt(np.maximum(to_xyz @ (VISION[vision] @ linear(color)).clip(0, 1), 0.008856))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    return np.linalg.norm(lab(first) - lab(second))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_a_contrast_of_four_and_a_half(scheme):
    pairs = [*itertools.product(TEXTS, GROUNDS), ("on-brand", "brand"), ("on-accent", "accent")]
    pairs += [(f"on-series-{number}", f"series-{number}") for number in range(1, 5)]
    for text, ground in pairs:
        assert contrast(VARIABLES[text][scheme], VARIABLES[ground][scheme]) >= 4.5, (text, ground)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_graphics_have_a_contrast_of_three(scheme):
    series = [*(f"series-{number}" for number in range(1, 5)), "neutral", "border", "accent", "good", "bad"]
    for color in series:
        assert contrast(VARIABLES[color][scheme], VARIABLES["ground"][scheme]) >= 3, color
    assert contrast(VARIABLES["border"][scheme], VARIABLES["raised"][scheme]) >= 3


@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart_for_colour_blind_people(vision):
    for ink in VARIABLES["ink"]:
        series = [*theme.SERIES[:-1], theme.NEUTRAL, ink]
        for first, second in itertools.combinations(series, 2):
            assert difference(first, second, vision) >= 12, (first, second)
    for scheme in (0, 1):
        good, bad, accent = (VARIABLES[name][scheme] for name in ("good", "bad", "accent"))
        assert difference(good, bad, vision) >= 25
        assert difference(bad, accent, vision) >= 25


def test_the_simulation_confuses_what_colour_blind_people_confuse():
    assert difference("#8a8a00", "#c06000", "all") > 3 * difference("#8a8a00", "#c06000", "no green cones")


def test_plots_and_pages_share_one_palette():
    assert [VARIABLES[f"series-{number}"][0] for number in range(1, 5)] == list(theme.SERIES[:-1])
    assert (VARIABLES["neutral"][0], VARIABLES["ink"][0]) == (theme.NEUTRAL, theme.INK)


def test_no_other_file_has_a_colour_of_its_own():
    known = {color for pair in VARIABLES.values() for color in pair}
    package, docs = ROOT / "src/ghostpad", ROOT / "docs"
    pages = [path for path in package.rglob("*") if path.suffix in (".css", ".js", ".html")]
    for path in {*pages, *docs.rglob("*.css")} - {theme.CSS}:
        assert not re.findall(rf"(?<!&){HEX}(?=[\s;\"')])|\b(?:rgba?|hsl)\((?!from)", path.read_text()), path
    for path in [*package.rglob("*.svg"), *docs.rglob("*.svg")]:
        assert {*re.findall(HEX, path.read_text())} <= known, path
