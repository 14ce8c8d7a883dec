"""Frames without composited objects and with them, motion compensation of all others, and repair."""

import numpy as np
import pytest

from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.games.breakout.detector import detect
from ghostpad.objects.rendering import (
    composite,
    extrapolate,
    next_without_objects,
    predicted_mask,
    repair,
    without_objects,
)
from ghostpad.objects.tracking import track
from moving_objects import COLOR, bar, flight, track_to

BACKGROUND = np.zeros((3, 60, 80), np.uint8)
BACKGROUND[..., ::8] = 90
NEXT = 10 + 3 * 8, 50 - 2 * 8
"""Position of the ball in the last frame of `flight(9)`."""


def expected_next(history: np.ndarray) -> np.ndarray:
    tracks = track(history)
    return extrapolate(tracks, without_objects(tracks))


@pytest.mark.parametrize("velocity", [(3, -2), (0, 5), (-1, 1)])
def test_an_object_is_expected_to_keep_its_velocity(velocity: tuple[int, int]) -> None:
    frames = flight(9, velocity)
    assert (expected_next(frames[:-1]) == frames[-1]).all()


def test_an_object_at_rest_is_expected_to_rest_and_histories_are_not_changed() -> None:
    frames = np.repeat(flight(1), 4, 0)
    assert (expected_next(frames) == frames[0]).all()
    moving = flight(8)
    before = moving.copy()
    expected_next(moving)
    assert (moving == before).all()


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_lost_object_is_expected_for_three_frames(missing: int) -> None:
    frames, lost = flight(9), flight(8)
    lost[-missing:] = BACKGROUND
    assert (expected_next(lost) == frames[-1]).all()
    lost[-4:] = BACKGROUND
    assert (expected_next(lost) == BACKGROUND).all()


def test_an_object_that_reappears_is_expected_once() -> None:
    frames = flight(9)
    seen = frames[:-1].copy()
    seen[6] = np.where((seen[6] == COLOR).all(0), 0, seen[6])
    assert ((expected_next(seen) == COLOR).all(0) == (frames[-1] == COLOR).all(0)).all()


def test_a_deformed_object_is_expected_in_its_former_shape() -> None:
    frames = flight(9)
    seen = frames[:-1].copy()
    row, column = 10 + 3 * 7, 50 - 2 * 7
    seen[7, :, row + 3, column] = frames[7, :, row + 4, column]  # one pixel of eight is gone
    assert (expected_next(seen) == frames[-1]).all()


def test_a_large_object_is_expected_as_a_whole() -> None:
    frames = bar(9, 2)
    assert (expected_next(frames[:8]) == frames[8]).all()
    slow = bar(9, 0, first=30)
    slow[7:] = bar(2, 3, first=33)
    assert (expected_next(slow) == bar(1, 0, first=39)[0]).all(), "though it rested elsewhere for most frames"


def test_noise_is_not_tracked() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 1, 60, 80), np.uint8)
    assert (expected_next(noise) == noise[-1]).all()


def test_an_object_that_leaves_the_frame_is_cut() -> None:
    frames = flight(8, (0, 4))
    assert (frames[-1] == COLOR).all(0).any()
    assert not (expected_next(frames) == COLOR).all(0).any()


def test_composited_objects_are_removed_from_both_frames_and_drawn_again() -> None:
    frames = flight(9)
    before = frames.copy()
    tracks = track_to(frames[:-1], NEXT)
    assert (without_objects(tracks) == BACKGROUND).all()
    assert (next_without_objects(tracks, frames[-1]) == BACKGROUND).all()
    assert (extrapolate(tracks, BACKGROUND) == BACKGROUND).all()
    assert (predicted_mask(tracks) == (frames[-1] == COLOR).all(0)).all()
    background = BACKGROUND.copy()
    assert (composite(tracks, background) == frames[-1]).all()
    assert (background == BACKGROUND).all() and (frames == before).all()
    elsewhere = track_to(frames[:-1], (20, 60))
    assert (composite(elsewhere, BACKGROUND)[:, 20:24, 60:62] == COLOR).all()
    assert (next_without_objects(elsewhere, frames[-1]) == BACKGROUND).all(), "wherever it is"


def test_an_object_that_is_predicted_to_be_occluded_is_not_drawn() -> None:
    tracks = track_to(flight(8), (34, 34), occluded=True)
    assert (without_objects(tracks) == BACKGROUND).all() and not predicted_mask(tracks).any()
    assert (composite(tracks, BACKGROUND) == BACKGROUND).all()


def test_an_object_without_a_prediction_is_left_in_both_frames() -> None:
    frames = flight(9)
    tracks = track(frames[:-1])
    assert (without_objects(tracks) == frames[7]).all()
    assert (next_without_objects(tracks, frames[8]) == frames[8]).all()
    assert not predicted_mask(tracks).any() and (composite(tracks, frames[8]) == frames[8]).all()


def test_what_is_behind_an_object_is_the_background_or_where_that_has_changed_the_pixels_beside_it() -> None:
    frames = flight(8)
    frames[:, :, 28:36, 30:46] = 60  # a brick in the ball's way, which vanishes when the ball arrives
    frames[7, :, 28:36, 30:46] = BACKGROUND[:, 28:36, 30:46]
    frames[7, :, 31:35, 36:38] = COLOR
    inpainted = without_objects(track_to(frames, (34, 34)))
    assert not (inpainted == 60).all(0).any() and not (inpainted == COLOR).all(0).any()
    striped = flight(8, (0, 2))
    striped[..., ::2, :] //= 2
    for time in range(8):
        striped[time, :, 10:14, 50 + 2 * time : 52 + 2 * time] = COLOR
    background = BACKGROUND.copy()
    background[..., ::2, :] //= 2
    assert (without_objects(track_to(striped, (10, 66))) == background).all()


def test_copies_and_fragments_of_composited_objects_are_removed() -> None:
    tracks = track_to(flight(8), NEXT)
    row, column = NEXT
    copy, deformed, fragments = (BACKGROUND.copy() for _ in range(3))
    copy[:, row - 8 : row - 4, column : column + 2] = COLOR
    deformed[:, row : row + 4, column : column + 2] = COLOR
    deformed[:, row, column] = BACKGROUND[:, row, column]
    fragments[:, row + 2, column + 3] = fragments[:, row + 4, column + 5] = COLOR[:, 0, 0]
    for drawn in (copy, deformed, fragments):
        kept = drawn.copy()
        assert (repair(tracks, drawn) == BACKGROUND).all()
        assert (drawn == kept).all()
    assert (repair(tracks, BACKGROUND) == BACKGROUND).all()
    assert (repair(track(flight(8)), copy) == copy).all(), "without a prediction codes draw it"
    occluded = track_to(flight(8), NEXT, occluded=True)
    assert (repair(occluded, deformed) == deformed).all(), "it may be the visible part"


def test_recorded_balls_in_free_flight_are_where_constant_velocity_predicts(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rows = np.flatnonzero(transitions.frame_index >= 8)
    frames = read_sequences(transitions, rows, 8, 1, False)
    found = [detect(frames[:, time]) for time in (6, 7, 8)]
    positions = np.stack([np.stack([each["ball_x"], each["ball_y"]], 1) for each in found]).astype(int)
    free = np.all([each["num_balls"] == 1 for each in found], 0)
    free &= np.abs(positions[2] - 2 * positions[1] + positions[0]).max(1) == 0
    free &= (positions[:, :, 1] > 110).all(0)
    assert free.sum() >= 20
    expected = detect(np.stack([expected_next(history) for history in frames[free, :8]]))
    is_right = (expected["ball_x"] == positions[2, free, 0]) & (expected["ball_y"] == positions[2, free, 1])
    assert is_right.mean() > 0.95
