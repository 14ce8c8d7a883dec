"""Object dropout: moving objects that are missing from the newest frames of a history, or there twice."""

import numpy as np
import pytest

from ghostpad.world import batches
from ghostpad.world.batches import MAX_RADIUS, drop_objects


def flight(num: int = 9, speed: int = 3) -> np.ndarray:
    """Frames (1, num, 3, 64, 80) uint8 of a ball that flies to the right over stripes."""
    frames = np.zeros((1, num, 3, 64, 80), np.uint8)
    frames[..., ::8, :] = 90
    for time in range(num):
        frames[0, time, :, 30:34, 10 + speed * time : 12 + speed * time] = 255
    return frames


def test_a_moving_object_is_replaced_by_the_background_in_the_newest_frames(monkeypatch) -> None:
    monkeypatch.setattr(batches, "DUPLICATED_SHARE", 0)
    whole, num_dropped = flight(), set()
    for seed in range(20):
        frames = flight()
        assert drop_objects(frames, 1.0, np.random.default_rng(seed)).tolist() == [True]
        balls = (frames[0] == 255).any((1, 2, 3))
        assert balls[-1] and balls[:4].all(), "the next frame and the older ones stay"
        assert not balls[7]
        background = np.zeros_like(whole)
        background[..., ::8, :] = 90
        assert ((frames == whole) | (frames == background)).all()
        num_dropped.add(int((~balls[:8]).sum()))
    assert {1, 2, 3} <= num_dropped <= {1, 2, 3, 4}


def test_a_moving_object_is_duplicated(monkeypatch) -> None:
    monkeypatch.setattr(batches, "DUPLICATED_SHARE", 1)
    areas = set()
    for seed in range(20):
        frames, whole = flight(), flight()
        drop_objects(frames, 1.0, np.random.default_rng(seed))
        assert (frames[0, :4] == whole[0, :4]).all() and (frames[0, -1] == whole[0, -1]).all()
        assert ((frames == whole) | (frames == 255)).all()
        areas.add(int((frames[0, 7, 0] == 255).sum()))
    assert max(areas) == 2 * min(areas) == 16


def test_a_dropped_area_is_no_larger_than_its_bound(monkeypatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 9, 1, 120, 120), np.uint8)
    frames = noise.copy()
    monkeypatch.setattr(batches, "DUPLICATED_SHARE", 0)
    drop_objects(frames, 1.0, np.random.default_rng(1))
    rows, columns = (frames[0, 7, 0] != noise[0, 7, 0]).nonzero()
    assert 0 < np.ptp(rows) < 2 * MAX_RADIUS and 0 < np.ptp(columns) < 2 * MAX_RADIUS


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_given_share_of_histories_is_changed(share: float) -> None:
    frames = np.repeat(flight(), 400, 0)
    chosen = drop_objects(frames, share, np.random.default_rng(0))
    assert chosen.mean() == pytest.approx(share, abs=0.08)
    changed = (frames != flight()).any((1, 2, 3, 4))
    assert not changed[~chosen].any()
    assert not share or changed[chosen].mean() > 0.8, "a copy may lie outside the frame"


def test_without_motion_nothing_is_dropped() -> None:
    frames = np.repeat(flight(1), 9, 1)
    before = frames.copy()
    drop_objects(frames, 1.0, np.random.default_rng(0))
    assert (frames == before).all()
