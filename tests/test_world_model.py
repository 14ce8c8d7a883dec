"""The world model: steps, states, what it refuses, and that a batch is many worlds."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.buttons.selection import UNUSED_NLL
from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.play.starts import starts_of_world
from ghostpad.training.checkpoint import write_checkpoint
from ghostpad.world.conv_dynamics import BRIGHTNESS
from ghostpad.world.expectation import WorldState, to_unit
from ghostpad.world.world_model import KIND, WorldModel
from small_model import saved
from small_world import small_world


@pytest.fixture(scope="module")
def world(store: FrameStore) -> WorldModel:
    return small_world(store)


@pytest.fixture(scope="module")
def frames(store: FrameStore) -> np.ndarray:
    return store.read(0, np.arange(6), False)


def test_a_state_holds_the_last_frames_and_repeats_the_oldest(world: WorldModel, frames: np.ndarray) -> None:
    many = world.start(frames)
    assert np.array_equal(many.pictures[0], frames[-1].transpose(1, 2, 0))
    assert np.array_equal(many.frames[0], frames[-2:])
    one = world.start(frames[:1])
    assert np.array_equal(one.frames[0, 0], one.frames[0, 1])
    channels_last = world.start(frames.transpose(0, 2, 3, 1))
    assert np.array_equal(channels_last.frames, many.frames)


def test_a_batch_is_many_worlds(world: WorldModel, frames: np.ndarray) -> None:
    both = world.start(np.stack([frames[:3], frames[3:]]))
    together, codes = world.step(both, torch.tensor([0, 2]))
    for index, button in enumerate((0, 2)):
        alone, own_codes = world.step(world.start(frames[3 * index :][:3]), button)
        assert torch.equal(own_codes[0], codes[index])
        assert np.allclose(alone.frames[0].astype(int), together.frames[index].astype(int), atol=1)


def test_a_step_draws_what_the_latent_action_model_decodes(world: WorldModel, frames: np.ndarray) -> None:
    before = world.start(frames)
    after, codes = world.step(before, 1)
    drawn = world.latent_action_model.decode(before.frames[:, -1], codes)
    assert torch.allclose(to_unit(after.frames[:, -1], world.device), drawn, atol=0.51 / 255)
    assert np.array_equal(after.frames[:, 0], before.frames[:, 1])


def test_prefetching_changes_no_step(world: WorldModel, frames: np.ndarray) -> None:
    state = world.start(frames)
    ahead = world.prefetch(state, 0)
    assert ahead.prefetched is not None and ahead.frames is state.frames
    for button in range(3):
        (plain, codes), (after, own) = world.step(state, button), world.step(ahead, button)
        assert np.array_equal(plain.frames, after.frames) and torch.equal(codes, own)
        assert torch.equal(world.predict(state, button), world.predict(ahead, button))
        assert after.prefetched is None, "a forecast belongs to its frames"


def test_prefetched_buttons_are_copied_from_the_caller(world: WorldModel, frames: np.ndarray) -> None:
    state, buttons = world.start(frames), np.array([0])
    ahead = world.prefetch(state, buttons)
    buttons[0] = 2
    assert torch.equal(world.predict(ahead, buttons), world.predict(state, 2))
    assert ahead.prefetched is not None and ahead.prefetched.buttons.tolist() == [0]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_reusing_the_last_forecast_changes_no_rollout(temperature: float) -> None:
    world = WorldModel.from_pretrained("breakout-world")
    state, generator, other = (
        world.start(starts_of_world(world).read(0, 3)),
        torch.Generator(),
        torch.Generator(),
    )
    buttons = world.dynamics.active.nonzero()[:, 0].tolist()
    for step in range(24):
        button = buttons[step // 5 % len(buttons)]
        forgotten = WorldState(state.frames, state.control)
        state = world.prefetch(state, buttons[step // 4 % len(buttons)])
        state, codes = world.step(state, button, temperature, generator)
        again, own = world.step(forgotten, button, temperature, other)
        assert np.array_equal(state.frames, again.frames) and torch.equal(codes, own)
        assert state.control is not None and again.control is not None
        assert torch.equal(state.control.buttons, again.control.buttons)
        assert np.array_equal(state.control.overshoot, again.control.overshoot)


def test_temperature_samples_by_the_generator(world: WorldModel, frames: np.ndarray) -> None:
    state = world.start(frames)
    draws = [world.step(state, 0, 5.0, torch.Generator().manual_seed(seed))[1] for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_button_probabilities_follow_bayes(world: WorldModel, frames: np.ndarray) -> None:
    given = world.button_probabilities(frames[:2], frames[2])
    codes = world.latent_action_model.encode(frames[1], frames[2])
    each = [world.predict(world.start(frames[:2]), button).log_softmax(1) for button in range(3)]
    likelihoods = torch.stack([e.gather(1, codes[None, None]).sum() for e in each])
    assert torch.allclose(given[0], likelihoods.softmax(0), atol=1e-3)


def test_dynamics_see_the_newest_frame_in_colour_and_older_ones_as_brightness_changes(
    world: WorldModel, frames: np.ndarray
) -> None:
    history = to_unit(world.start(frames).frames, world.device)
    seen = world.dynamics.encode(history)
    weights = torch.tensor(BRIGHTNESS)
    hue = torch.linalg.cross(weights, torch.tensor([1.0, 0.0, 0.0]))[
        :, None, None
    ]  # as bright, another colour
    for index, colour, differs in ((0, hue, False), (0, weights[:, None, None], True), (1, hue, True)):
        other = history.clone()
        other[:, index, :, 60:90, 60:90] += 0.2 * colour
        again = world.dynamics.encode(other)
        assert torch.allclose(seen, again, atol=1e-3) is not differs
    brighter = history.clone()
    brighter[:, 0] += 0.1  # all of it alike: that too is a change
    assert not torch.allclose(seen, world.dynamics.encode(brighter), atol=1e-3)


def test_a_dropped_button_has_no_likelihood_and_changes_no_other(
    world: WorldModel, frames: np.ndarray
) -> None:
    every, other = world.nll(frames[:2], frames[2]), copy.deepcopy(world)
    other.dynamics.active[1] = False
    rest = other.nll(frames[:2], frames[2])
    assert rest[0, 1] == UNUSED_NLL and torch.allclose(rest[:, [0, 2]], every[:, [0, 2]], rtol=1e-4)


def test_a_world_is_loaded_from_its_checkpoint_and_other_files_are_refused(
    world: WorldModel, frames: np.ndarray, tmp_path: Path
) -> None:
    content = {"kind": KIND, "model_config": to_plain(world.config), "model": world.state_dict()}
    write_checkpoint(tmp_path / "best.pt", content)
    again = WorldModel.from_pretrained(tmp_path)
    assert again.folder == tmp_path and again.model_hash == world.model_hash
    assert np.array_equal(*(w.step(w.start(frames), 1)[0].frames for w in (world, again)))
    with pytest.raises(UserError, match="holds a world model, not a latent action model"):
        LatentActionModel.from_pretrained(tmp_path)
    saved(world.latent_action_model, tmp_path / "other.pt")
    with pytest.raises(UserError, match="holds a latent action model, not a world model"):
        WorldModel.from_pretrained(tmp_path / "other.pt")
    with pytest.raises(UserError, match="train one with 'ghostpad world'"):
        WorldModel.from_pretrained(tmp_path / "nothing")
    earlier = {name: part for name, part in content["model"].items() if not name.startswith("prior.")}
    write_checkpoint(tmp_path / "earlier.pt", content | {"model": earlier})
    with pytest.raises(UserError, match=r"of an earlier version, without prior\..*; train it again"):
        WorldModel.from_pretrained(tmp_path / "earlier.pt")
