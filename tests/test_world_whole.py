"""The steered thing is there once, and whole, where it fits what was drawn."""

import numpy as np

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.world.following import follow
from ghostpad.world.movement import LARGEST, Movement
from ghostpad.world.movement_lessons import usual_frame
from ghostpad.world.things import Thing
from ghostpad.world.whole import made_whole, with_coming
from test_world_going_on import COLOUR, bar, flight

LOOKS = Thing(np.zeros(2, int), np.ones((4, 16), bool), np.repeat(COLOUR[:, 0].astype(np.int16), 64, 1))


def test_pieces_are_put_together_where_they_fit_best() -> None:
    frames = bar(9, 2)
    followed = follow(frames[:8])
    pieces = frames[8].copy()
    pieces[:, 50:54, 30:33] = 0
    pieces[:, 51:53, 45:47] = COLOUR
    pieces[:, 47:49, 24:26] = 200  # not even in its colour
    kept = pieces.copy()
    assert (made_whole(followed, pieces, LOOKS) == frames[8]).all()
    assert (pieces == kept).all()
    assert made_whole(followed, frames[8], LOOKS) is not None
    assert (made_whole(followed, frames[8], LOOKS) == frames[8]).all()


def test_what_is_drawn_is_believed_and_not_what_was_expected() -> None:
    followed = follow(bar(8, 2))
    for place in (10, 24, 40):
        drawn = bar(1, 0, first=place)[0]
        assert (made_whole(followed, drawn, LOOKS) == drawn).all()
    gone = np.zeros_like(drawn)
    gone[..., 70:] = 142
    assert made_whole(followed, gone, LOOKS) is gone
    assert made_whole(follow(gone[None].repeat(8, 0)), drawn, LOOKS) is drawn, "there was none"


def test_it_is_known_though_it_rests_and_though_it_touches_a_wall_of_its_colour() -> None:
    resting = np.repeat(bar(1, 0, first=40), 8, 0)
    moved = bar(1, 0, first=43)[0]
    pieces = moved.copy()
    pieces[:, 50:54, 43] = 0
    assert (made_whole(follow(resting), pieces, LOOKS) == moved).all()
    for steps in (np.repeat(resting, 1, 0), bar(8, 2, first=26)):
        frames = np.concatenate([steps, bar(1, 0, first=36)])
        frames[:, :, 48:56, 56:64] = COLOUR  # a wall that it has come to, and leaves
        drawn = frames[-1].copy()
        drawn[:, 52:56, 58:64] = 0
        assert (made_whole(follow(frames[:-1]), drawn, LOOKS)[:, :56, :56] == frames[-1][:, :56, :56]).all()
    overlapping = bar(9, -3, first=72)
    overlapping[..., 70:] = 0
    overlapping[:, :, 50:56, 72:] = COLOUR
    drawn = overlapping[8].copy()
    drawn[:, 50:56, 73:76] = 0
    assert (
        made_whole(follow(overlapping[:8]), drawn, LOOKS)[:, 50:54, :64] == overlapping[8][:, 50:54, :64]
    ).all()


def test_a_world_remembers_how_what_is_steered_looks() -> None:
    movement, again = Movement(3), Movement(3)
    assert movement.steered.thing is None
    bent = Thing(np.array([9, 9]), np.array([[True, False], [True, True]]), np.full((3, 3), 7, np.int16))
    movement.steered.keep(bent)
    again.load_state_dict(movement.state_dict())
    assert again.steered.thing is not None and again.steered.thing.looks_like(bent)
    assert again.steered.thing.place.tolist() == [9, 9] and again.coming.thing is None
    large = Thing(np.zeros(2, int), np.ones((2, LARGEST + 1), bool), np.zeros((3, 2 * LARGEST + 2), np.int16))
    other = Movement(3)
    other.steered.keep(large)
    assert other.steered.thing is None


def test_what_comes_by_a_button_comes_where_nothing_small_is() -> None:
    ball = Thing(np.array([20, 40]), np.ones((4, 2), bool), np.repeat(COLOUR[:, 0].astype(np.int16), 8, 1))
    frames = bar(9, 2)
    served = with_coming(follow(frames[:8]), frames[8], ball)
    assert (served[:, 20:24, 40:42] == COLOUR).all() and ((served != frames[8]).any(0).sum() == 8)
    elsewhere = frames[8].copy()
    elsewhere[:, 5:9, 60:62] = COLOUR
    assert with_coming(follow(frames[:8]), elsewhere, ball) is elsewhere, "it came by itself"
    flying = flight(9)
    drawn = flying[8]
    assert with_coming(follow(flying[:8]), drawn, ball) is drawn


def test_far_from_it_nothing_of_its_colour_comes_but_what_may() -> None:
    frames = bar(9, 2)
    followed, drawn = follow(frames[:8]), frames[8].copy()
    drawn[:, 5:9, 60:76] = COLOUR  # as large as it is
    drawn[:, 20:24, 4:6] = COLOUR
    ball = Thing(np.zeros(2, int), np.ones((4, 2), bool), np.repeat(COLOUR[:, 0].astype(np.int16), 8, 1))
    with_ball = frames[8].copy()
    with_ball[:, 20:24, 4:6] = COLOUR
    assert (made_whole(followed, drawn, LOOKS, ball) == with_ball).all()
    assert (made_whole(followed, drawn, LOOKS) == with_ball).all(), "small things may come if nobody knows"
    drawn[:, 22, 4] = 0
    assert (made_whole(followed, drawn, LOOKS, ball) == frames[8]).all()


def test_under_what_rests_is_what_recordings_mostly_show(store: FrameStore) -> None:
    resting = np.repeat(bar(1, 0, first=54), 8, 0)
    resting[:, :, 50:56, 60:68] = COLOUR  # it covers a part of a wall of its colour
    usual = np.zeros((3, 60, 80), np.uint8)
    usual[..., 70:] = 142
    usual[:, 50:56, 60:68] = COLOUR
    moved = usual.copy()
    moved[:, 50:54, 40:56] = COLOUR
    drawn = moved.copy()
    drawn[:, 50:52, 56:58] = COLOUR  # a piece of it stayed
    looks = Thing(np.zeros(2, int), np.ones((4, 16), bool), LOOKS.colors)
    assert (made_whole(follow(resting), drawn, looks, None, (usual, np.ones((60, 80), bool))) == moved).all()
    transitions = Transitions(store, "train")
    frame, known = usual_frame(transitions, False, 0)
    true = store.read(int(transitions.episode_index[5]), transitions.frame_index[5:6], False)[0]
    assert frame.shape == true.shape and known.mean() > 0.9
    assert (frame == true)[:, known].mean() > 0.95
