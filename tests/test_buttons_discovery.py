"""Discovery of buttons from motion: a button adds the same displacement in every situation."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.buttons import discovery
from ghostpad.buttons.assignment import ButtonFinder
from ghostpad.buttons.discovery import (
    Controllable,
    DisplacementMixture,
    InferredButtons,
    find_controllable,
    find_controllable_of_buttons,
    infer_buttons,
    is_seen_inside,
    recognize_buttons,
)
from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects import training
from ghostpad.objects.detection import Object
from ghostpad.objects.overshoot import button_transition_counts
from ghostpad.objects.prior import ObjectPrior
from ghostpad.objects.recordings import Recordings, TrackedObject
from ghostpad.objects.training import train_action_motion
from ghostpad.training.distributed import ProcessGroup
from ghostpad.world import preparation
from ghostpad.world.config import DynamicsConfig, WorldConfig
from ghostpad.world.conv_dynamics import ConvDynamics
from ghostpad.world.sampling import Labels
from ghostpad.world.train import make_world_loop
from ghostpad.world.trainable import TrainableWorld
from small_world import small_world_config

NUM = 2400


def observations(added: list[int], size: int = 16, seed: int = 0) -> tuple[list[TrackedObject], np.ndarray]:
    """An object that keeps half its velocity, is displaced by buttons and stops at walls; its buttons."""
    rng = np.random.default_rng(seed)
    held = rng.integers(len(added), size=NUM)
    column, past, seen = 60, [(0, 0)] * 7, []
    for row, button in enumerate(held):
        after = int(np.clip(column + round(past[-1][1] / 2) + added[button], 0, 120))
        each = Object(
            np.array([50, column]),
            np.ones((4, size), bool),
            np.full((3, 4 * size), 99, np.int16),
            velocity=np.array(past[-1]),
            displacements=tuple(past),
            is_controllable=True,
        )
        seen.append(TrackedObject(row, each, np.array([0, after - column])))
        past = [*past[1:], (0, after - column)]
        column = after
    return seen, held


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(discovery, "STEPS", 250)
    monkeypatch.setattr(discovery, "RESTARTS", 1)


def test_the_mixture_is_a_laplace_mixture_around_what_the_past_predicts_and_all_of_it_learns() -> None:
    torch.manual_seed(0)
    mixture = DisplacementMixture(3, torch.tensor([1.0, 8.0]))
    pasts, displacements = torch.randn(5, mixture.past[0].in_features), 9 * torch.randn(5, 2)
    joint, scale = mixture(pasts, displacements), mixture.log_scale.exp()
    for button, added in enumerate(mixture.displacements):
        component = torch.distributions.Laplace(mixture.past(pasts) + added, scale)
        expected = component.log_prob(displacements).sum(1) + np.log(1 / 3)
        assert torch.allclose(joint[:, button], expected, rtol=1e-4)
    nll = mixture.nll(pasts, displacements)
    assert torch.allclose(nll, -joint.exp().sum(1).log().mean(), rtol=1e-4)
    nll.backward()
    for name, weight in mixture.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_buttons_are_the_displacements_added_to_what_the_past_predicts() -> None:
    seen, held = observations([-8, 0, 8])
    controllable = find_controllable(seen, 4, 0)
    assert controllable is not None and not controllable.object.is_small
    added = controllable.displacements
    assert len(added) == 3 and np.abs(added[:, 0]).max() < 1
    order = np.argsort(added[:, 1])
    assert np.abs(added[order, 1] - [-8, 0, 8]).max() < 2
    found = infer_buttons(controllable, seen, 4)
    assert found.in_use == [0, 1, 2] and found.noop == order[1]
    assert (np.diff(found.rows) > 0).all() and len(found.rows) > 0.6 * NUM
    named = np.argsort(order)[found.buttons]
    assert (named == held[found.rows]).mean() > 0.97
    ends = np.array([seen[row].object.position[1] + seen[row].displacement[1] for row in found.rows])
    assert ((ends > 0) & (ends < 120)).all(), "at a wall the button is unknown"


def test_an_object_that_is_always_at_an_edge_of_its_range_shows_no_buttons() -> None:
    seen, _ = observations([-8, 0, 8])
    at_walls = [each for each in seen if each.object.position[1] in (0, 120)]
    assert at_walls and not is_seen_inside(at_walls) and not is_seen_inside([])
    assert is_seen_inside(seen)


def test_an_object_that_its_past_explains_is_not_controllable() -> None:
    assert find_controllable(observations([2])[0], 4, 0) is None
    assert find_controllable(observations([-8, 0, 8])[0][:400], 4, 0) is None, "too few"
    hidden = [dataclasses.replace(each, displacement=None) for each in observations([-8, 0, 8])[0]]
    assert find_controllable(hidden, 4, 0) is None


def test_of_several_objects_the_one_that_buttons_explain_is_controllable() -> None:
    driven, _ = observations([-8, 0, 8], size=3)
    alone, _ = observations([2], size=12)
    found = find_controllable(alone + driven, 3, 0)
    assert found is not None and len(found.displacements) == 3 and found.object.is_small


def test_known_buttons_find_the_object_whose_motion_they_explain_beyond_its_past() -> None:
    driven, held = observations([-8, 0, 8], size=3)
    alone, _ = observations([2], size=12)
    found = find_controllable_of_buttons(alone + driven, held, 0)
    assert found is not None and found.is_small
    unrelated = np.random.default_rng(1).permutation(held)
    assert find_controllable_of_buttons(alone + driven, unrelated, 0) is None
    assert find_controllable_of_buttons(alone + driven, np.full_like(held, -1), 0) is None, (
        "no button is known"
    )


def test_discovery_is_deterministic_and_leaves_the_global_random_state_alone() -> None:
    seen, _ = observations([-8, 8])
    torch.manual_seed(3)
    before = torch.rand(1)
    torch.manual_seed(3)
    first = find_controllable(seen, 3, 5)
    assert torch.rand(1) == before
    second = find_controllable(seen, 3, 5)
    assert first is not None and second is not None
    assert (first.displacements == second.displacements).all()
    assert (infer_buttons(first, seen, 3).buttons == infer_buttons(second, seen, 3).buttons).all()


def test_spawns_of_a_small_object_where_there_was_none_get_a_button_of_their_own() -> None:
    seen, _ = observations([-8, 8])
    balls, _ = observations([2], size=2)
    balls = [
        dataclasses.replace(each, object=dataclasses.replace(each.object, is_controllable=False))
        for each in balls[:800]
    ]
    ball = dataclasses.replace(balls[0].object, velocity=None)
    new = [TrackedObject(row, ball, None, is_new=True) for row in range(700, 900)]
    square = dataclasses.replace(ball, mask=np.ones((2, 2), bool))
    other = [TrackedObject(row, square, None, is_new=True) for row in (1, 990)]
    controllable = find_controllable(seen, 4, 0)
    assert controllable is not None and len(controllable.displacements) == 2
    tracked = [*seen, *balls, *new, *other]
    found = infer_buttons(controllable, tracked, 4)
    assert found.spawn_rows.tolist() == list(range(800, 900)), "before, another one was there"
    assert found.spawn_button == 2 and found.in_use == [0, 1, 2]
    assert found.spawned is not None and found.spawned.matches(ball)
    assert infer_buttons(controllable, tracked, 2).spawn_button is None, "no button is left"
    few = infer_buttons(controllable, [*seen, *balls, *new[:120]], 4)
    assert not len(few.spawn_rows) and few.spawned is None and few.spawn_button is None


def test_the_spawn_button_takes_spawns_and_a_share_of_the_no_op_transitions() -> None:
    dynamics = ConvDynamics(DynamicsConfig("conv", 2, 5, (4, 4), 1, 1), 1, 8, (6, 8))
    finder = ButtonFinder(5, 100)
    rows, spawns = np.arange(0, 60, 2), np.array([1, 2, 71])
    inferred = InferredButtons(rows, rows // 2 % 3, range(3), 1, spawns, spawn_button=3)
    finder.adopt(dynamics.active, inferred)
    assert dynamics.active.tolist() == [True] * 4 + [False] and int(finder.noop) == 1
    with_it = (finder.buttons == 3).nonzero()[:, 0].tolist()
    assert set(spawns) < set(with_it) and 3 < len(with_it) <= 7
    assert all(row // 2 % 3 == 1 for row in set(with_it) - set(spawns.tolist()))
    assert finder.buttons[[0, 4, 3, 99]].tolist() == [0, 2, -1, -1]
    finder.adopt(dynamics.active, dataclasses.replace(inferred, spawn_button=None))
    assert (
        set(finder.buttons.tolist()) == {-1, 0, 1, 2} and dynamics.active.tolist() == [True] * 3 + [False] * 2
    )


def test_a_trained_world_recognizes_its_buttons_in_other_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "ACTION_STEPS", 400)
    seen, held = observations([0, 8, -8])
    prior = ObjectPrior(3, (210, 160), 4)
    train_action_motion(prior.action_motion, seen, np.array([0, 2, 3])[held], np.full(NUM, -1), 0)
    ball = Object(np.array([20, 30]), np.ones((4, 2), bool), np.full((3, 8), 50, np.int16))
    serves = [TrackedObject(row, ball, None, is_new=True) for row in (3, 70, 70)]
    other = dataclasses.replace(ball, mask=np.ones((2, 4), bool))
    prior.scene.store_object("spawn", ball)
    prior.scene.store(spawn_button=1)
    again, held = observations([0, 8, -8], seed=1)
    new = [*again, *serves, TrackedObject(9, other, None, is_new=True)]
    found = recognize_buttons(prior, [0, 1, 2, 3], new)
    assert found.moving == [0, 2, 3] and found.spawn_button == 1 and found.noop == 0
    assert found.spawn_rows.tolist() == [3, 70] and len(found.rows) > 0.6 * NUM
    assert (found.buttons == np.array([0, 2, 3])[held[found.rows]]).mean() > 0.97
    spawns = recognize_buttons(prior, [0, 2, 3], serves)
    assert not len(spawns.rows) and spawns.spawn_button is None, "button 1 is not in use"
    nothing = recognize_buttons(ObjectPrior(3, (210, 160), 4), [0, 2, 3], serves)
    assert not len(nothing.spawn_rows)
    dynamics = ConvDynamics(DynamicsConfig("conv", 2, 4, (4, 4), 1, 1), 1, 8, (6, 8))
    finder = ButtonFinder(4, NUM)
    finder.adopt(dynamics.active, found)
    assert bool(dynamics.active.all()) and finder.buttons[[3, 70]].tolist() == [1, 1]
    assert finder.button_for_control(dynamics.active)[:4].tolist() == [0, 1, 2, 3]  # type: ignore[index]


@pytest.fixture
def trained(
    store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[WorldConfig, TrainableWorld, np.ndarray]:
    """A world whose buttons 0 and 1 move the controllable object and 2 spawns; buttons of its recordings."""
    monkeypatch.setattr(training, "ACTION_STEPS", 400)
    monkeypatch.setattr(preparation, "MIN_OBSERVATIONS", 20)
    config = dataclasses.replace(small_world_config(store, tmp_path), start_from="another")
    world = make_world_loop(
        dataclasses.replace(config, start_from=None), store, ProcessGroup(torch.device("cpu"))
    ).model
    assert isinstance(world, TrainableWorld)
    seen, held = observations([-8, 8])
    train_action_motion(world.prior.action_motion, seen, held, np.full(NUM, -1), 0)
    world.prior.scene.store(spawn_button=2)
    seen = seen[: len(world.rollouts.transitions)]
    monkeypatch.setattr(Recordings, "track", lambda *given: seen)
    return config, world, held[: len(seen)]


def test_a_run_that_starts_from_a_world_keeps_its_buttons(
    trained: tuple[WorldConfig, TrainableWorld, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    config, world, held = trained
    preparation._recognize(dataclasses.replace(config, labels=5), world)
    assert not capsys.readouterr().out and int(world.finder.buttons.max()) == -1, "labels take precedence"
    preparation._recognize(config, world)
    found = world.finder.buttons.numpy()
    assert "those of another" in capsys.readouterr().out
    assert (found >= 0).mean() > 0.5 and (found == held)[found >= 0].mean() > 0.97
    assert bool(world.dynamics.active.all()), "the spawn button stays in use"


def test_buttons_with_the_same_displacement_are_inferred_from_the_codes(
    trained: tuple[WorldConfig, TrainableWorld, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    config, world, _ = trained
    world.prior.scene.store(spawn_button=-1)
    world.prior.action_motion.acts_as[2] = 1
    preparation._recognize(config, world)
    assert "inferred from the codes" in capsys.readouterr().out and int(world.finder.buttons.max()) == -1


def test_labels_that_give_buttons_another_meaning_are_refused(
    trained: tuple[WorldConfig, TrainableWorld, np.ndarray],
) -> None:
    config, world, held = trained
    rows = np.arange(len(held))
    preparation.require_same_buttons(config, world, Labels(rows, held, 0))
    with pytest.raises(UserError, match="leave --labels out"):
        preparation.require_same_buttons(config, world, Labels(rows, 1 - held, 0))


def test_batches_treat_inferred_buttons_as_labels(store: FrameStore, tmp_path: Path) -> None:
    config = small_world_config(store, tmp_path)
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    world = loop.model.train()
    assert isinstance(world, TrainableWorld)
    rows = np.arange(0, 40, 2)
    world.finder.adopt(world.dynamics.active, InferredButtons(rows, rows // 2 % 2, range(2), 1, rows[:0]))
    assert world.dynamics.active.tolist() == [True, True, False]
    first, later = (loop.task.batch(np.arange(4), step) for step in (0, config.steps - 1))
    assert first.rows is not None and first.buttons is not None and first.temperature is None
    assert first.buttons.tolist() == (first.rows // 2 % 2).tolist() and not (first.rows % 2).any()
    assert later.buttons is not None and later.rows is not None
    assert later.buttons.tolist() == [
        row // 2 % 2 if row < 40 and row % 2 == 0 else -1 for row in later.rows.tolist()
    ]
    assert later.labelled is not None and later.labelled.noop == 1
    assert later.labelled.rows is not None
    assert later.labelled.controls.tolist() == (later.labelled.rows // 2 % 2).tolist()
    terms = world(first)[1] | world(later)[1]
    assert all(torch.isfinite(value) for value in terms.values())


def test_button_transitions_are_counted_within_episodes(store: FrameStore) -> None:
    recordings = Recordings(Transitions(store, "train"), 8, False)
    buttons = np.full(len(recordings.transitions), -1)
    second = int(np.flatnonzero(recordings.transitions.frame_index == 0)[1])
    buttons[[0, 1, 2, second - 1, second]] = [0, 1, 1, 0, 1]
    counts = button_transition_counts(recordings.previous(buttons), buttons, 3)
    assert counts.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_without_enough_observations_codes_describe_the_controllable_object(
    store: FrameStore, tmp_path: Path, monkeypatch
) -> None:
    config = small_world_config(store, tmp_path)
    world = make_world_loop(config, store, ProcessGroup(torch.device("cpu"))).model
    assert isinstance(world, TrainableWorld)
    paddle = Object(np.array([189, 60]), np.ones((4, 16), bool), np.zeros((3, 64), np.int16))
    paddle.colors[:] = np.array([200, 72, 72])[:, None]
    found = Controllable(paddle, DisplacementMixture(2, torch.tensor([0.0, 8.0])))
    monkeypatch.setattr(preparation, "find_controllable", lambda *given: found)
    preparation._learn_objects(config, world)
    assert not bool(world.prior.action_motion.is_trained)
    assert world.prior.scene.object("controllable") is None
