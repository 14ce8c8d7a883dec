"""Occluders that hide what passes behind them, and rigid parts that only change as a whole."""

from pathlib import Path

import numpy as np
import pytest

from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects.background import find_background
from ghostpad.objects.detection import Object
from ghostpad.objects.recordings import Recordings
from ghostpad.objects.rendering import (
    composite,
    draw,
    next_without_objects,
    repair,
    unify_part_colors,
    without_objects,
)
from ghostpad.objects.scene import Scene
from ghostpad.objects.tracking import track
from moving_objects import track_to
from recordings import write_pngs

GRAY, BRICK, BALL = (142, 142, 142), (66, 72, 200), (200, 72, 72)
WALL = 8
"""Columns of a wall at the left."""


def painted(positions: list[tuple[int, int]]) -> np.ndarray:
    """Frames (n, 3, 60, 80) of a ball at positions, behind a wall at the left."""
    frames = np.zeros((len(positions), 3, 60, 80), np.uint8)
    for frame, (row, column) in zip(frames, positions, strict=True):
        frame[:, row : row + 4, column : column + 2] = np.array(BALL)[:, None, None]
    frames[..., :WALL] = np.array(GRAY)[:, None, None]
    return frames


def occluders() -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[:, :WALL] = True
    return mask


BOUNCE = [(50 - 4 * time, WALL - 1 + 4 * abs(4 - time)) for time in range(9)]
"""Positions of a ball that comes to the wall, is half behind it, and returns."""


@pytest.mark.parametrize("num", [5, 6])
def test_a_ball_half_behind_a_wall_is_tracked(num: int) -> None:
    frames = painted(BOUNCE)
    (ball,) = track(frames[:num], Scene(occluders=occluders())).objects
    assert ball.position.tolist() == list(BOUNCE[num - 1])
    assert ball.is_seen_whole and ball.mask.shape == (4, 2) and ball.velocity is not None
    assert ball.velocity.tolist() == np.subtract(*BOUNCE[num - 2 : num][::-1]).tolist()
    assert any(each.deformed is not None for each in track(frames[:5]).objects), "without known occluders"


@pytest.mark.parametrize("num", [4, 5])
def test_it_is_composited_as_far_as_it_is_visible(num: int) -> None:
    frames, background = painted(BOUNCE), painted([(56, 78)])[0]
    background[:, 56:, 78:] = 0
    tracks = track_to(frames[:num], BOUNCE[num], scene=Scene(occluders=occluders()))
    assert (without_objects(tracks) == background).all()
    assert (next_without_objects(tracks, frames[num]) == background).all()
    assert (composite(tracks, background) == frames[num]).all()


def test_an_object_that_would_be_hidden_wholly_is_drawn_over_occluders() -> None:
    ball = Object(np.array([10, 2]), np.ones((4, 2), bool), np.repeat(np.array(BALL)[:, None], 8, 1))
    frame = painted([(50, 50)])[0]
    draw(frame, ball, ball.position, occluders())
    assert (frame[:, 10:14, 2:4] == np.array(BALL)[:, None, None]).all()


def test_an_object_that_is_visible_in_front_of_occluders_is_removed_whole() -> None:
    frames = painted([(10 + 2 * time, 19) for time in range(5)])
    background = painted([(10, 19)])[0]
    background[:, 10:14, 19:21] = 0
    scene = Scene(occluders=np.pad(np.ones((60, 20), bool), ((0, 0), (0, 60))))
    assert (without_objects(track_to(frames, (20, 19), scene=scene)) == background).all()


def test_a_rigid_part_gets_its_commonest_color() -> None:
    frame = painted([(50, 50)])[0]
    parts = np.zeros((60, 80), np.int32)
    parts[20:26, 16:24], parts[20:26, 24:32] = 1, 2
    frame[:, 20:26, 16:32] = np.array(BRICK)[:, None, None]
    whole = frame.copy()
    whole[:, 20:26, 16:24] = 0
    frame[:, 21:26, 16:24] = 0  # one row of it is left
    frame[:, 20:22, 24:26] = 0  # and another part is scratched
    unify_part_colors(frame, parts)
    assert (frame == whole).all()
    tracks = track(np.repeat(whole[None], 4, 0), Scene(rigid_parts=parts))
    scratched = whole.copy()
    scratched[:, 20:22, 24:26] = 0
    assert (repair(tracks, scratched) == whole).all() and (repair(tracks, whole) == whole).all()


@pytest.fixture(scope="module")
def store_of_bricks(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Episodes of a ball that falls everywhere, and three bricks that vanish one after the other."""
    rng, episodes = np.random.default_rng(0), {}
    for number in range(4):
        columns = np.repeat(rng.permutation(np.arange(WALL, 68, 3)), 12)
        frames = painted([(30 + 2 * (time % 12), int(column)) for time, column in enumerate(columns)])
        for order, first in enumerate(rng.permutation([16, 24, 32])):
            frames[: 60 * (order + 1) + 5, :, 20:26, first : first + 8] = np.array(BRICK)[:, None, None]
        episodes[str(number)] = frames.transpose(0, 2, 3, 1)
    return open_data(write_pngs(tmp_path_factory.mktemp("bricks") / "source", episodes))


def test_bricks_and_walls_are_found(store_of_bricks: FrameStore) -> None:
    recordings = Recordings(Transitions(store_of_bricks, "train"), 8, False)
    found_occluders, parts = find_background(recordings)
    assert found_occluders[:, :WALL].all() and not found_occluders[30:50, 20:40].any()
    numbers = [np.unique(parts[20:26, first : first + 8]) for first in (16, 24, 32)]
    assert [len(each) for each in numbers] == [1, 1, 1] and len(set(np.concatenate(numbers))) == 3
    assert (np.bincount(parts.ravel())[1:] == 48).all(), "and nothing that moves"


@pytest.mark.parametrize(("num_frames", "gray"), [(5, False), (15, True)])
def test_all_frames_count_in_short_episodes_too(tmp_path: Path, num_frames: int, gray: bool) -> None:
    """The last frames are seen, though they are too few for a clip."""
    still = painted([(50, 50)] * num_frames)
    moving = painted([(20, 20)] * (num_frames - 2) + [(20, 40), (20, 60)])
    found = {}
    for name, frames in {"still": still, "moving": moving}.items():
        path = write_pngs(tmp_path / name, {part: frames.transpose(0, 2, 3, 1) for part in "abc"})
        recordings = Recordings(Transitions(open_data(path), "train"), 8, gray)
        found[name] = find_background(recordings)
    assert not found["still"][0].any() and not found["still"][1].any(), "without motion nothing is known"
    assert not found["moving"][0][20:24, 60:62].any() and found["moving"][0][:, :WALL].all()
