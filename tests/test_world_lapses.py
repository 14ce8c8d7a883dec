"""Holes in histories, where a world is to put back what moved."""

import numpy as np
import pytest

from ghostpad.objects import dropout as lapses
from ghostpad.objects.dropout import LARGEST, with_lapses


def flight(num: int = 9, speed: int = 3) -> np.ndarray:
    """Frames (1, num, 3, 64, 80) of one ball that flies to the right over a striped ground, uint8."""
    frames = np.zeros((1, num, 3, 64, 80), np.uint8)
    frames[..., ::8, :] = 90
    for time in range(num):
        frames[0, time, :, 30:34, 10 + speed * time : 12 + speed * time] = 255
    return frames


def test_what_moves_is_gone_from_the_newest_frames_and_nothing_else_changes(monkeypatch) -> None:
    monkeypatch.setattr(lapses, "TWICE", 0)
    whole, seen_holes = flight(), set()
    for seed in range(20):
        frames = flight()
        assert with_lapses(frames, 1.0, np.random.default_rng(seed)).tolist() == [True]
        balls = (frames[0] == 255).any((1, 2, 3))
        assert balls[-1] and balls[:4].all(), "what follows and the older frames stay"
        assert not balls[7]
        ground = np.zeros_like(whole)
        ground[..., ::8, :] = 90
        assert ((frames == whole) | (frames == ground)).all(), "the ground shows where the ball was"
        seen_holes.add(int((~balls[:8]).sum()))
    assert {1, 2, 3} <= seen_holes <= {1, 2, 3, 4}


def test_what_moves_is_there_twice(monkeypatch) -> None:
    monkeypatch.setattr(lapses, "TWICE", 1)
    num_pixels = set()
    for seed in range(20):
        frames, whole = flight(), flight()
        with_lapses(frames, 1.0, np.random.default_rng(seed))
        assert (frames[0, :4] == whole[0, :4]).all() and (frames[0, -1] == whole[0, -1]).all()
        assert ((frames == whole) | (frames == 255)).all()
        num_pixels.add(int((frames[0, 7, 0] == 255).sum()))
    assert max(num_pixels) == 2 * min(num_pixels) == 16


def test_a_hole_is_no_larger_than_it_says(monkeypatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 9, 1, 120, 120), np.uint8)
    frames = noise.copy()
    monkeypatch.setattr(lapses, "TWICE", 0)
    with_lapses(frames, 1.0, np.random.default_rng(1))
    lines, columns = (frames[0, 7, 0] != noise[0, 7, 0]).nonzero()
    assert 0 < np.ptp(lines) < 2 * LARGEST and 0 < np.ptp(columns) < 2 * LARGEST


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_so_many_have_lapses_as_was_asked(share: float) -> None:
    frames = np.repeat(flight(), 400, 0)
    lapsed = with_lapses(frames, share, np.random.default_rng(0))
    assert lapsed.mean() == pytest.approx(share, abs=0.08)
    changed = (frames != flight()).any((1, 2, 3, 4))
    assert not changed[~lapsed].any()
    assert not share or changed[lapsed].mean() > 0.8, "a second one may lie outside the frame"


def test_where_nothing_moves_nothing_is_lost() -> None:
    frames = np.repeat(flight(1), 9, 1)
    before = frames.copy()
    with_lapses(frames, 1.0, np.random.default_rng(0))
    assert (frames == before).all()
