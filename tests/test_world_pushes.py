"""Where what is steered goes by each button, and what it does at the edges of where it is seen."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ghostpad.objects import action_motion as module
from ghostpad.objects.action_motion import ControlState, Pushes, at_edge, edges_of
from ghostpad.objects.detection import Thing
from ghostpad.objects.overshoot import find_slack

STEPS = np.array([-8, 0, 8])
LOWEST, HIGHEST, SLACK_LOW, SLACK_HIGH = 8, 120, 2, 21
"""Of a knob that turns farther than what it moves goes."""


def knob(num: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Where a thing is, where it goes, and the button; it keeps half of its last push, spent at its ends."""
    rng = np.random.default_rng(seed)
    true, before, held = 60, 1, 1
    for _ in range(num):
        held = held if rng.random() < 0.7 else int(rng.integers(3))
        following = true + STEPS[held] + STEPS[before] // 2
        before = held
        if not LOWEST - SLACK_LOW <= following <= HIGHEST + SLACK_HIGH:
            following, before = int(np.clip(following, LOWEST - SLACK_LOW, HIGHEST + SLACK_HIGH)), 1
        yield int(np.clip(true, LOWEST, HIGHEST)), int(np.clip(following, LOWEST, HIGHEST)), held
        true = following


def thing_at(column: int, went: tuple[int, ...] = ()) -> Thing:
    look = Thing(np.array([50, column]), np.ones((4, 16), bool), np.full((3, 64), 99, np.int16))
    return Thing(look.place, look.mask, look.colors, went=tuple((0, step) for step in went), is_steered=True)


@pytest.fixture(scope="module")
def taught() -> Pushes:
    torch.manual_seed(0)
    pushes, seen = Pushes(3, 48), list(knob(4000, 0))
    places = [place for place, _, _ in seen]
    went = np.diff(places)
    things = [
        thing_at(place, tuple(went[max(0, row - 7) : row].tolist())) for row, place in enumerate(places)
    ]
    offsets = np.array([(0, after - place) for place, after, _ in seen])
    buttons = np.array([held for *_, held in seen])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEPS", 600)
        pushes.teach(things, offsets, buttons, np.r_[-1, buttons[:-1]])
    pushes.resting.fill_(1)
    return pushes


def test_it_goes_as_its_past_and_its_button_say(taught: Pushes) -> None:
    assert bool(taught.is_taught) and [edge.tolist() for edge in taught.edges()] == [[50, 8], [50, 120]]
    things = [thing_at(60, (0, 0, 0)), thing_at(60, (0, 0, 8)), thing_at(60)]
    held, corners = torch.tensor([2, 1, 2]), np.zeros((3, 2), int)
    known = ControlState(torch.tensor([1, -1, 0]), np.zeros((3, 2), int))
    places, after = taught.foresee(things, corners, held, known)
    assert places[:, 0].tolist() == [50] * 3
    assert np.abs(places[:, 1] - [68, 64, 64]).max() <= 1
    assert after.buttons.tolist() == [2, 1, 2] and not after.overshoot.any()
    windows = taught.foresee([thing_at(20, (0, 0, 0))], np.array([[0, 40]]), held[:1])[0]
    assert abs(int(windows[0, 1]) - 28) <= 1
    draws = torch.Generator().manual_seed(0)
    drawn = [
        int(taught.foresee(things[2:], corners[:1], held[:1], None, 1.0, draws)[0][0, 1]) for _ in range(40)
    ]
    assert len(set(drawn)) > 1, "nobody knows what was held before"


def test_beyond_an_edge_it_is_pushed_and_must_be_pushed_back(taught: Pushes) -> None:
    taught.slack_high[1] = SLACK_HIGH
    thing, pushed = thing_at(118, (0, 0, 0)), None
    seen = []
    for held in (2, 2, 2, 2, 0, 0, 0):
        (place,), pushed = taught.foresee([thing], np.zeros((1, 2), int), torch.tensor([held]), pushed)
        thing = thing_at(int(place[1]), (int(place[1] - thing.place[1]),))
        seen.append((int(place[1]), int(pushed.overshoot[0, 1]), int(pushed.buttons[0])))
    assert seen[3] == (120, SLACK_HIGH, 1), "as far as it goes, where the push is spent"
    places = [place for place, *_ in seen]
    assert places[:5] == [120] * 5 and places[-1] < 120
    assert (taught.at_edges([thing_at(120), thing_at(60)]) == [[0, SLACK_HIGH], [0, 0]]).all()


def test_what_ends_or_begins_at_an_edge_tells_less(taught: Pushes) -> None:
    taught.slack_high[1] = SLACK_HIGH
    things = [thing_at(60, (0, 0, 0)), thing_at(116, (0, 0, 0)), thing_at(120, (0, 0, 0))]
    nats = taught.surprise(things, np.array([[0, 8], [0, 4], [0, 0]]), np.zeros((3, 2), int)).numpy()
    assert nats[0, 2] < 0.5 < 5 < nats[0, :2].min()
    assert nats[1, 2] < 0.5 < 4 < nats[1, :2].min(), "it would have gone on"
    assert np.ptp(nats[2]) < 1.5, "it may stand there by any"
    left = taught.surprise(things[2:], np.array([[0, -6]]), np.zeros((1, 2), int)).numpy()[0]
    assert left.argmin() == 0 and left[2] > left[0] + 3


def test_how_far_beyond_is_found_from_how_it_stands_and_leaves(taught: Pushes) -> None:
    track = np.array([(50, place) for place, _, _ in knob(6000, 1)])
    counts = np.full((3, 3), 10.0) + np.eye(3) * 70
    find_slack(taught, [track], counts)
    assert taught.slack_low.tolist() == [0, SLACK_LOW]
    assert taught.slack_high[0] == 0 and abs(int(taught.slack_high[1]) - SLACK_HIGH) <= 2
    taught.slack_high.fill_(7)
    find_slack(taught, [track[:20]], counts)
    assert taught.slack_high.tolist() == [7, 7], "too few stays to say anything"


def test_edges_are_where_nearly_all_places_end() -> None:
    places = np.array([[5, column] for column in [*range(10, 20)] * 300] + [[5, 99]])
    lowest, highest = edges_of(places)
    assert (lowest.tolist(), highest.tolist()) == ([5, 10], [5, 19])
    seen = np.array([[5, 10], [5, 15], [5, 19], [5, 99]])
    assert at_edge(seen, lowest, highest).tolist() == [True, False, True, True]


def test_from_little_nothing_is_learned() -> None:
    pushes = Pushes(3)
    pushes.teach([thing_at(5)] * 9, np.zeros((9, 2), int), np.zeros(9, int), np.zeros(9, int))
    assert not bool(pushes.is_taught)
