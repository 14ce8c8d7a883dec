"""The world model: steps, states, what it refuses, and that a batch is many worlds."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.play.starts import starts_of_world
from ghostpad.training.checkpoint import write_checkpoint
from ghostpad.world.decoding import decide
from ghostpad.world.dynamics import BRIGHTNESS, UNUSED_NLL
from ghostpad.world.world_model import KIND, WorldModel, WorldState
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
    assert np.array_equal((many.history[0] * 255).round().byte().numpy(), frames[-2:])
    one = world.start(frames[:1])
    assert torch.equal(one.history[0, 0], one.history[0, 1])
    channels_last = world.start(frames.transpose(0, 2, 3, 1))
    assert torch.equal(channels_last.history, many.history)


def test_a_batch_is_many_worlds(world: WorldModel, frames: np.ndarray) -> None:
    both = world.start(np.stack([frames[:3], frames[3:]]))
    together, codes = world.step(both, torch.tensor([0, 2]))
    for index, button in enumerate((0, 2)):
        alone, own_codes = world.step(world.start(frames[3 * index :][:3]), button)
        assert torch.equal(own_codes[0], codes[index])
        assert torch.allclose(alone.history[0], together.history[index], atol=1.1 / 255)


def test_a_step_draws_what_the_latent_action_model_decodes(world: WorldModel, frames: np.ndarray) -> None:
    before = world.start(frames)
    after, codes = world.step(before, 1)
    drawn = world.latent_action_model.decode(before.history[:, -1], codes)
    assert torch.allclose(after.history[:, -1], drawn, atol=0.51 / 255), "frames are bytes"
    assert torch.equal(after.history[:, 0], before.history[:, 1])
    features, held = world.look(before.history), torch.full((len(before),), 1)
    assert torch.equal(codes, decide(world.dynamics, features, held))


def test_who_looks_ahead_sees_the_same(world: WorldModel, frames: np.ndarray) -> None:
    state = world.start(frames)
    ahead = world.look_ahead(state, 0)
    assert ahead.ahead is not None and ahead.history is state.history
    for button in range(3):
        (plain, codes), (after, own) = world.step(state, button), world.step(ahead, button)
        assert torch.equal(plain.history, after.history) and torch.equal(codes, own)
        assert torch.equal(world.predict(state, button), world.predict(ahead, button))
        assert after.ahead is None, "it is of other frames"


def test_what_was_guessed_is_not_what_the_caller_writes_later(world: WorldModel, frames: np.ndarray) -> None:
    state, buttons = world.start(frames), np.array([0])
    ahead = world.look_ahead(state, buttons)
    buttons[0] = 2
    assert torch.equal(world.predict(ahead, buttons), world.predict(state, 2))
    assert ahead.ahead is not None and ahead.ahead.held.tolist() == [0]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_known_from_before_changes_no_game(temperature: float) -> None:
    world = WorldModel.from_pretrained("breakout-world")
    state, generator, other = (
        world.start(starts_of_world(world).read(0, 3)),
        torch.Generator(),
        torch.Generator(),
    )
    buttons = world.dynamics.active.nonzero()[:, 0].tolist()
    for step in range(24):
        button = buttons[step // 5 % len(buttons)]
        forgotten = WorldState(state.history, state.pushed)
        state = world.look_ahead(state, buttons[step // 4 % len(buttons)])
        state, codes = world.step(state, button, temperature, generator)
        anew, own = world.step(forgotten, button, temperature, other)
        assert torch.equal(state.history, anew.history) and torch.equal(codes, own)
        assert state.pushed is not None and anew.pushed is not None
        assert torch.equal(state.pushed.buttons, anew.pushed.buttons)
        assert np.array_equal(state.pushed.overshoot, anew.pushed.overshoot)


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


def test_the_newest_frame_is_seen_in_colour_and_those_before_by_how_brightness_changed(
    world: WorldModel, frames: np.ndarray
) -> None:
    history = world.start(frames).history
    seen = world.dynamics.features(history)
    weights = torch.tensor(BRIGHTNESS)
    hue = torch.linalg.cross(weights, torch.tensor([1.0, 0.0, 0.0]))[
        :, None, None
    ]  # as bright, another colour
    for index, colour, differs in ((0, hue, False), (0, weights[:, None, None], True), (1, hue, True)):
        other = history.clone()
        other[:, index, :, 60:90, 60:90] += 0.2 * colour
        again = world.dynamics.features(other)
        assert torch.allclose(seen, again, atol=1e-3) is not differs
    brighter = history.clone()
    brighter[:, 0] += 0.1  # all of it alike: that too is a change
    assert not torch.allclose(seen, world.dynamics.features(brighter), atol=1e-3)


def test_a_button_that_was_dropped_explains_nothing_and_changes_no_other(
    world: WorldModel, frames: np.ndarray
) -> None:
    every, other = world.surprise(frames[:2], frames[2]), copy.deepcopy(world)
    other.dynamics.active[1] = False
    rest = other.surprise(frames[:2], frames[2])
    assert rest[0, 1] == UNUSED_NLL and torch.allclose(rest[:, [0, 2]], every[:, [0, 2]], rtol=1e-4)


def test_a_world_is_read_back_from_a_file_and_from_nothing_else(
    world: WorldModel, frames: np.ndarray, tmp_path: Path
) -> None:
    content = {"kind": KIND, "model_config": to_plain(world.config), "model": world.state_dict()}
    write_checkpoint(tmp_path / "best.pt", content)
    again = WorldModel.from_pretrained(tmp_path)
    assert again.folder == tmp_path and again.model_hash == world.model_hash
    assert torch.equal(*(w.step(w.start(frames), 1)[0].history for w in (world, again)))
    with pytest.raises(UserError, match="holds a world model, not a latent action model"):
        LatentActionModel.from_pretrained(tmp_path)
    saved(world.latent_action_model, tmp_path / "other.pt")
    with pytest.raises(UserError, match="holds a latent action model, not a world model"):
        WorldModel.from_pretrained(tmp_path / "other.pt")
    with pytest.raises(UserError, match="train one with 'ghostpad world'"):
        WorldModel.from_pretrained(tmp_path / "nothing")
    earlier = {name: part for name, part in content["model"].items() if not name.startswith("prior.")}
    write_checkpoint(tmp_path / "earlier.pt", content | {"model": earlier})
    with pytest.raises(UserError, match="of an earlier version; train it again"):
        WorldModel.from_pretrained(tmp_path / "earlier.pt")
