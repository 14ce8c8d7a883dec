"""The guess that all goes on as it did: exact in free flight, a reminder of what is missing; and mending."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ghostpad.evaluation.breakout import detect
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.world import going_on, world_model
from ghostpad.world.dynamics import TRUST
from ghostpad.world.following import Followed, follow
from ghostpad.world.going_on import mended
from ghostpad.world.sequences import read_sequences
from small_world import small_world

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


def foreseen(history: np.ndarray, place: tuple[int, int], hides: bool = False) -> Followed:
    """What moves in it, of whose small things somebody knows where they go."""
    followed = follow(history)
    told = [
        replace(thing, foreseen=np.array(place), hides=hides) if thing.is_sure else thing
        for thing in followed.things or []
    ]
    assert any(thing.foreseen is not None for thing in told)
    return replace(followed, things=told)


def test_what_is_missing_bent_elsewhere_or_there_twice_is_put_where_it_is_foreseen() -> None:
    frames, ground = flight(9), np.zeros((3, 60, 80), np.uint8)
    ground[..., ::8] = 90
    line, column = 10 + 3 * 8, 50 - 2 * 8
    followed = foreseen(frames[:-1], (line, column))
    bent, twice, fragments = frames[-1].copy(), frames[-1].copy(), ground.copy()
    bent[:, line, column] = ground[:, line, column]
    twice[:, line - 8 : line - 4, column : column + 2] = COLOUR
    fragments[:, line + 2, column + 3] = fragments[:, line + 4, column + 5] = COLOUR[:, 0, 0]
    for drawn in (ground, bent, twice, fragments, frames[-2]):
        kept = drawn.copy()
        assert (mended(followed, drawn) == frames[-1]).all()
        assert (drawn == kept).all()
    right = frames[-1]
    assert mended(followed, right) is right


def test_what_nobody_foresees_or_what_hides_is_left_as_it_is_drawn() -> None:
    frames, ground = flight(9), np.zeros((3, 60, 80), np.uint8)
    ground[..., ::8] = 90
    assert mended(follow(frames[:-1]), ground) is ground
    hidden = foreseen(frames[:-1], (34, 34), hides=True)
    assert mended(hidden, ground) is ground
    assert (going_on.go_on(hidden) == ground).all()
    elsewhere = foreseen(frames[:-1], (20, 60))
    assert (going_on.go_on(elsewhere)[:, 20:24, 60:62] == COLOUR).all()
    assert mended(follow(np.repeat(frames[:1], 4, 0)), ground) is ground, "what did not move is not missed"


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


def test_a_world_mends_what_it_draws_and_says_by_which_codes(store: FrameStore, monkeypatch) -> None:
    world = small_world(store)
    state = world.start(store.read(0, np.arange(30, 38), False))
    picture = store.read(0, np.array([39]), False)[0]
    monkeypatch.setattr(world_model, "mended", lambda followed, drawn: picture)
    after, codes = world.step(state, 0)
    assert (after.history[0, -1] * 255).round().byte().numpy().tolist() == picture.tolist()
    assert torch.equal(codes[0], world.latent_action_model.encode(state.history[0, -1], after.history[0, -1]))


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
    frames = read_sequences(transitions, rows, 8, 1, False).numpy()
    found = [detect(frames[:, time]) for time in (6, 7, 8)]
    places = np.stack([np.stack([each["ball_x"], each["ball_y"]], 1) for each in found]).astype(int)
    free = np.all([each["num_balls"] == 1 for each in found], 0)
    free &= (np.abs(places[2] - 2 * places[1] + places[0]).max(1) == 0) & (places[:, :, 1] > 110).all(0)
    assert free.sum() >= 20
    guessed = detect(np.stack([go_on(history) for history in frames[free, :8]]))
    assert (
        (guessed["ball_x"] == places[2, free, 0]) & (guessed["ball_y"] == places[2, free, 1])
    ).mean() > 0.95


def test_a_new_world_believes_it(store: FrameStore) -> None:
    frames = store.read(0, np.arange(30, 39), False)
    world, without = small_world(store), small_world(store, goes_on=False)
    torch.nn.init.constant_(world.dynamics.trust.bias, TRUST)
    state = world.start(frames[:8])
    guess = world.guess(state.history, world.follow(state.history))
    following = torch.from_numpy(go_on(state.history[0].mul(255).round().byte().numpy()))[None]
    assert torch.equal(guess, world.latent_action_model.encode(state.history[:, -1], following))
    for _ in range(2):
        assert (world.predict(state, 0).argmax(1) == guess).float().mean() > 0.9
    assert without.predict(without.start(frames[:8]), 0).shape == world.predict(state, 0).shape
