"""What is steered is known wherever it is, and taken out; small things of several colours; what comes."""

from dataclasses import replace

import numpy as np

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects.controllable import Known, located
from ghostpad.objects.detection import Thing, Tints
from ghostpad.objects.dynamics import LARGEST, Movement
from ghostpad.objects.rendering import bare, bare_next, due, mended, with_due
from ghostpad.objects.spawning import with_coming
from ghostpad.objects.tracking import Tracks, follow, next_things, steered_next
from ghostpad.objects.training import find_tints, followed_in, small_looks, stays_in, usual_frame
from test_world_going_on import COLOUR, bar, flight

LOOKS = Thing(np.zeros(2, int), np.ones((4, 16), bool), np.repeat(COLOUR[:, 0].astype(np.int16), 64, 1))
KNOWN = Known(steered=LOOKS)
ROWS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
"""Colours of the lines of a small thing, four lines each."""


def followed_bar(frames: np.ndarray, known: Known = KNOWN) -> Tracks:
    followed = follow(frames, known)
    assert followed.steered is not None
    return followed


def test_it_is_taken_out_of_both_pictures_and_put_where_it_is_led() -> None:
    frames = bar(9, 2)
    ground = np.where((frames[0] == COLOUR).all(0), 0, frames[0])
    followed = followed_bar(frames[:8])
    assert (bare(followed) == ground).all() and (bare_next(followed, frames[8]) == ground).all()
    assert with_due(followed, ground) is ground, "nobody says where it goes"
    assert (with_due(followed.led_to(np.array([50, 26])), ground) == frames[8]).all()
    assert not due(followed.led_to(np.array([50, 26]))).any(), "that depends on the button"


def test_it_is_known_though_it_rests_and_though_it_touches_a_wall_of_its_colour() -> None:
    resting = np.repeat(bar(1, 0, first=40), 8, 0)
    followed = followed_bar(resting)
    assert followed.steered is not None and followed.steered.went == ((0, 0),) * 7
    moved = bar(1, 0, first=43)[0]
    there = steered_next(followed, moved, next_things(followed, moved))
    assert there is not None and there.place.tolist() == [50, 43]
    stays = steered_next(followed, resting[0], next_things(followed, resting[0]))
    assert stays is not None and stays.place.tolist() == [50, 40]
    for steps in (resting, bar(8, 2, first=26)):
        frames = steps.copy()
        frames[:, :, 48:56, 56:64] = COLOUR  # a wall that it has come to
        (place,) = [followed_bar(frames).steered]
        assert place is not None and place.place.tolist() == [50, 40]
    gone = np.zeros_like(resting)
    assert follow(gone, KNOWN).steered is None and located(gone[0], [], LOOKS) is None


def test_under_what_rests_is_what_recordings_mostly_show(store: FrameStore) -> None:
    resting = np.repeat(bar(1, 0, first=54), 8, 0)
    resting[:, :, 50:56, 60:68] = COLOUR  # it covers a part of a wall of its colour
    usual = np.zeros((3, 60, 80), np.uint8)
    usual[..., 70:] = 142
    usual[:, 50:56, 60:68] = COLOUR
    known = replace(KNOWN, usual=usual, is_usual=np.ones((60, 80), bool))
    shown = bare(followed_bar(resting, known))
    assert (shown[:, :, :70] == usual[:, :, :70]).all()
    window = known.window(np.array([16, 32]), (64, 64))
    assert window.usual is not None and window.is_usual is not None
    assert (window.usual[:, :44, :48] == usual[:, 16:, 32:]).all() and not window.is_usual[44:].any()
    transitions = Transitions(store, "train")
    frame, sure = usual_frame(transitions, False, 0)
    true = store.read(int(transitions.episode_index[5]), transitions.frame_index[5:6], False)[0]
    assert frame.shape == true.shape and sure.mean() > 0.9
    assert (frame == true)[:, sure].mean() > 0.95


def test_what_never_changes_stays_whatever_is_drawn() -> None:
    frames = bar(9, 2)
    usual = np.where((frames[0] == COLOUR).all(0), 0, frames[0])
    stays = np.zeros((60, 80), bool)
    stays[46:58] = True
    followed = follow(frames[:8], replace(KNOWN, usual=usual, is_usual=stays, stays=stays))
    drawn = usual.copy()
    drawn[:, 48:50, 70:] = 0  # a wall that has lost some of it
    drawn[:, 20:24, 10:12] = 99
    kept = usual.copy()
    kept[:, 20:24, 10:12] = 99
    assert (mended(followed, drawn) == kept).all()
    assert mended(followed, usual) is usual
    looks = Tints(np.ones((4, 2), bool), np.full((3, 60), 99, np.int16), np.ones(60, bool))
    told = replace(followed, known=replace(followed.known, tints=looks))
    coming, scrap = usual.copy(), usual.copy()
    coming[:, 50:54, 10:12], scrap[:, 50:53, 10:12] = 99, 99
    assert mended(told, coming) is coming and (mended(told, scrap) == usual).all(), "a whole one may come"


def test_it_is_looked_up_what_never_changes(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    frames = store.read(0, np.arange(1), False)
    usual, is_usual = usual_frame(transitions, False, 0)
    looks = Thing(np.array([189, 70]), np.ones((4, 16), bool), np.full((3, 64), 0, np.int16))
    looks.colors[:] = np.array([200, 72, 72])[:, None]
    known = Known(None, looks, usual, is_usual)
    edges = np.array([189, 8]), np.array([189, 144])
    nowhere, passed = np.zeros((2, 210, 160), bool)
    passed[110:180, 10:150] = True
    stays = stays_in(transitions, known, edges, nowhere, 8, False, 0)
    assert stays.shape == frames.shape[2:] and not stays[:185].any() and not stays[197:].any()
    assert stays[185:197, 4:].mean() > 0.9, "walls and ground, though the paddle covers them now and then"
    more = stays_in(transitions, known, edges, passed, 8, False, 0)
    assert (more[185:] == stays[185:]).all() and more[passed].mean() > 0.99, "only a ball went by there"
    blind = replace(known, steered=replace(looks, mask=np.ones((50, 50), bool)))
    passed[189, 8:152] = True
    alone = stays_in(transitions, blind, edges, passed, 8, False, 0)
    assert not alone[110:180].any(), "who does not follow all that goes by knows nothing of it"


def tints() -> Tints:
    colors = np.repeat(ROWS, 4, 0).T.astype(np.int16)
    return Tints(
        np.ones((4, 2), bool), np.pad(colors, ((0, 0), (20, 28))), np.pad(np.ones(12, bool), (20, 28))
    )


def striped(num: int) -> np.ndarray:
    """Frames (num, 3, 60, 80) of a ball that falls 1 and goes 2 aside a frame, of the colour of each line."""
    frames = np.zeros((num, 3, 60, 80), np.uint8)
    for time in range(num):
        for line in range(21 + time, 25 + time):
            frames[time, :, line, 20 + 2 * time : 22 + 2 * time] = ROWS[(line - 20) // 4][:, None]
    return frames


def test_a_ball_that_takes_the_colour_of_each_line_is_one() -> None:
    frames = striped(7)
    followed = follow(frames[:-1], Known(tints()))
    (ball,) = [thing for thing in followed.things or [] if thing.is_sure]
    assert ball.place.tolist() == [26, 30] and ball.step is not None and ball.step.tolist() == [1, 2]
    led = replace(followed, things=[replace(ball, foreseen=ball.next_place)])
    assert not bare(led).any() and not bare_next(led, frames[-1]).any()
    assert (with_due(led, np.zeros_like(frames[0])) == frames[-1]).all(), "in the colours of where it comes"
    alone = [thing.is_sure for thing in follow(frames[:-1]).things or []]
    assert not any(alone), "who does not know the colours sees other things on each line"


def test_it_is_told_from_a_wall_of_the_colour_of_its_line() -> None:
    frames = striped(5)
    frames[:, :, 24:28, 30:46] = ROWS[1][:, None, None]  # beside the ball at last
    (ball,) = [thing for thing in follow(frames, Known(tints())).things or [] if thing.is_sure]
    assert ball.age == 1 and ball.bent is None and ball.place.tolist() == [25, 28]


def test_what_looks_like_it_is_known_at_once() -> None:
    frames = np.concatenate([np.zeros((3, 3, 60, 80), np.uint8), striped(1)])
    (ball,) = follow(frames, Known(tints())).things or []
    assert ball.is_sure and ball.step is None
    assert [thing.is_sure for thing in follow(frames).things or []] == [False, False]


def test_tints_are_found_in_recordings(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rows = np.arange(len(transitions))
    small = small_looks(followed_in(transitions, rows, 8, False))
    assert small is not None and small.mask.shape == (4, 2)
    found = find_tints(transitions, rows, small, False)
    assert found.known[110:180].mean() > 0.5 and not found.known[:30].any()
    assert (found.colors[:, found.known][:, -20:] == small.colors[:, :1]).all()
    movement = Movement(3, (210, 160))
    assert movement.known.tints is None
    movement.keep_tints(small, found)
    again = movement.known.tints
    assert again is not None and (again.colors == found.colors).all() and (again.known == found.known).all()


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
