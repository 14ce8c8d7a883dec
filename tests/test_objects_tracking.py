"""Objects are tracked though they touch others of their colour or are deformed."""

from dataclasses import replace

import numpy as np

from ghostpad.objects.detection import Object
from ghostpad.objects.scene import Tracks
from ghostpad.objects.tracking import (
    seen_again,
    track,
    track_next,
)
from moving_objects import COLOR, bar, flight

BALL, BAR = (4, 2), (4, 16)


def seen_next(tracks: Tracks, frame: np.ndarray) -> dict[int, Object]:
    return seen_again(track_next(tracks, frame) or [])


def new_next(tracks: Tracks, frame: np.ndarray) -> list[Object]:
    return [each for each in track_next(tracks, frame) or [] if each.is_new]


def visible(objects: list[Object], shape: tuple[int, int]) -> Object:
    (found,) = [each for each in objects if each.mask.shape == shape and each.frames_since_seen == 1]
    return found


def ball_on_bar(num: int, velocity: int = 2) -> np.ndarray:
    """Frames of a bar that moves, onto which a ball falls three rows a frame: it touches in the last."""
    frames = bar(num, velocity)
    for time in range(num):
        row = 47 - 3 * (num - 1 - time)
        frames[time, :, row : row + 4, 38:40] = COLOR
    return frames


def test_a_ball_and_the_paddle_that_it_touches_are_both_detected() -> None:
    frames = ball_on_bar(9)
    tracks = track(frames)
    ball, paddle = visible(tracks.objects, BALL), visible(tracks.objects, BAR)
    assert ball.position.tolist() == [47, 38] and ball.is_sprite and ball.deformed is None
    assert paddle.position.tolist() == [50, 26]
    assert paddle.velocity is not None and paddle.velocity.tolist() == [0, 2]
    before = track(frames[:-1])
    seen = {before.objects[index].mask.shape: each for index, each in seen_next(before, frames[-1]).items()}
    positions = {shape: each.position.tolist() for shape, each in seen.items()}
    assert positions == {BALL: [47, 38], BAR: [50, 26]}


def test_a_paddle_is_detected_beside_a_wall_of_its_color() -> None:
    frames = bar(9, 6)
    frames[:, :, 50:56, 70:] = COLOR
    assert visible(track(frames[:8]).objects, BAR).position.tolist() == [50, 52]
    frames[8, :, 50:54, 54:70] = COLOR  # it has come to the wall
    frames[8, :, 50:54, 52:54] = 0
    assert visible(track(frames).objects, BAR).position.tolist() == [50, 54]


def test_reused_detections_change_no_track() -> None:
    frames = np.concatenate([flight(12, (4, -3)), flight(12, (4, 1))], 3)
    frames[8:, :, 30:33, 100:110] = 7  # appears, and is background after a while
    last, reused = track(frames[:4]), []
    for first in range(1, 9):
        history, before = frames[first : first + 4], last
        anew, last = track(history), track(history, last=before)
        reused.append(last.detections[0] is before.detections[1])
        assert (anew.background == last.background).all()
        assert len(anew.objects) == len(last.objects) >= 2
        for one, other in zip(anew.objects, last.objects, strict=True):
            assert one.position.tolist() == other.position.tolist() and one.matches(other)
            assert one.displacements == other.displacements
            assert one.frames_since_seen == other.frames_since_seen
    assert any(reused) and not all(reused)


def test_predictions_are_compared_apart_from_the_controllable_object() -> None:
    tracks = track(flight(8))
    (ball,) = tracks.objects
    here, there = ball.extrapolated_position, ball.extrapolated_position + 1
    variants = [
        ball,
        replace(ball, predicted_position=here),
        replace(ball, predicted_position=here, occluded=True),
        replace(ball, predicted_position=there),
    ]
    seen = [replace(tracks, objects=[variant]).predictions for variant in variants]
    assert [[one == other for other in seen] for one in seen] == np.eye(4, dtype=bool).tolist()
    driven = [replace(tracks, objects=[replace(each, is_controllable=True)]) for each in variants]
    assert driven[1].predictions == driven[3].predictions


def test_an_object_that_is_not_visible_is_lost() -> None:
    frames = ball_on_bar(9)
    frames[-1] = bar(9, 2)[-1]
    lost = [each for each in track(frames).objects if each.mask.shape == BALL]
    assert [each.frames_since_seen for each in lost] == [2]
    tracks = track(frames[:-1])
    assert {tracks.objects[index].mask.shape for index in seen_next(tracks, frames[-1])} == {BAR}


def test_an_object_is_new_if_it_belongs_to_no_track() -> None:
    frames = bar(9, 2)
    frames[-1, :, 20:24, 40:42] = COLOR
    (ball,) = new_next(track(frames[:-1]), frames[-1])
    assert ball.mask.shape == BALL and ball.position.tolist() == [20, 40]
    assert new_next(track(np.repeat(frames[:1] * 0, 8, 0)), frames[-1] * 0) == []
    resting = np.repeat(bar(1, 0), 9, 0)
    resting[-1, :, 20:24, 40:42] = COLOR
    assert [each.position.tolist() for each in new_next(track(resting[:-1]), resting[-1])] == [[20, 40]]
    assert new_next(track(flight(9)[:-1]), flight(9)[-1]) == []
