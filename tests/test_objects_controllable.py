"""The controllable object is located wherever it is and composited; row colours; spawns."""

from dataclasses import replace

import numpy as np

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects.background import (
    clear_resting_area,
    commonest_sprite,
    find_row_colors,
    find_typical_frame,
)
from ghostpad.objects.detection import Object, RowColors
from ghostpad.objects.recordings import Recordings
from ghostpad.objects.rendering import (
    composite,
    composite_spawn,
    next_without_objects,
    predicted_mask,
    without_objects,
)
from ghostpad.objects.scene import MAX_TEMPLATE_SIDE, Scene, SceneModel, Tracks
from ghostpad.objects.tracking import locate_controllable, locate_next_controllable, track, track_next
from moving_objects import COLOR, bar, flight, track_to

PADDLE = Object(np.zeros(2, int), np.ones((4, 16), bool), np.repeat(COLOR[:, 0].astype(np.int16), 64, 1))
SCENE = Scene(controllable=PADDLE)
ROW_COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
"""Of four rows each."""


def track_bar(frames: np.ndarray, scene: Scene = SCENE) -> Tracks:
    tracks = track(frames, scene)
    assert tracks.controllable is not None
    return tracks


def test_the_controllable_object_is_removed_from_both_frames_and_drawn_where_it_is_predicted() -> None:
    frames = bar(9, 2)
    background = np.where((frames[0] == COLOR).all(0), 0, frames[0])
    tracks = track_bar(frames[:8])
    assert (without_objects(tracks) == background).all()
    assert (next_without_objects(tracks, frames[8]) == background).all()
    assert (composite(tracks, background) == background).all(), "without a button nothing is predicted"
    predicted = tracks.with_controllable_at(np.array([50, 26]))
    assert (composite(predicted, background) == frames[8]).all()
    assert not predicted_mask(predicted).any(), "its position depends on the button"


def test_it_is_located_at_rest_and_beside_a_wall_of_its_color() -> None:
    resting = np.repeat(bar(1, 0, first=40), 8, 0)
    tracks = track_bar(resting)
    assert tracks.controllable is not None and tracks.controllable.displacements == ((0, 0),) * 7
    for frame, column in ((bar(1, 0, first=43)[0], 43), (resting[0], 40)):
        found = locate_next_controllable(tracks, frame, track_next(tracks, frame))
        assert found is not None and found.position.tolist() == [50, column]
    for steps in (resting, bar(8, 2, first=26)):
        frames = steps.copy()
        frames[:, :, 48:56, 56:64] = COLOR  # a wall that it has come to
        paddle = track_bar(frames).controllable
        assert paddle is not None and paddle.position.tolist() == [50, 40]
    gone = np.zeros_like(resting)
    assert track(gone, SCENE).controllable is None and locate_controllable(gone[0], [], PADDLE) is None


def test_the_typical_frame_is_shown_where_it_rested(store: FrameStore) -> None:
    resting = np.repeat(bar(1, 0, first=54), 8, 0)
    resting[:, :, 50:56, 60:68] = COLOR  # it covers a part of a wall of its colour
    typical = np.zeros((3, 60, 80), np.uint8)
    typical[..., 70:] = 142
    typical[:, 50:56, 60:68] = COLOR
    scene = replace(SCENE, typical_frame=typical, is_typical=np.ones((60, 80), bool))
    shown = without_objects(track_bar(resting, scene))
    assert (shown[:, :, :70] == typical[:, :, :70]).all()
    transitions = Transitions(store, "train")
    found, is_typical = find_typical_frame(Recordings(transitions, 8, False))
    frame = store.read(int(transitions.episode_index[5]), transitions.frame_index[5:6], False)[0]
    assert found.shape == frame.shape and is_typical.mean() > 0.9
    assert (found == frame)[:, is_typical].mean() > 0.95


def test_nothing_is_a_rigid_part_where_it_may_rest() -> None:
    scene = SceneModel(3, (60, 80))
    scene.store_object("controllable", PADDLE)
    parts = np.ones((60, 80), np.int32)
    scene.store(rigid_parts=parts)
    clear_resting_area(scene, (np.array([50, 8]), np.array([50, 40])))
    parts[50:54, 8:56] = 0
    assert (scene.arrays.rigid_parts == parts).all()


def row_colors() -> RowColors:
    colors = np.repeat(ROW_COLORS, 4, 0).T.astype(np.int16)
    known = np.pad(np.ones(12, bool), (20, 28))
    return RowColors(np.ones((4, 2), bool), np.pad(colors, ((0, 0), (20, 28))), known)


def colored_by_row(num: int) -> np.ndarray:
    """Frames (num, 3, 60, 80) of a ball that moves by (1, 2) a frame and takes the colour of each row."""
    frames = np.zeros((num, 3, 60, 80), np.uint8)
    for time in range(num):
        for row in range(21 + time, 25 + time):
            frames[time, :, row, 20 + 2 * time : 22 + 2 * time] = ROW_COLORS[(row - 20) // 4][:, None]
    return frames


def test_a_ball_that_takes_the_color_of_each_row_is_one_object() -> None:
    frames = colored_by_row(7)
    scene = Scene(row_colors())
    (ball,) = [each for each in track(frames[:-1], scene).objects if each.is_sprite]
    assert ball.position.tolist() == [26, 30]
    assert ball.velocity is not None and ball.velocity.tolist() == [1, 2]
    tracks = track_to(frames[:-1], (27, 32), scene=scene)
    assert not without_objects(tracks).any() and not next_without_objects(tracks, frames[-1]).any()
    assert (composite(tracks, np.zeros_like(frames[0])) == frames[-1]).all(), "in the colours of its new rows"
    assert not any(each.is_sprite for each in track(frames[:-1]).objects), "without row colours"


def test_it_is_tracked_beside_a_wall_of_the_color_of_its_row() -> None:
    frames = colored_by_row(5)
    frames[:, :, 24:28, 30:46] = ROW_COLORS[1][:, None, None]  # beside the ball at last
    (ball,) = [each for each in track(frames, Scene(row_colors())).objects if each.is_sprite]
    assert ball.is_seen_whole and ball.position.tolist() == [25, 28]


def test_an_object_of_known_row_colors_is_a_sprite_at_its_first_detection() -> None:
    frames = np.concatenate([np.zeros((3, 3, 60, 80), np.uint8), colored_by_row(1)])
    (ball,) = track(frames, Scene(row_colors())).objects
    assert ball.is_sprite and ball.velocity is None
    assert [each.is_sprite for each in track(frames).objects] == [False, False]


def test_row_colors_are_found_in_recordings_and_stored(store: FrameStore) -> None:
    recordings = Recordings(Transitions(store, "train"), 8, False)
    rows = np.arange(len(recordings.transitions))
    small = commonest_sprite(recordings.track(rows))
    assert small is not None and small.mask.shape == (4, 2)
    found = find_row_colors(recordings, rows, small)
    assert found.known[110:180].mean() > 0.5 and not found.known[:30].any()
    assert (found.colors[:, found.known][:, -20:] == small.colors[:, :1]).all()
    scene = SceneModel(3, (210, 160))
    assert scene.arrays.row_colors is None
    scene.store_object("small", small)
    scene.store(row_colors=found.colors, row_colors_known=found.known)
    stored = scene.arrays.row_colors
    assert stored is not None and (stored.mask == found.mask).all()
    assert (stored.colors == found.colors).all() and (stored.known == found.known).all()


def test_the_scene_model_stores_appearances_of_objects() -> None:
    scene, again, size = SceneModel(3, (9, 9)), SceneModel(3, (9, 9)), MAX_TEMPLATE_SIDE + 1
    assert scene.object("controllable") is None
    corner = Object(np.array([9, 9]), np.array([[True, False], [True, True]]), np.full((3, 3), 7, np.int16))
    scene.store_object("controllable", corner)
    again.load_state_dict(scene.state_dict())
    stored = again.object("controllable")
    assert stored is not None and stored.matches(corner) and stored.position.tolist() == [9, 9]
    assert again.object("spawn") is None
    too_large = Object(np.zeros(2, int), np.ones((2, size), bool), np.zeros((3, 2 * size), np.int16))
    again.store_object("spawn", too_large)
    again.store_object("controllable", None)
    assert again.object("spawn") is None and again.object("controllable") is None


def test_a_button_spawns_an_object_where_there_is_no_small_one() -> None:
    ball = Object(np.array([20, 40]), np.ones((4, 2), bool), np.repeat(COLOR[:, 0].astype(np.int16), 8, 1))
    frames = bar(9, 2)
    served = composite_spawn(track(frames[:8]), frames[8], ball)
    assert (served[:, 20:24, 40:42] == COLOR).all() and (served != frames[8]).any(0).sum() == 8
    elsewhere = frames[8].copy()
    elsewhere[:, 5:9, 60:62] = COLOR
    assert (composite_spawn(track(frames[:8]), elsewhere, ball) == elsewhere).all(), "codes have drawn it"
    flying = flight(9)
    assert (composite_spawn(track(flying[:8]), flying[8], ball) == flying[8]).all()
