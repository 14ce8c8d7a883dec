"""Learning a world: buttons are found, rollouts follow their recordings, and a run resumes bit for bit."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.training.distributed import ProcessGroup
from ghostpad.world.config import WorldConfig
from ghostpad.world.dynamics import Dynamics, DynamicsConfig
from ghostpad.world.learner import LearningWorld
from ghostpad.world.sequences import Labelled, Practice, Rollouts, WorldBatch
from ghostpad.world.train import make_world_loop, train_world
from ghostpad.world.world_model import WorldModel
from small_world import small_world_config


@pytest.fixture
def config(store: FrameStore, tmp_path: Path) -> WorldConfig:
    return small_world_config(store, tmp_path)


def learning_world(config: WorldConfig, store: FrameStore) -> LearningWorld:
    world = make_world_loop(config, store, ProcessGroup(torch.device("cpu"))).model
    assert isinstance(world, LearningWorld)
    return world.train()


def batch_of(store: FrameStore, temperature: float | None, num: int = 4) -> WorldBatch:
    transitions = Transitions(store, "train")
    sequences = read_sequences(transitions, np.arange(20, 20 + num), 2, 1, False).float() / 255
    return WorldBatch(sequences[:, :2], sequences[:, 2:], temperature)


def test_sequences_stay_inside_their_episode(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    first = read_sequences(transitions, np.array([0]), 3, 2, False)[0]
    episode = int(transitions.episode_index[0])
    assert np.array_equal(first, store.read(episode, np.array([0, 0, 0, 1, 2]), False))
    ends = int(np.flatnonzero(transitions.episode_index == episode)[-1])
    last = read_sequences(transitions, np.array([ends]), 2, 3, False)[0]
    length = store.episodes[episode].num_frames
    assert np.array_equal(last, store.read(episode, length - np.array([3, 2, 1, 1, 1]), False))


def test_rollouts_go_on_while_they_are_true_and_start_afresh_when_lost(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rollouts = Rollouts(transitions, (3, 2, 3, store.height, store.width), 30.0, 1e9)
    generator = np.random.default_rng(0)
    rows = np.array([5, 40, 70])
    begun = rollouts.next_batch(rows, generator)
    assert rollouts.rows.tolist() == rows.tolist()
    predicted = begun.next_frames[:, 0].clone()
    predicted[1] = 1 - predicted[1]
    rollouts.advance(predicted)
    went_on = rollouts.next_batch(np.array([11, 12, 13]), generator)
    assert rollouts.rows.tolist() == [6, 12, 71]
    assert torch.equal(went_on.history[0, -1], begun.next_frames[0, 0])
    assert torch.equal(went_on.history[0, 0], begun.history[0, 1])
    recorded = read_sequences(transitions, np.array([12]), 2, 1, False)[0].float() / 255
    assert torch.equal(went_on.history[1], recorded[:2])


def test_a_world_has_some_frames_to_find_back(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rollouts = Rollouts(transitions, (2, 2, 3, store.height, store.width), 30.0, 1e9, patience=2)
    generator, rows = np.random.default_rng(0), []
    for step in range(5):
        batch = rollouts.next_batch(np.array([5, 40]) + 15 * (step > 0), generator)
        rows.append(rollouts.rows.tolist())
        predicted = batch.next_frames[:, 0].clone()
        predicted[0] = 1 - predicted[0]
        if step != 1:
            predicted[1] = 1 - predicted[1]  # back on its way after the second frame
        rollouts.advance(predicted)
    assert rows == [[5, 40], [6, 41], [7, 42], [20, 43], [21, 44]]


def test_a_rollout_ends_with_its_recording(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    end = int(np.flatnonzero(np.diff(transitions.episode_index))[0])
    rollouts = Rollouts(transitions, (2, 2, 3, store.height, store.width), 30.0, 1e9)
    batch = rollouts.next_batch(np.array([end, len(transitions) - 1]), np.random.default_rng(0))
    rollouts.advance(batch.next_frames[:, 0])
    assert rollouts.rows.tolist() == [-1, -1]


def test_buttons_are_found_where_the_past_does_not_tell() -> None:
    torch.manual_seed(0)
    dynamics = Dynamics(DynamicsConfig(2, 2, (8,), 1, 1), 1, 4, (4, 4))
    optimizer = torch.optim.Adam(dynamics.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    agree = []
    for step in range(160):
        hidden = torch.randint(2, (16,), generator=generator)
        codes = torch.randint(2, (16, 4, 4), generator=generator)
        seen = codes.float().repeat_interleave(4, 1).repeat_interleave(4, 2)
        codes[:, 3, 3] = 2 + hidden  # the past says all but this cell
        surprise = dynamics.surprise(dynamics.features(seen[:, None, None].expand(-1, 2, -1, -1, -1)), codes)
        shares = (-surprise.detach() / 10 ** max(0.0, 1 - step / 60)).softmax(1)
        optimizer.zero_grad()
        (shares * surprise).sum(1).mean().backward()
        optimizer.step()
        agree.append((surprise.argmin(1) == hidden).float().mean().item())
    settled = sum(agree[-10:]) / 10
    assert max(settled, 1 - settled) > 0.9


def test_each_stage_moves_the_weights_that_it_should(config: WorldConfig, store: FrameStore) -> None:
    moved = {}
    for stage, temperature in (("buttons", 2.0), ("rollouts", None)):
        world = learning_world(config, store)
        world(batch_of(store, temperature))[0].backward()
        moved[stage] = {
            name
            for name, part in world.named_parameters()
            if part.grad is not None and part.grad.abs().sum() > 0
        }
    parts = {stage: {name.split(".")[1] for name in names} for stage, names in moved.items()}
    assert parts["buttons"] >= {"buttons", "codes", "blocks", "stem", "position"}
    assert not any(name.startswith("latent_action_model") for name in moved["buttons"])
    assert "latent_action_model.decoder.last.conv.weight" in moved["rollouts"]
    assert not any("encoder" in name or "quantizer" in name for name in moved["rollouts"])


def test_hard_transitions_are_met_oftener_but_never_more_than_half_of_the_time() -> None:
    practice, rows = Practice(100), np.arange(60, 80)
    assert np.array_equal(practice.choose(rows, np.random.default_rng(0)), rows), "nothing is known yet"
    practice.record(torch.tensor([3, 4, 5]), torch.tensor([1.0, 3.0, 0.0]))
    drawn = np.stack([practice.choose(rows, np.random.default_rng(seed)) for seed in range(50)])
    assert (drawn[:, 10:] == rows[10:]).all()
    assert set(np.unique(drawn[:, :10])) == {3, 4}
    assert (drawn[:, :10] == 4).mean() == pytest.approx(0.75, abs=0.06)
    practice.record(torch.tensor([3, 4]), torch.tensor([1e6, 1e6]))
    assert practice.hardness[[3, 4]].tolist() == [Practice.MOST] * 2


def test_worlds_begin_before_what_is_hard_and_inside_its_episode(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rollouts = Rollouts(transitions, (40, 2, 3, store.height, store.width), 30.0, 1e9)
    second = int(np.flatnonzero(np.diff(transitions.episode_index))[0]) + 2
    rollouts.practice.record(torch.tensor([second]), torch.tensor([5.0]))
    rows = np.arange(100, 140) % (second - 5)
    begun = rollouts.before_hard_ones(rows, np.random.default_rng(0))
    assert np.array_equal(begun[20:], rows[20:])
    assert set(begun[:20]) == {second - 1, second}


def test_a_step_tells_how_hard_its_transitions_were(config: WorldConfig, store: FrameStore) -> None:
    world, batch = learning_world(config, store), batch_of(store, 2.0)
    rows = torch.arange(20, 24)
    world(dataclasses.replace(batch, rows=rows))
    hardness = world.rollouts.practice.hardness
    assert (hardness[rows] > 0).all() and hardness.count_nonzero() == len(rows)


def test_the_decoder_learns_at_a_tenth_of_the_rate(config: WorldConfig, store: FrameStore) -> None:
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    loop.model.train()
    loop.train_step()
    dynamics, decoder = (group["lr"] for group in loop.optimizer.param_groups)
    assert decoder == pytest.approx(dynamics / 10) and dynamics > 0


def test_a_world_overfits_one_batch(config: WorldConfig, store: FrameStore) -> None:
    world, batch = learning_world(config, store), batch_of(store, None)
    optimizer = torch.optim.Adam(world.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss, terms = world(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(terms["code_loss"]))
    assert losses[-1] < 0.5 * losses[0]


def test_a_run_resumes_bit_for_bit_in_the_middle_of_its_rollouts(config: WorldConfig) -> None:
    train_world(config)
    again = dataclasses.replace(config, out=config.out.with_name("again"))
    train_world(dataclasses.replace(again, stop_after=6))
    train_world(dataclasses.replace(again, resume=True))
    one, other = (torch.load(c.out / "last.pt", weights_only=True)["model"] for c in (config, again))
    assert int((one["rollouts.rows"] >= 0).sum())
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    world = WorldModel.from_pretrained(config.out)
    assert world.num_buttons == 3 and not world.training


def test_a_world_starts_from_another(config: WorldConfig) -> None:
    train_world(config)
    start = dataclasses.replace(config, out=config.out.with_name("more"), start_from=str(config.out), steps=1)
    optimizer = dataclasses.replace(config.optimizer, learning_rate=0.0, final_learning_rate=0.0)
    train_world(dataclasses.replace(start, optimizer=optimizer))
    one, other = (WorldModel.from_pretrained(c.out) for c in (config, start))
    assert torch.equal(one.dynamics.codes.weight, other.dynamics.codes.weight)
    wider = dataclasses.replace(config.dynamics, num_buttons=4)
    with pytest.raises(UserError, match="built otherwise"):
        train_world(dataclasses.replace(start, overwrite=True, dynamics=wider))


def test_what_cannot_be_is_refused(config: WorldConfig) -> None:
    with pytest.raises(UserError, match="--buttons-until"):
        train_world(dataclasses.replace(config, buttons_until=2))
    with pytest.raises(UserError, match="--accumulate"):
        train_world(dataclasses.replace(config, accumulate=2))
    assert not config.out.exists()


def test_labelled_transitions_teach_the_button_that_stands_for_their_control(
    config: WorldConfig, store: FrameStore
) -> None:
    world = learning_world(config, store)
    finder = world.finder
    controls = torch.tensor([2, 2, 3])
    surprise = torch.tensor([[1.0, 9, 9], [9, 1, 9], [9, 9, 1]])
    assert finder.buttons_of(controls, surprise).tolist() == [0, 1, 2]
    finder.votes.zero_()
    finder.votes[2, 1], finder.votes[3, 0] = 200, 100
    assert finder.buttons_of(controls, surprise).tolist() == [1, 1, 0]
    finder.votes[1, 1] = 150
    assert finder.buttons_of(torch.tensor([1, 2, 3]), surprise).tolist() != [1, 1, 0], "each has its own"
    finder.votes[1] = 0
    assert finder.votes.sum() == 300, "the election is over"


def test_labels_come_from_training_episodes_and_every_step_sees_some(
    config: WorldConfig, store: FrameStore
) -> None:
    loop = make_world_loop(dataclasses.replace(config, labels=20), store, ProcessGroup(torch.device("cpu")))
    batch = loop.task.batch(np.arange(4), config.steps - 1)
    assert batch.labelled is not None and len(batch.labelled.controls) == 2
    transitions = Transitions(store, "train")
    shown = (batch.labelled.next_frames[0] * 255).round().byte().numpy()
    rows = [
        row
        for row in range(len(transitions))
        if np.array_equal(transitions.read(np.array([row]), False)[1][0], shown)
    ]
    read = read_controls(transitions, np.array(rows), directions=False)
    assert read is not None
    assert int(batch.labelled.controls[0]) in read[0]
    loop.model.train()
    assert "labelled" in loop.model(batch)[1]


def test_resting_wins_ties_and_a_button_that_mostly_does_nothing_must_explain_much_better(
    config: WorldConfig, store: FrameStore
) -> None:
    world, resting = learning_world(config, store), torch.tensor(1)
    surprise = torch.tensor([[4.0, 5.0, 9.0], [4.0, 9.0, 9.0], [30.0, 50.0, 25.0], [30.0, 50.0, 15.0]])
    assert world._held(surprise, None).tolist() == [0, 0, 2, 2]
    assert world._held(surprise, resting).tolist() == [1, 0, 2, 2]
    world.finder.update_no_effect(
        torch.tensor([2] * 100 + [0] * 100), torch.tensor([True] * 100 + [False] * 100)
    )
    assert world._held(surprise, resting).tolist() == [1, 0, 0, 2]


def test_only_controls_that_were_held_vote(config: WorldConfig, store: FrameStore) -> None:
    world, batch = learning_world(config, store), batch_of(store, None)
    labelled = Labelled(batch.history, batch.next_frames[:, 0], torch.tensor([2, 3, 2, 3]), rest=0)
    world(dataclasses.replace(batch, labelled=labelled))
    assert world.finder.votes.sum(1)[:4].tolist() == [0, 0, 2, 2]


def test_where_each_control_can_have_a_button_labels_name_it_from_the_start(
    config: WorldConfig, store: FrameStore
) -> None:
    config = dataclasses.replace(
        config, labels=20, dynamics=dataclasses.replace(config.dynamics, num_buttons=5)
    )
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    world = loop.model.train()
    assert isinstance(world, LearningWorld)
    first, later = (loop.task.batch(np.arange(4), step) for step in (0, config.steps - 1))
    assert first.temperature is None and first.labelled is None
    assert first.rows is not None and first.held is not None
    read = read_controls(Transitions(store, "train"), first.rows.numpy(), directions=False)
    assert read is not None and first.held.tolist() == read[0].tolist()
    assert later.held is not None and later.rows is not None and later.labelled is not None
    read = read_controls(Transitions(store, "train"), later.rows.numpy(), directions=False)
    known = later.held >= 0
    assert read is not None and later.held[known].tolist() == read[0][known.numpy()].tolist()
    assert not known.all(), "the others are inferred"
    stands = world.finder.button_for_control(world.dynamics.active)
    heard = world.dynamics.active.nonzero()[:, 0]
    assert stands is not None and torch.equal(stands[heard], heard)
    assert set(first.held.tolist()) <= set(heard.tolist())
    world(first)[0].backward()
    moved = world.dynamics.buttons.weight.grad
    assert moved is not None and set(moved.abs().sum(1).nonzero()[:, 0].tolist()) == set(first.held.tolist())
