"""The guess that all goes on as it did: exact in free flight, a reminder of what is missing, else nothing."""

import numpy as np
import pytest
import torch

from ghostpad.evaluation.breakout import detect
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.world import going_on, world_model
from ghostpad.world.dynamics import TRUST
from ghostpad.world.going_on import faults, follow
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


def test_what_is_missing_bent_or_there_twice_is_a_fault() -> None:
    frames = flight(9)
    followed, ground = follow(frames[:-1]), np.zeros_like(frames[0])
    ground[..., ::8] = 90
    line, column = 10 + 3 * 8, 50 - 2 * 8
    assert faults(followed, frames[-1]) == 0
    assert faults(followed, ground) == 1
    bent, twice = frames[-1].copy(), frames[-1].copy()
    bent[:, line, column] = ground[:, line, column]
    twice[:, 5:9, 10:12] = COLOUR
    assert faults(followed, bent) == 1
    assert faults(followed, twice) == 1
    assert faults(follow(frames[:2]), ground) == 0, "what was seen once is not missed"
    assert faults(follow(np.repeat(frames[:1], 4, 0)), ground) == 0, "nor what did not move"


def test_of_several_draws_a_world_takes_one_without_faults(store: FrameStore, monkeypatch) -> None:
    world = small_world(store)
    state = world.start(store.read(0, np.arange(30, 38), False))
    likeliest = [world.step(state, 0)[1] for _ in range(2)]
    assert torch.equal(*likeliest)
    told = iter([2, 3, 1, 1, 0, 5])
    monkeypatch.setattr(world_model, "faults", lambda *_: next(told))
    after, codes = world.step(state, 0)
    drawn = world.latent_action_model.decode(state.history[:, -1], codes)
    assert not torch.equal(codes, likeliest[0]) and torch.equal(after.history[:, -1], drawn)
    assert next(told) == 5, "it stops at the first without"
    told = iter([1] * (world_model.TRIES + 1))
    assert torch.equal(world.step(state, 0)[1], likeliest[0]), "among equals the likeliest stays"


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
