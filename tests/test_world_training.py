"""Training a world: button inference, rollouts beside their recordings, and resuming bit for bit."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.training.distributed import ProcessGroup
from ghostpad.world.config import DynamicsConfig, WorldConfig
from ghostpad.world.conv_dynamics import ConvDynamics
from ghostpad.world.sampling import LabelledBatch, PrioritizedSampling, RolloutBuffer, WorldBatch
from ghostpad.world.train import make_world_loop, train_world
from ghostpad.world.trainable import TrainableWorld
from ghostpad.world.world_model import WorldModel
from small_world import small_world_config


@pytest.fixture
def config(store: FrameStore, tmp_path: Path) -> WorldConfig:
    return small_world_config(store, tmp_path)


def trainable_world(config: WorldConfig, store: FrameStore) -> TrainableWorld:
    world = make_world_loop(config, store, ProcessGroup(torch.device("cpu"))).model
    assert isinstance(world, TrainableWorld)
    return world.train()


def batch_of(store: FrameStore, temperature: float | None, num: int = 4) -> WorldBatch:
    transitions = Transitions(store, "train")
    sequences = read_sequences(transitions, np.arange(20, 20 + num), 2, 1, False)
    return WorldBatch(sequences[:, :2], sequences[:, 2:], temperature=temperature)


def test_sequences_stay_inside_their_episode(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    first = read_sequences(transitions, np.array([0]), 3, 2, False)[0]
    episode = int(transitions.episode_index[0])
    assert np.array_equal(first, store.read(episode, np.array([0, 0, 0, 1, 2]), False))
    ends = int(np.flatnonzero(transitions.episode_index == episode)[-1])
    last = read_sequences(transitions, np.array([ends]), 2, 3, False)[0]
    length = store.episodes[episode].num_frames
    assert np.array_equal(last, store.read(episode, length - np.array([3, 2, 1, 1, 1]), False))


def test_rollouts_continue_near_their_recording_and_restart_when_they_diverge(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rollouts = RolloutBuffer(transitions, (3, 2, 3, store.height, store.width), 30.0, 1e9)
    generator = np.random.default_rng(0)
    rows = np.array([5, 40, 70])
    begun = rollouts.next_batch(rows, generator)
    assert rollouts.rows.tolist() == rows.tolist()
    predicted = begun.next_frames[:, 0].copy()
    predicted[1] = 255 - predicted[1]
    rollouts.advance(predicted)
    went_on = rollouts.next_batch(np.array([11, 12, 13]), generator)
    assert rollouts.rows.tolist() == [6, 12, 71]
    assert np.array_equal(went_on.history[0, -1], begun.next_frames[0, 0])
    assert np.array_equal(went_on.history[0, 0], begun.history[0, 1])
    recorded = read_sequences(transitions, np.array([12]), 2, 1, False)[0]
    assert np.array_equal(went_on.history[1], recorded[:2])


def test_a_rollout_may_diverge_for_a_few_frames_before_it_restarts(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rollouts = RolloutBuffer(transitions, (2, 2, 3, store.height, store.width), 30.0, 1e9, patience=2)
    generator, rows = np.random.default_rng(0), []
    for step in range(5):
        batch = rollouts.next_batch(np.array([5, 40]) + 15 * (step > 0), generator)
        rows.append(rollouts.rows.tolist())
        predicted = batch.next_frames[:, 0].copy()
        predicted[0] = 255 - predicted[0]
        if step != 1:
            predicted[1] = 255 - predicted[1]  # back on its way after the second frame
        rollouts.advance(predicted)
    assert rows == [[5, 40], [6, 41], [7, 42], [20, 43], [21, 44]]


def test_a_rollout_restarts_at_the_end_of_its_recording(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    end = int(np.flatnonzero(np.diff(transitions.episode_index))[0])
    rollouts = RolloutBuffer(transitions, (2, 2, 3, store.height, store.width), 30.0, 1e9)
    batch = rollouts.next_batch(np.array([end, len(transitions) - 1]), np.random.default_rng(0))
    rollouts.advance(batch.next_frames[:, 0])
    assert rollouts.rows.tolist() == [-1, -1]


def test_expectation_maximization_finds_the_hidden_button() -> None:
    torch.manual_seed(0)
    dynamics = ConvDynamics(DynamicsConfig("conv", 2, 2, (8,), 1, 1), 1, 4, (4, 4))
    optimizer = torch.optim.Adam(dynamics.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    agree = []
    for step in range(160):
        hidden = torch.randint(2, (16,), generator=generator)
        codes = torch.randint(2, (16, 4, 4), generator=generator)
        seen = codes.float().repeat_interleave(4, 1).repeat_interleave(4, 2)
        codes[:, 3, 3] = 2 + hidden  # the past says all but this cell
        nll = dynamics.nll(dynamics.encode(seen[:, None, None].expand(-1, 2, -1, -1, -1)), codes)
        shares = (-nll.detach() / 10 ** max(0.0, 1 - step / 60)).softmax(1)
        optimizer.zero_grad()
        (shares * nll).sum(1).mean().backward()
        optimizer.step()
        agree.append((nll.argmin(1) == hidden).float().mean().item())
    settled = sum(agree[-10:]) / 10
    assert max(settled, 1 - settled) > 0.9


def test_the_loss_of_each_stage_reaches_the_weights_that_it_should(
    config: WorldConfig, store: FrameStore
) -> None:
    moved = {}
    for stage, temperature in (("buttons", 2.0), ("rollouts", None)):
        world = trainable_world(config, store)
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


def test_hard_transitions_are_drawn_more_often_but_fill_at_most_half_of_a_batch() -> None:
    sampling, rows = PrioritizedSampling(100), np.arange(60, 80)
    assert np.array_equal(sampling.choose(rows, np.random.default_rng(0)), rows), "no priorities yet"
    sampling.record(torch.tensor([3, 4, 5]), torch.tensor([1.0, 3.0, 0.0]))
    drawn = np.stack([sampling.choose(rows, np.random.default_rng(seed)) for seed in range(50)])
    assert (drawn[:, 10:] == rows[10:]).all()
    assert set(np.unique(drawn[:, :10])) == {3, 4}
    assert (drawn[:, :10] == 4).mean() == pytest.approx(0.75, abs=0.06)
    sampling.record(torch.tensor([3, 4]), torch.tensor([1e6, 1e6]))
    assert sampling.priority[[3, 4]].tolist() == [PrioritizedSampling.MOST] * 2


def test_rollouts_start_before_hard_transitions_and_inside_their_episode(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    rollouts = RolloutBuffer(transitions, (40, 2, 3, store.height, store.width), 30.0, 1e9)
    second = int(np.flatnonzero(np.diff(transitions.episode_index))[0]) + 2
    rollouts.sampling.record(torch.tensor([second]), torch.tensor([5.0]))
    rows = np.arange(100, 140) % (second - 5)
    begun = rollouts.before_hard_transitions(rows, np.random.default_rng(0))
    assert np.array_equal(begun[20:], rows[20:])
    assert set(begun[:20]) == {second - 1, second}


def test_a_step_records_the_priority_of_its_transitions(config: WorldConfig, store: FrameStore) -> None:
    world, batch = trainable_world(config, store), batch_of(store, 2.0)
    rows = torch.arange(20, 24)
    world(dataclasses.replace(batch, rows=rows))
    priority = world.rollouts.sampling.priority
    assert (priority[rows] > 0).all() and priority.count_nonzero() == len(rows)


def test_the_decoder_has_a_tenth_of_the_learning_rate(config: WorldConfig, store: FrameStore) -> None:
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    loop.model.train()
    loop.train_step()
    dynamics, decoder = (group["lr"] for group in loop.optimizer.param_groups)
    assert decoder == pytest.approx(dynamics / 10) and dynamics > 0


def test_a_world_overfits_one_batch(config: WorldConfig, store: FrameStore) -> None:
    world, batch = trainable_world(config, store), batch_of(store, None)
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
    with pytest.raises(UserError, match="another architecture"):
        train_world(dataclasses.replace(start, overwrite=True, dynamics=wider))


def test_contradictory_settings_are_refused(config: WorldConfig) -> None:
    with pytest.raises(UserError, match="--buttons-until"):
        train_world(dataclasses.replace(config, buttons_until=2))
    with pytest.raises(UserError, match="--accumulate"):
        train_world(dataclasses.replace(config, accumulate=2))
    assert not config.out.exists()


def test_labelled_transitions_vote_for_the_button_of_their_control(
    config: WorldConfig, store: FrameStore
) -> None:
    world = trainable_world(config, store)
    finder = world.finder
    controls = torch.tensor([2, 2, 3])
    nll = torch.tensor([[1.0, 9, 9], [9, 1, 9], [9, 9, 1]])
    assert finder.buttons_of(controls, nll).tolist() == [0, 1, 2]
    finder.votes.zero_()
    finder.votes[2, 1], finder.votes[3, 0] = 200, 100
    assert finder.buttons_of(controls, nll).tolist() == [1, 1, 0]
    finder.votes[1, 1] = 150
    assert finder.buttons_of(torch.tensor([1, 2, 3]), nll).tolist() != [1, 1, 0], "each has its own"
    finder.votes[1] = 0
    assert finder.votes.sum() == 300, "no votes are counted after that"


def test_labels_come_from_training_episodes_and_are_part_of_every_batch_after_the_inference(
    config: WorldConfig, store: FrameStore
) -> None:
    loop = make_world_loop(dataclasses.replace(config, labels=20), store, ProcessGroup(torch.device("cpu")))
    batch = loop.task.batch(np.arange(4), config.steps - 1)
    assert batch.labelled is not None and len(batch.labelled.controls) == 2
    transitions = Transitions(store, "train")
    shown = batch.labelled.next_frames[0]
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


def test_the_noop_button_wins_ties_and_a_button_without_effect_must_explain_much_better(
    config: WorldConfig, store: FrameStore
) -> None:
    world, noop = trainable_world(config, store), torch.tensor(1)
    nll = torch.tensor([[4.0, 5.0, 9.0], [4.0, 9.0, 9.0], [30.0, 50.0, 25.0], [30.0, 50.0, 15.0]])
    assert world._most_likely(nll, None).tolist() == [0, 0, 2, 2]
    assert world._most_likely(nll, noop).tolist() == [1, 0, 2, 2]
    buttons = torch.tensor([2] * 100 + [0] * 100)
    world.finder.update_no_effect(buttons, buttons == 2)
    assert world._most_likely(nll, noop).tolist() == [1, 0, 0, 2]


def test_only_controls_that_were_held_vote(config: WorldConfig, store: FrameStore) -> None:
    world, batch = trainable_world(config, store), batch_of(store, None)
    labelled = LabelledBatch(
        batch.history, batch.next_frames[:, 0], torch.tensor([2, 3, 2, 3]), 0, torch.arange(4)
    )
    world(dataclasses.replace(batch, labelled=labelled))
    assert world.finder.votes.sum(1)[:4].tolist() == [0, 0, 2, 2]


def test_labels_fix_the_buttons_from_the_start_where_there_are_enough_of_them(
    config: WorldConfig, store: FrameStore
) -> None:
    config = dataclasses.replace(
        config, labels=20, dynamics=dataclasses.replace(config.dynamics, num_buttons=5)
    )
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    world = loop.model.train()
    assert isinstance(world, TrainableWorld)
    first, later = (loop.task.batch(np.arange(4), step) for step in (0, config.steps - 1))
    assert first.temperature is None and first.labelled is None
    assert first.rows is not None and first.buttons is not None
    read = read_controls(Transitions(store, "train"), first.rows.numpy(), directions=False)
    assert read is not None and first.buttons.tolist() == read[0].tolist()
    assert later.buttons is not None and later.rows is not None and later.labelled is not None
    read = read_controls(Transitions(store, "train"), later.rows.numpy(), directions=False)
    known = later.buttons >= 0
    assert read is not None and later.buttons[known].tolist() == read[0][known.numpy()].tolist()
    assert not known.all(), "the others are inferred"
    stands = world.finder.button_for_control(world.dynamics.active)
    heard = world.dynamics.active.nonzero()[:, 0]
    assert stands is not None and torch.equal(stands[heard], heard)
    assert set(first.buttons.tolist()) <= set(heard.tolist())
    world(first)[0].backward()
    moved = world.dynamics.buttons.weight.grad
    assert moved is not None and set(moved.abs().sum(1).nonzero()[:, 0].tolist()) == set(
        first.buttons.tolist()
    )


def test_the_four_stages_of_training_have_their_batches(config: WorldConfig, store: FrameStore) -> None:
    config = dataclasses.replace(config, steps=12, rollouts_from=0.6)
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    world = loop.model.train()
    assert isinstance(world, TrainableWorld)
    stages = []
    for step in (0, 2, 5, 11):
        batch = loop.task.batch(np.arange(40, 44), step)
        world(batch)[0].backward()
        assert (world.predicted is not None) == batch.is_rollout
        one_button = batch.buttons is not None and not batch.buttons.any()
        stages.append((one_button, batch.temperature is not None, batch.is_rollout))
    assert stages == [(True, False, False), (False, True, False), (False, False, False), (False, False, True)]


def test_all_buttons_start_from_what_the_first_one_learned(config: WorldConfig, store: FrameStore) -> None:
    loop = make_world_loop(dataclasses.replace(config, steps=12), store, ProcessGroup(torch.device("cpu")))
    world = loop.model.train()
    assert isinstance(world, TrainableWorld)
    initial = world.dynamics.buttons.weight.detach().clone()
    with torch.no_grad():
        world.dynamics.buttons.weight[0] = 7.0
    for _ in range(2):
        world(loop.task.batch(np.arange(40, 44), 2))
    weight = world.dynamics.buttons.weight.detach()
    assert torch.equal(weight[0], torch.full_like(weight[0], 7.0))
    assert torch.allclose(weight[1:], initial[1:] + 7.0)
