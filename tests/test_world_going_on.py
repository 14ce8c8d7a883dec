"""Pictures without what is followed, and with all else going on; and mending."""

from dataclasses import replace

import numpy as np
import pytest

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.games.breakout.detector import detect
from ghostpad.objects import rendering as going_on
from ghostpad.objects.rendering import bare, bare_next, due, mended, with_due
from ghostpad.objects.tracking import Tracks, follow

COLOUR = np.array([200, 72, 72], np.uint8)[:, None, None]


def go_on(history: np.ndarray) -> np.ndarray:
    return going_on.go_on(follow(history))


def flight(
    num: int, places: dict[int, tuple[int, int]] | None = None, step: tuple[int, int] = (3, -2)
) -> np.ndarray:
    """Frames (num, 3, 60, 80) uint8 of a ball of 4×2 pixels over a striped ground."""
    frames = np.zeros((num, 3, 60, 80), np.uint8)
    frames[..., ::8] = 90
    for time in range(num):
        line, column = (places or {}).get(time, (10 + step[0] * time, 50 + step[1] * time))
        frames[time, :, line : line + 4, column : column + 2] = COLOUR
    return frames


@pytest.mark.parametrize("step", [(3, -2), (0, 5), (-1, 1)])
def test_what_flies_goes_on(step: tuple[int, int]) -> None:
    frames = flight(9, step=step)
    assert (go_on(frames[:-1]) == frames[-1]).all()


def test_what_stands_still_stays_and_is_not_changed() -> None:
    frames = np.repeat(flight(1), 4, 0)
    assert (go_on(frames) == frames[0]).all()
    moving = flight(8)
    before = moving.copy()
    go_on(moving)
    assert (moving == before).all()


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_what_flew_and_is_missing_is_put_back(missing: int) -> None:
    frames, without = flight(9), flight(8)
    ground = np.zeros_like(frames[0])
    ground[..., ::8] = 90
    without[-missing:] = ground
    assert (go_on(without) == frames[-1]).all()
    without[-4:] = ground
    assert (go_on(without) == ground).all(), "after that it is gone"


def test_what_is_found_again_is_there_once() -> None:
    frames = flight(9)
    seen = frames[:-1].copy()
    seen[6] = np.where((seen[6] == COLOUR).all(0), 0, seen[6])
    assert ((go_on(seen) == COLOUR).all(0) == (frames[-1] == COLOUR).all(0)).all()


def test_what_is_bent_goes_on_as_it_was() -> None:
    frames = flight(9)
    seen = frames[:-1].copy()
    line, column = 10 + 3 * 7, 50 - 2 * 7
    seen[7, :, line + 3, column] = frames[7, :, line + 4, column]  # one pixel of eight is gone
    assert (go_on(seen) == frames[-1]).all()


def foreseen(history: np.ndarray, place: tuple[int, int], hides: bool = False) -> Tracks:
    """What moves in it, of whose small things somebody knows where they go."""
    followed = follow(history)
    told = [
        replace(thing, foreseen=np.array(place), hides=hides) if thing.is_sure else thing
        for thing in followed.things or []
    ]
    assert any(thing.foreseen is not None for thing in told)
    return replace(followed, things=told)


GROUND = np.zeros((3, 60, 80), np.uint8)
GROUND[..., ::8] = 90
NEXT = 10 + 3 * 8, 50 - 2 * 8
"""Where the ball of `flight(9)` is at last."""


def test_what_is_foreseen_is_taken_out_of_both_pictures_and_put_in_again() -> None:
    frames = flight(9)
    before = frames.copy()
    followed = foreseen(frames[:-1], NEXT)
    assert (bare(followed) == GROUND).all() and (bare_next(followed, frames[-1]) == GROUND).all()
    assert (going_on.go_on(followed) == GROUND).all(), "the guess is of all else"
    assert (due(followed) == (frames[-1] == COLOUR).all(0)).all()
    ground = GROUND.copy()
    assert (with_due(followed, ground) == frames[-1]).all()
    assert (ground == GROUND).all() and (frames == before).all()
    elsewhere = foreseen(frames[:-1], (20, 60))
    assert (with_due(elsewhere, GROUND)[:, 20:24, 60:62] == COLOUR).all()
    assert (bare_next(elsewhere, frames[-1]) == GROUND).all(), "wherever it is, it is not spoken of"


def test_what_hides_is_put_nowhere() -> None:
    hidden = foreseen(flight(8), (34, 34), hides=True)
    assert (bare(hidden) == GROUND).all() and not due(hidden).any()
    assert with_due(hidden, GROUND) is GROUND


def test_what_nobody_foresees_stays_in_both_pictures() -> None:
    frames = flight(9)
    followed = follow(frames[:-1])
    following = frames[-1]
    assert bare(followed) is followed.newest and bare_next(followed, following) is following
    assert not due(followed).any() and with_due(followed, following) is following


def test_under_a_thing_is_what_stands_there_or_if_that_has_changed_what_is_beside_it() -> None:
    frames = flight(8)
    frames[:, :, 28:36, 30:46] = 60  # a brick in the ball's way, that is gone when the ball is there
    frames[7, :, 28:36, 30:46] = GROUND[:, 28:36, 30:46]
    frames[7, :, 31:35, 36:38] = COLOUR
    bricks = bare(foreseen(frames, (34, 34)))
    assert not (bricks == 60).all(0).any() and not (bricks == COLOUR).all(0).any()
    striped = flight(8, step=(0, 2))
    striped[..., ::2, :] //= 2
    for time in range(8):
        striped[time, :, 10:14, 50 + 2 * time : 52 + 2 * time] = COLOUR
    ground = GROUND.copy()
    ground[..., ::2, :] //= 2
    assert (bare(foreseen(striped, (10, 66))) == ground).all()


def test_what_looks_like_a_thing_that_was_taken_out_goes() -> None:
    followed = foreseen(flight(8), NEXT)
    line, column = NEXT
    again, bent, fragments = (GROUND.copy() for _ in range(3))
    again[:, line - 8 : line - 4, column : column + 2] = COLOUR
    bent[:, line : line + 4, column : column + 2] = COLOUR
    bent[:, line, column] = GROUND[:, line, column]
    fragments[:, line + 2, column + 3] = fragments[:, line + 4, column + 5] = COLOUR[:, 0, 0]
    for drawn in (again, bent, fragments):
        kept = drawn.copy()
        assert (mended(followed, drawn) == GROUND).all()
        assert (drawn == kept).all()
    assert mended(followed, GROUND) is GROUND
    assert (mended(follow(flight(8)), again) == again).all(), "nobody foresees it"
    assert (mended(foreseen(flight(8), NEXT, hides=True), bent) == bent).all(), "it may be that"


def bar(num: int, step: int, first: int = 10) -> np.ndarray:
    """Frames of a bar of 4×16 pixels that goes to the right, between a wall at column 70 and nothing."""
    frames = np.zeros((num, 3, 60, 80), np.uint8)
    frames[..., 70:] = 142
    for time in range(num):
        frames[time, :, 50:54, first + step * time : first + step * time + 16] = COLOUR
    return frames


def test_a_large_thing_goes_on_as_a_whole_and_stops_at_what_is_in_its_way() -> None:
    frames = bar(9, 2)
    assert (go_on(frames[:8]) == frames[8]).all()
    slow = bar(9, 0, first=30)
    slow[7:] = bar(2, 3, first=33)
    assert (go_on(slow) == bar(1, 0, first=39)[0]).all(), "though it stood elsewhere most of the time"
    before_wall = bar(8, 6)
    assert (go_on(before_wall) == bar(1, 0, first=54)[0]).all()


def test_a_large_thing_that_gained_or_lost_some_pixels_gets_its_shape_back() -> None:
    frames = bar(9, 2)
    followed, drawn = follow(frames[:8]), frames[8].copy()
    drawn[:, 50:54, 42:45] = COLOUR  # 19 wide
    assert (mended(followed, drawn) == frames[8]).all()
    drawn = frames[8].copy()
    drawn[:, 50:54, 26:34] = 0  # half of it: another thing, or it has become so
    assert mended(followed, drawn) is drawn


def test_noise_is_left_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 1, 60, 80), np.uint8)
    assert (go_on(noise) == noise[-1]).all()


def test_what_leaves_the_frame_is_cut() -> None:
    frames = flight(8, step=(0, 4))
    assert (frames[-1] == COLOUR).all(0).any()
    assert not (go_on(frames) == COLOUR).all(0).any()


def test_recorded_balls_in_free_flight_are_where_it_says(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rows = np.flatnonzero(transitions.frame_index >= 8)
    frames = read_sequences(transitions, rows, 8, 1, False)
    found = [detect(frames[:, time]) for time in (6, 7, 8)]
    places = np.stack([np.stack([each["ball_x"], each["ball_y"]], 1) for each in found]).astype(int)
    free = np.all([each["num_balls"] == 1 for each in found], 0)
    free &= (np.abs(places[2] - 2 * places[1] + places[0]).max(1) == 0) & (places[:, :, 1] > 110).all(0)
    assert free.sum() >= 20
    guessed = detect(np.stack([go_on(history) for history in frames[free, :8]]))
    assert (
        (guessed["ball_x"] == places[2, free, 0]) & (guessed["ball_y"] == places[2, free, 1])
    ).mean() > 0.95
