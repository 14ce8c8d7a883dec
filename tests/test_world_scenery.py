"""What stands: pixels that cover what goes behind them, and parts that only change as a whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects.background import make_whole, scenery_in
from ghostpad.objects.controllable import Known
from ghostpad.objects.detection import Thing
from ghostpad.objects.rendering import bare, bare_next, draw, mended, with_due
from ghostpad.objects.tracking import follow
from recordings import write_pngs

GRAY, BRICK, BALL = (142, 142, 142), (66, 72, 200), (200, 72, 72)
WALL = 8
"""Columns of a wall at the left."""


def painted(places: list[tuple[int, int]]) -> np.ndarray:
    """Frames (n, 3, 60, 80) of a ball at places, behind a wall at the left."""
    frames = np.zeros((len(places), 3, 60, 80), np.uint8)
    for frame, (line, column) in zip(frames, places, strict=True):
        frame[:, line : line + 4, column : column + 2] = np.array(BALL)[:, None, None]
    frames[..., :WALL] = np.array(GRAY)[:, None, None]
    return frames


def covers() -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[:, :WALL] = True
    return mask


BOUNCE = [(50 - 4 * time, WALL - 1 + 4 * abs(4 - time)) for time in range(9)]
"""Places of a ball that comes to the wall, is half behind it, and goes back."""


@pytest.mark.parametrize("num", [5, 6])
def test_a_ball_half_behind_a_wall_is_followed(num: int) -> None:
    frames = painted(BOUNCE)
    known = Known(covers=covers())
    (ball,) = follow(frames[:num], known).things or []
    assert ball.place.tolist() == list(BOUNCE[num - 1]) and ball.age == 1 and ball.mask.shape == (4, 2)
    assert ball.step is not None and ball.step.tolist() == np.subtract(*BOUNCE[num - 2 : num][::-1]).tolist()
    without = follow(frames[:5]).things or []
    assert any(thing.bent is not None for thing in without), "who knows no wall sees it bent"


@pytest.mark.parametrize("num", [4, 5])
def test_it_is_taken_out_and_put_in_as_far_as_it_is_seen(num: int) -> None:
    frames, ground = painted(BOUNCE), painted([(56, 78)])[0]
    ground[:, 56:, 78:] = 0
    followed = follow(frames[:num], Known(covers=covers()))
    (ball,) = followed.things or []
    led = replace(followed, things=[replace(ball, foreseen=np.array(BOUNCE[num]))])
    assert (bare(led) == ground).all() and (bare_next(led, frames[num]) == ground).all()
    assert (with_due(led, ground) == frames[num]).all()


def test_where_it_was_never_seen_it_is_drawn_all_the_same() -> None:
    ball = Thing(np.array([10, 2]), np.ones((4, 2), bool), np.repeat(np.array(BALL)[:, None], 8, 1))
    frame = painted([(50, 50)])[0]
    draw(frame, ball, ball.place, covers())
    assert (frame[:, 10:14, 2:4] == np.array(BALL)[:, None, None]).all()


def test_what_is_seen_where_it_never_was_is_taken_out_whole() -> None:
    frames = painted([(10 + 2 * time, 19) for time in range(5)])
    ground = np.array(painted([(10, 19)])[0])
    ground[:, 10:14, 19:21] = 0
    known = Known(covers=np.pad(np.ones((60, 20), bool), ((0, 0), (0, 60))))
    followed = follow(frames, known)
    (ball,) = followed.things or []
    assert (bare(replace(followed, things=[replace(ball, foreseen=ball.next_place)])) == ground).all()


def test_a_part_has_the_colour_of_most_of_it() -> None:
    frame = painted([(50, 50)])[0]
    parts = np.zeros((60, 80), np.int32)
    parts[20:26, 16:24], parts[20:26, 24:32] = 1, 2
    frame[:, 20:26, 16:32] = np.array(BRICK)[:, None, None]
    whole = frame.copy()
    whole[:, 20:26, 16:24] = 0
    frame[:, 21:26, 16:24] = 0  # a line of it is left over
    frame[:, 20:22, 24:26] = 0  # and another is scratched
    make_whole(frame, parts)
    assert (frame == whole).all()
    followed = follow(np.repeat(whole[None], 4, 0), Known(parts=parts))
    scratched = whole.copy()
    scratched[:, 20:22, 24:26] = 0
    assert (mended(followed, scratched) == whole).all() and mended(followed, whole) is whole


@pytest.fixture(scope="module")
def store_of_bricks(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Episodes of a ball that falls everywhere, and three bricks that vanish one after the other."""
    rng, episodes = np.random.default_rng(0), {}
    for number in range(4):
        columns = np.repeat(rng.permutation(np.arange(WALL, 68, 3)), 12)
        frames = painted([(30 + 2 * (time % 12), int(column)) for time, column in enumerate(columns)])
        for place, first in enumerate(rng.permutation([16, 24, 32])):
            frames[: 60 * (place + 1) + 5, :, 20:26, first : first + 8] = np.array(BRICK)[:, None, None]
        episodes[str(number)] = frames.transpose(0, 2, 3, 1)
    return open_data(write_pngs(tmp_path_factory.mktemp("bricks") / "source", episodes))


def test_what_moves_over_a_part_keeps_its_shape() -> None:
    """As a large thing does that rested there once, so that it was taken for a part."""
    frames = np.zeros((5, 3, 60, 80), np.uint8)
    parts = np.zeros((60, 80), np.int32)
    parts[20:26, 30:36] = 1
    for time, frame in enumerate(frames):
        frame[:, 22:28, 28 + time : 34 + time] = 99
    drawn = np.zeros_like(frames[0])
    drawn[:, 22:28, 33:39] = 99
    assert (mended(follow(frames, Known(parts=parts)), drawn) == drawn).all()
    assert (mended(follow(frames[:1].repeat(4, 0), Known(parts=parts)), drawn) != drawn).any()


def test_bricks_and_walls_are_found(store_of_bricks: FrameStore) -> None:
    found = scenery_in(Transitions(store_of_bricks, "train"), False)
    assert found.covers[:, :WALL].all() and not found.covers[30:50, 20:40].any()
    numbers = [np.unique(found.parts[20:26, first : first + 8]) for first in (16, 24, 32)]
    assert [len(each) for each in numbers] == [1, 1, 1] and len(set(np.concatenate(numbers))) == 3
    assert (np.bincount(found.parts.ravel())[1:] == 48).all(), "and nothing that moves"
    passed = found.passed
    assert passed[32:50, 20:40].mean() > 0.6 and not passed[20:26].any() and not passed[:, :WALL].any()


@pytest.mark.parametrize(("num_frames", "gray"), [(5, False), (15, True)])
def test_all_frames_count_of_short_episodes_too(tmp_path: Path, num_frames: int, gray: bool) -> None:
    """The last frames are seen, though they are too few to tell what goes by."""
    still = painted([(50, 50)] * num_frames)
    moving = painted([(20, 20)] * (num_frames - 2) + [(20, 40), (20, 60)])
    episodes = {"still": still, "moving": moving}
    paths = {
        name: write_pngs(tmp_path / name, {part: frames.transpose(0, 2, 3, 1) for part in "abc"})
        for name, frames in episodes.items()
    }
    found = {name: scenery_in(Transitions(open_data(path), "train"), gray) for name, path in paths.items()}
    assert not found["still"].covers.any() and not found["still"].parts.any(), "nobody knows"
    assert not found["moving"].covers[20:24, 60:62].any() and found["moving"].covers[:, :WALL].all()
