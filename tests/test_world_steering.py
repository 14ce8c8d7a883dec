"""Buttons from how things go: found where a push is the same in every situation, and nowhere else."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.buttons import discovery as steering
from ghostpad.buttons.assignment import ButtonFinder
from ghostpad.buttons.discovery import Steered, find_steered, habits, name_buttons, recognize_buttons
from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects import action_motion as pushes
from ghostpad.objects.detection import Thing
from ghostpad.objects.training import Example
from ghostpad.training.distributed import ProcessGroup
from ghostpad.world import train
from ghostpad.world.batches import Labels
from ghostpad.world.config import WorldConfig
from ghostpad.world.dynamics import Dynamics, DynamicsConfig
from ghostpad.world.learner import LearningWorld
from ghostpad.world.train import make_world_loop
from small_world import small_world_config

NUM = 2400


def examples(pushes: list[int], size: int = 16, seed: int = 0) -> tuple[list[Example], np.ndarray]:
    """A thing that keeps half of its way, is pushed, and stops at walls; and by which push each time."""
    rng = np.random.default_rng(seed)
    held = rng.integers(len(pushes), size=NUM)
    place, went, seen = 60, [(0, 0)] * 7, []
    for row, button in enumerate(held):
        following = int(np.clip(place + round(went[-1][1] / 2) + pushes[button], 0, 120))
        thing = Thing(
            np.array([50, place]),
            np.ones((4, size), bool),
            np.full((3, 4 * size), 99, np.int16),
            step=np.array(went[-1]),
            went=tuple(went),
            is_steered=True,
        )
        seen.append(Example(row, thing, np.array([0, following - place])))
        went = [*went[1:], (0, following - place)]
        place = following
    return seen, held


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(steering, "STEPS", 250)
    monkeypatch.setattr(steering, "TRIES", 1)


def test_buttons_are_the_pushes_that_a_thing_gets() -> None:
    seen, held = examples([-8, 0, 8])
    steers = find_steered(seen, 4, 0)
    assert steers is not None and steers.num_buttons == 3 and not steers.thing.is_small
    assert np.abs(steers.steps[:, 0]).max() < 1
    order = np.argsort(steers.steps[:, 1])
    assert np.abs(steers.steps[order, 1] - [-8, 0, 8]).max() < 2
    found = name_buttons(steers, seen)
    assert found.num_buttons == 3 and found.rest == order[1]
    assert (np.diff(found.rows) > 0).all() and len(found.rows) > 0.6 * NUM
    named = np.argsort(order)[found.buttons]
    assert (named == held[found.rows]).mean() > 0.97
    ends = np.array([seen[row].thing.place[1] + seen[row].off[1] for row in found.rows])
    assert ((ends > 0) & (ends < 120)).all(), "at a wall nobody knows"


def test_what_goes_by_itself_is_steered_by_nobody() -> None:
    assert find_steered(examples([2])[0], 4, 0) is None
    assert find_steered(examples([-8, 0, 8])[0][:400], 4, 0) is None, "too few"
    hidden = [dataclasses.replace(each, off=None) for each in examples([-8, 0, 8])[0]]
    assert find_steered(hidden, 4, 0) is None


def test_of_several_things_it_is_the_one_that_buttons_explain() -> None:
    steered, _ = examples([-8, 0, 8], size=3)
    alone, _ = examples([2], size=12)
    found = find_steered(alone + steered, 3, 0)
    assert found is not None and found.num_buttons == 3 and found.thing.is_small


def test_the_same_seed_finds_the_same_and_no_other_draws_change() -> None:
    seen, _ = examples([-8, 8])
    torch.manual_seed(3)
    before = torch.rand(1)
    torch.manual_seed(3)
    first = find_steered(seen, 3, 5)
    assert torch.rand(1) == before
    second = find_steered(seen, 3, 5)
    assert first is not None and second is not None
    assert (first.steps == second.steps).all()
    assert (name_buttons(first, seen).buttons == name_buttons(second, seen).buttons).all()


def test_something_small_that_comes_where_none_was_has_a_button_of_its_own() -> None:
    seen, _ = examples([-8, 8])
    balls, _ = examples([2], size=2)
    balls = [
        dataclasses.replace(each, thing=dataclasses.replace(each.thing, is_steered=False))
        for each in balls[:800]
    ]
    thing = dataclasses.replace(balls[0].thing, step=None)
    new = [Example(row, thing, None, is_new=True) for row in range(700, 900)]
    square = dataclasses.replace(thing, mask=np.ones((2, 2), bool))
    other = [Example(row, square, None, is_new=True) for row in (1, 990)]
    steers = find_steered(seen, 4, 0)
    assert steers is not None
    found = name_buttons(steers, [*seen, *balls, *new, *other])
    assert found.comes.tolist() == list(range(800, 900)), "a ball was there before"
    assert found.coming is not None and found.coming.looks_like(thing)
    few = name_buttons(steers, [*seen, *balls, *new[:120]])
    assert not len(few.comes) and few.coming is None


def test_the_button_with_which_something_comes_rests_otherwise() -> None:
    dynamics, finder = Dynamics(DynamicsConfig(2, 5, (4, 4), 1, 1), 1, 8, (6, 8)), ButtonFinder(5, 100)
    rows, comes = np.arange(0, 60, 2), np.array([1, 2, 71])
    steered = Steered(rows, rows // 2 % 3, 3, 1, comes)
    finder.take(dynamics, steered)
    assert dynamics.active.tolist() == [True] * 4 + [False] and int(finder.rest) == 1
    with_it = (finder.pushed == 3).nonzero()[:, 0].tolist()
    assert set(comes) < set(with_it) and 3 < len(with_it) <= 7
    assert all(row // 2 % 3 == 1 for row in set(with_it) - set(comes.tolist()))
    assert finder.pushed[[0, 4, 3, 99]].tolist() == [0, 2, -1, -1]
    three = ButtonFinder(3, 100)
    three.take(Dynamics(DynamicsConfig(2, 3, (4, 4), 1, 1), 1, 8, (6, 8)), steered)
    assert set(three.pushed.tolist()) == {-1, 0, 1, 2}, "there is no button left for it"


def test_a_world_that_was_trained_before_knows_its_buttons_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "STEPS", 400)
    seen, held = examples([0, 8, -8])
    knows = pushes.Pushes(4)
    offsets = np.stack([each.off for each in seen if each.off is not None])
    knows.teach([each.thing for each in seen], offsets, np.array([0, 2, 3])[held], np.full(NUM, -1))
    knows.resting.fill_(0)
    ball = Thing(np.array([20, 30]), np.ones((4, 2), bool), np.full((3, 8), 50, np.int16))
    served = [Example(row, ball, None, is_new=True) for row in (3, 70, 70)]
    other = dataclasses.replace(ball, mask=np.ones((2, 4), bool))
    again, held = examples([0, 8, -8], seed=1)
    new = [*again, *served, Example(9, other, None, is_new=True)]
    found = recognize_buttons(knows, [0, 2, 3], ball, new)
    assert found.rest == 0 and found.comes.tolist() == [3, 70] and len(found.rows) > 0.6 * NUM
    assert (found.buttons == np.array([0, 2, 3])[held[found.rows]]).mean() > 0.97
    nothing = recognize_buttons(knows, [0, 2, 3], None, served)
    assert not len(nothing.rows) and not len(nothing.comes)
    dynamics, finder = Dynamics(DynamicsConfig(2, 4, (4, 4), 1, 1), 1, 8, (6, 8)), ButtonFinder(4, NUM)
    finder.keep(dynamics, found, 1, [0, 1, 2, 3])
    assert bool(dynamics.active.all()) and finder.pushed[[3, 70]].tolist() == [1, 1]
    assert finder.stands(dynamics.active)[:4].tolist() == [0, 1, 2, 3]  # type: ignore[index]


@pytest.fixture
def taught(
    store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[WorldConfig, LearningWorld, np.ndarray]:
    """A world whose buttons 0 and 1 push and 2 makes something come; and which were held in recordings."""
    monkeypatch.setattr(pushes, "STEPS", 400)
    monkeypatch.setattr(train, "FEWEST", 20)
    config = dataclasses.replace(small_world_config(store, tmp_path), start_from="another")
    world = make_world_loop(
        dataclasses.replace(config, start_from=None), store, ProcessGroup(torch.device("cpu"))
    ).model
    assert isinstance(world, LearningWorld)
    seen, held = examples([-8, 8])
    offsets = np.stack([each.off for each in seen if each.off is not None])
    world.movement.pushes.teach([each.thing for each in seen], offsets, held, np.full(NUM, -1))
    world.movement.coming_button.fill_(2)
    seen = seen[: len(world.rollouts.transitions)]
    monkeypatch.setattr(train, "followed_in", lambda *given: seen)
    return config, world, held[: len(seen)]


def test_who_starts_from_a_world_has_its_buttons(
    taught: tuple[WorldConfig, LearningWorld, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    config, world, held = taught
    train._recognize_buttons(dataclasses.replace(config, labels=5), world)
    assert not capsys.readouterr().out and int(world.finder.pushed.max()) == -1, "labels go first"
    train._recognize_buttons(config, world)
    found = world.finder.pushed.numpy()
    assert "those of another" in capsys.readouterr().out
    assert (found >= 0).mean() > 0.5 and (found == held)[found >= 0].mean() > 0.97
    assert bool(world.dynamics.active.all()), "the button with which something comes stays in use"


def test_buttons_that_push_alike_are_left_to_the_codes(
    taught: tuple[WorldConfig, LearningWorld, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    config, world, _ = taught
    world.movement.coming_button.fill_(-1)
    world.movement.pushes.acts_as[2] = 1
    train._recognize_buttons(config, world)
    assert "the codes are asked" in capsys.readouterr().out and int(world.finder.pushed.max()) == -1


def test_labels_that_call_buttons_otherwise_are_refused(
    taught: tuple[WorldConfig, LearningWorld, np.ndarray],
) -> None:
    config, world, held = taught
    rows = np.arange(len(held))
    train._require_same_buttons(config, world, Labels(rows, held, 0))
    with pytest.raises(UserError, match="leave --labels out"):
        train._require_same_buttons(config, world, Labels(rows, 1 - held, 0))


def test_lessons_take_what_was_found_for_labels(store: FrameStore, tmp_path: Path) -> None:
    config = small_world_config(store, tmp_path)
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    world = loop.model.train()
    assert isinstance(world, LearningWorld)
    rows = np.arange(0, 40, 2)
    steered = Steered(rows, rows // 2 % 2, 2, 1, rows[:0])
    world.finder.take(world.dynamics, steered)
    assert world.dynamics.active.tolist() == [True, True, False]
    first, later = (loop.task.batch(np.arange(4), step) for step in (0, config.steps - 1))
    assert first.rows is not None and first.held is not None and first.temperature is None
    assert first.held.tolist() == (first.rows // 2 % 2).tolist() and not (first.rows % 2).any()
    assert later.held is not None and later.rows is not None
    assert later.held.tolist() == [
        row // 2 % 2 if row < 40 and row % 2 == 0 else -1 for row in later.rows.tolist()
    ]
    assert later.labelled is not None and later.labelled.rest == 1
    assert later.labelled.rows is not None
    assert later.labelled.controls.tolist() == (later.labelled.rows // 2 % 2).tolist()
    terms = world(first)[1] | world(later)[1]
    assert all(torch.isfinite(value) for value in terms.values())


def test_habits_count_what_follows_within_an_episode(store: FrameStore) -> None:
    transitions = Transitions(store, "train")
    buttons = np.full(len(transitions), -1)
    second = int(np.flatnonzero(transitions.frame_index == 0)[1])
    buttons[[0, 1, 2, second - 1, second]] = [0, 1, 1, 0, 1]
    assert habits(transitions, buttons, 3).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_where_no_push_can_be_learned_the_codes_say_where_it_is(
    store: FrameStore, tmp_path: Path, monkeypatch
) -> None:
    config = small_world_config(store, tmp_path)
    world = make_world_loop(config, store, ProcessGroup(torch.device("cpu"))).model
    assert isinstance(world, LearningWorld)
    paddle = Thing(np.array([189, 60]), np.ones((4, 16), bool), np.zeros((3, 64), np.int16))
    paddle.colors[:] = np.array([200, 72, 72])[:, None]
    found = steering.Steering(steering.Push(2, torch.tensor([0.0, 8.0])), paddle)
    monkeypatch.setattr(train, "find_steered", lambda *given: found)
    train._follow_things(config, world)
    assert not bool(world.movement.pushes.is_taught) and world.movement.steered.thing is None
