"""What moves is followed though it touches what has its colour, or has come to look otherwise."""

from dataclasses import replace

import numpy as np

from ghostpad.objects.detection import Thing
from ghostpad.objects.tracking import (
    Tracks,
    follow,
    new_among,
    next_things,
    same_apart_from_steered,
    seen_again,
)
from test_world_going_on import COLOUR, bar, flight

BALL, BAR = (4, 2), (4, 16)


def seen_next(followed: Tracks, frame: np.ndarray) -> dict[int, Thing]:
    return seen_again(next_things(followed, frame) or [])


def new_next(followed: Tracks, frame: np.ndarray) -> list[Thing]:
    return new_among(next_things(followed, frame) or [])


def thing_of(things: list[Thing] | None, shape: tuple[int, int]) -> Thing:
    (found,) = [thing for thing in things or [] if thing.mask.shape == shape and thing.age == 1]
    return found


def on_bar(num: int, step: int = 2) -> np.ndarray:
    """Frames of a bar that moves, onto which a ball falls three lines a frame: it touches in the last."""
    frames = bar(num, step)
    for time in range(num):
        line = 47 - 3 * (num - 1 - time)
        frames[time, :, line : line + 4, 38:40] = COLOUR
    return frames


def test_a_ball_that_touches_the_paddle_is_told_from_it() -> None:
    frames = on_bar(9)
    followed = follow(frames)
    ball, paddle = thing_of(followed.things, BALL), thing_of(followed.things, BAR)
    assert ball.place.tolist() == [47, 38] and ball.is_sure and ball.bent is None
    assert paddle.place.tolist() == [50, 26] and paddle.step is not None and paddle.step.tolist() == [0, 2]
    before = follow(frames[:-1])
    assert before.things is not None
    seen = {before.things[index].mask.shape: thing for index, thing in seen_next(before, frames[-1]).items()}
    assert {shape: thing.place.tolist() for shape, thing in seen.items()} == {BALL: [47, 38], BAR: [50, 26]}


def test_a_paddle_is_told_from_a_wall_of_its_colour() -> None:
    frames = bar(9, 6)
    frames[:, :, 50:56, 70:] = COLOUR
    assert thing_of(follow(frames[:8]).things, BAR).place.tolist() == [50, 52]
    frames[8, :, 50:54, 54:70] = COLOUR  # it has come to the wall
    frames[8, :, 50:54, 52:54] = 0
    assert thing_of(follow(frames).things, BAR).place.tolist() == [50, 54]


def test_what_was_looked_at_a_frame_ago_is_not_needed() -> None:
    frames = np.concatenate([flight(12, step=(4, -3)), flight(12, step=(4, 1))], 3)
    frames[8:, :, 30:33, 100:110] = 7  # comes, and belongs to what stands after a while
    last, reused = follow(frames[:4]), []
    for first in range(1, 9):
        history, before = frames[first : first + 4], last
        anew, last = follow(history), follow(history, last=before)
        reused.append(last.looks[0] is before.looks[1])
        assert (anew.still == last.still).all() and len(anew.things or []) == len(last.things or []) >= 2
        for one, other in zip(anew.things or [], last.things or [], strict=True):
            assert one.place.tolist() == other.place.tolist() and one.looks_like(other)
            assert (one.went, one.age, one.times) == (other.went, other.age, other.times)
    assert any(reused) and not all(reused)


def test_what_is_foreseen_is_compared_but_for_what_is_steered() -> None:
    followed = follow(flight(8))
    (ball,) = followed.things or []
    goes, hides = replace(ball, foreseen=ball.next_place), replace(ball, foreseen=ball.next_place, hides=True)
    elsewhere = replace(ball, foreseen=ball.next_place + 1)
    each = [replace(followed, things=[thing]) for thing in (ball, goes, hides, elsewhere)]
    for one in each:
        assert [same_apart_from_steered([one], [other]) for other in each] == [one is e for e in each]
    steered = [replace(followed, things=[replace(t, is_steered=True)]) for t in (goes, elsewhere)]
    assert same_apart_from_steered(steered[:1], steered[1:])


def test_what_is_nowhere_seen_is_missing() -> None:
    frames = on_bar(9)
    frames[-1] = bar(9, 2)[-1]
    assert [t.age for t in follow(frames).things or [] if t.mask.shape == BALL] == [2]
    followed = follow(frames[:-1])
    assert followed.things is not None
    shapes = {followed.things[index].mask.shape for index in seen_next(followed, frames[-1])}
    assert shapes == {BAR}


def test_what_comes_is_new_and_what_was_followed_is_not() -> None:
    frames = bar(9, 2)
    frames[-1, :, 20:24, 40:42] = COLOUR
    (ball,) = new_next(follow(frames[:-1]), frames[-1])
    assert ball.mask.shape == BALL and ball.place.tolist() == [20, 40]
    assert [
        new.place.tolist() for new in new_next(follow(np.repeat(frames[:1] * 0, 8, 0)), frames[-1] * 0)
    ] == []
    still = np.repeat(bar(1, 0), 9, 0)
    still[-1, :, 20:24, 40:42] = COLOUR
    assert [new.place.tolist() for new in new_next(follow(still[:-1]), still[-1])] == [[20, 40]]
    assert new_next(follow(flight(9)[:-1]), flight(9)[-1]) == []


def test_looks_that_it_has_twice_are_its_own() -> None:
    frames = flight(8)
    for time in range(3):  # at first its upper line was covered
        frames[time, :, 10 + 3 * time] = flight(1)[0, :, 0]
    ball = thing_of(follow(frames).things, BALL)
    assert ball.bent is None and ball.place.tolist() == [10 + 3 * 7, 50 - 2 * 7] and ball.is_sure
    once = frames[:4]
    (bent,) = [thing for thing in follow(once).things or [] if thing.is_sure]
    assert bent.mask.shape == (3, 2) and bent.bent is not None and bent.bent.mask.shape == BALL
