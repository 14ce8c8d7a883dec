"""A world with the object prior: codes describe the rest, and objects are composited into what they draw."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects import prior as object_prior
from ghostpad.objects.rendering import composite, repair
from ghostpad.training.distributed import ProcessGroup
from ghostpad.world import preparation
from ghostpad.world.conv_dynamics import RESIDUAL_BIAS
from ghostpad.world.expectation import Expectation, WorldState, to_bytes
from ghostpad.world.train import make_world_loop
from ghostpad.world.trainable import TrainableWorld
from ghostpad.world.world_model import WorldModel
from small_world import small_world, small_world_config

COLOUR = np.array([200, 72, 72], np.uint8)[:, None, None]


def falling_object(store: FrameStore, num: int = 8) -> np.ndarray:
    """Frames (num, 3, 210, 160) of a small object that falls through an empty part of a recorded frame."""
    frames = np.repeat(store.read(0, np.array([0]), False), num, 0)
    frames[..., 100:180, 30:60] = 0
    for time in range(num):
        frames[time, :, 150 - 3 * (7 - time) : 154 - 3 * (7 - time), 40:42] = COLOUR
    return frames


def expect(world: WorldModel, state: WorldState) -> Expectation:
    return world.codes.expect(world.prior.predict(world.prior.track(state.frames)))


def with_another_code(expected: Expectation, row: int, column: int, num_codes: int) -> torch.Tensor:
    codes = expected.prior.codes.clone()
    codes[0, row, column] = (codes[0, row, column] + 1) % num_codes
    return codes


def test_a_step_draws_the_cells_whose_codes_differ_and_composites_the_objects(
    store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = small_world(store, history=8)
    world.prior.dynamics.is_trained.fill_(True)
    state = world.start(falling_object(store))
    expected = expect(world, state)
    assert expected.prior.mask.sum() == 8
    codes = with_another_code(expected, 5, 4, world.dynamics.num_codes)
    monkeypatch.setattr("ghostpad.world.world_model.decode", lambda *given: codes)
    after, own_codes = world.step(state, 0)
    assert own_codes is codes
    background = torch.from_numpy(expected.backgrounds[0])[None]
    drawn = to_bytes(world.latent_action_model.decode(background, codes))[0]
    picture = expected.frames[0].copy()
    picture[:, 64:112, 48:96] = drawn[:, 64:112, 48:96]
    assert (picture != expected.frames[0]).any()
    (tracks,) = expected.tracks
    assert (after.frames[0, -1] == composite(tracks, repair(tracks, picture))).all()
    grey = np.full_like(drawn, 7)
    monkeypatch.setattr(object_prior, "repair", lambda tracks, drawn: grey)
    assert (world.step(state, 0)[0].frames[0, -1] == composite(tracks, grey)).all()


def test_codes_of_tokens_are_drawn_on_the_whole_frame(store: FrameStore) -> None:
    world = small_world(store, history=8, tokens=(2, 2))
    expected = expect(world, world.start(store.read(0, np.arange(8), False)))
    codes = with_another_code(expected, 0, 0, world.dynamics.num_codes)
    button = torch.zeros(1, dtype=torch.int64)
    (shown,) = world.codes.draw(expected, codes, button)
    drawn = world.latent_action_model.decode(torch.from_numpy(expected.backgrounds[0])[None], codes)[0]
    assert (shown == to_bytes(drawn)).all()
    (unchanged,) = world.codes.draw(expected, expected.prior.codes, button)
    assert (unchanged == expected.frames[0]).all()


def test_codes_do_not_describe_composited_objects(store: FrameStore) -> None:
    world = small_world(store, history=8)
    frames, without = falling_object(store, 9), np.repeat(falling_object(store, 1), 9, 0)
    without[..., 129:133, 40:42] = 0
    still = world.latent_action_model.encode(without[-2], without[-1])
    for is_trained in (False, True):
        world.prior.dynamics.is_trained.fill_(is_trained)
        expected = expect(world, world.start(frames[:8]))
        codes = world.codes.transition(expected, frames[8:])[2]
        assert torch.equal(codes[0], still) is is_trained
    assert torch.equal(expected.prior.codes[0], still)


def test_an_untrained_world_expects_every_object_to_keep_its_velocity(store: FrameStore) -> None:
    world = small_world(store)
    torch.nn.init.constant_(world.dynamics.residual_bias.bias, RESIDUAL_BIAS)
    state = world.start(store.read(0, np.arange(30, 38), False))
    codes = expect(world, state).prior.codes
    tracks = world.prior.track(state.frames)
    _, (background,), _ = world.prior.expect(tracks)
    assert torch.equal(codes, world.latent_action_model.encode(state.frames[:, -1], background[None]))
    assert (world.predict(state, 0).argmax(1) == codes).float().mean() > 0.9


def test_a_world_without_the_object_prior_draws_whole_frames(store: FrameStore) -> None:
    world, frames = small_world(store, objects=False), store.read(0, np.arange(30, 38), False)
    after, codes = world.step(world.start(frames), 0)
    drawn = world.latent_action_model.decode(frames[-1:], codes)
    assert (after.frames[:, -1] == to_bytes(drawn)).all()
    switched_off = small_world(store)
    switched_off.objects_active.fill_(False)
    assert (switched_off.step(switched_off.start(frames), 0)[0].frames == after.frames).all()


def test_the_object_prior_of_the_shipped_world_predicts_better_than_copying(
    store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "GAIN_TRANSITIONS", 24)
    world, transitions = WorldModel.from_pretrained(), Transitions(store, "validation")
    gain = preparation.prior_gain_db(world, transitions, 0)
    assert gain > 3
    world.prior.action_motion.is_trained.fill_(False)
    without = preparation.prior_gain_db(world, transitions, 0)
    assert without < gain - 3, "the controllable object counts"


@pytest.mark.parametrize(("gain", "state"), [(1.84, "on"), (-0.2, "off")])
def test_auto_keeps_the_object_prior_where_it_gains_on_held_out_frames(
    gain: float,
    state: str,
    store: FrameStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = small_world_config(store, tmp_path)
    world = make_world_loop(config, store, ProcessGroup(torch.device("cpu"))).model
    assert isinstance(world, TrainableWorld) and config.objects == "auto"
    monkeypatch.setattr(preparation, "_learn_objects", lambda *given: None)
    monkeypatch.setattr(preparation, "prior_gain_db", lambda *given: gain)
    preparation.prepare(config, world, Transitions(store, "validation"))
    assert world.uses_objects == (state == "on")
    line = f"Object prior: {gain:+.1f} dB over copying on held-out frames, so it is {state}.\n"
    assert capsys.readouterr().out.startswith(line)
