"""The guess that all goes on as it did: exact in free flight, a reminder of what is missing, else nothing."""

import numpy as np
import pytest
import torch

from ghostpad.evaluation.breakout import detect
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.world.going_on import faults, follow
from ghostpad.world.going_on import go_on as draw
from ghostpad.world.sequences import read_sequences
from small_world import small_world

COLOUR = np.array([200, 72, 72], np.uint8)[:, None, None]


def go_on(history: np.ndarray) -> np.ndarray:
    return draw(follow(history))


def flight(num: int, places: dict[int, tuple[int, int]] | None = None, step: tuple[int, int] = (3, -2)) -> np.ndarray:
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
    assert ((guessed["ball_x"] == places[2, free, 0]) & (guessed["ball_y"] == places[2, free, 1])).mean() > 0.95


def test_a_new_world_believes_it(store: FrameStore) -> None:
    frames = store.read(0, np.arange(30, 39), False)
    world, without = small_world(store), small_world(store, goes_on=False)
    state = world.start(frames[:8])
    guess = world.guess(state.history, world.follow(state.history))
    following = torch.from_numpy(go_on(state.history[0].mul(255).round().byte().numpy()))[None]
    assert torch.equal(guess, world.latent_action_model.encode(state.history[:, -1], following))
    for _ in range(2):
        assert (world.predict(state, 0).argmax(1) == guess).float().mean() > 0.9
    assert without.predict(without.start(frames[:8]), 0).shape == world.predict(state, 0).shape
