"""Where the controllable object goes by each button, within and beyond its visible range."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ghostpad.objects import training
from ghostpad.objects.action_motion import ActionMotion, ControlState, at_edge, range_of
from ghostpad.objects.detection import Object
from ghostpad.objects.overshoot import fit_overshoot
from ghostpad.objects.recordings import TrackedObject
from ghostpad.objects.training import train_action_motion

DISPLACEMENTS = np.array([-8, 0, 8])
LOWEST, HIGHEST, OVERSHOOT_LOW, OVERSHOOT_HIGH = 8, 120, 2, 21
"""Of a knob that turns farther than the object is visible."""


def knob(num: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Column of an object, its next column, and the button; half of a push lasts, but not at the ends."""
    rng = np.random.default_rng(seed)
    column, before, held = 60, 1, 1
    for _ in range(num):
        held = held if rng.random() < 0.7 else int(rng.integers(3))
        after = column + DISPLACEMENTS[held] + DISPLACEMENTS[before] // 2
        before = held
        if not LOWEST - OVERSHOOT_LOW <= after <= HIGHEST + OVERSHOOT_HIGH:
            before = 1
        after = int(np.clip(after, LOWEST - OVERSHOOT_LOW, HIGHEST + OVERSHOOT_HIGH))
        yield int(np.clip(column, LOWEST, HIGHEST)), int(np.clip(after, LOWEST, HIGHEST)), held
        column = after


def object_at(column: int, past: tuple[int, ...] = ()) -> Object:
    mask, colors = np.ones((4, 16), bool), np.full((3, 64), 99, np.int16)
    displacements = tuple((0, moved) for moved in past)
    return Object(np.array([50, column]), mask, colors, displacements=displacements, is_controllable=True)


@pytest.fixture(scope="module")
def motion() -> ActionMotion:
    torch.manual_seed(0)
    motion, seen = ActionMotion(3, 48), list(knob(4000, 0))
    moved = np.diff([column for column, _, _ in seen])
    tracked = [
        TrackedObject(
            row,
            object_at(column, tuple(moved[max(0, row - 7) : row].tolist())),
            np.array([0, after - column]),
        )
        for row, (column, after, _) in enumerate(seen)
    ]
    buttons = np.array([held for *_, held in seen])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "ACTION_STEPS", 600)
        train_action_motion(motion, tracked, buttons, np.r_[-1, buttons[:-1]], 0)
    motion.rest_button.fill_(1)
    return motion


def test_it_moves_by_its_past_and_its_button(motion: ActionMotion) -> None:
    assert bool(motion.is_trained) and [edge.tolist() for edge in motion.edges] == [[50, 8], [50, 120]]
    objects = [object_at(60, (0, 0, 0)), object_at(60, (0, 0, 8)), object_at(60)]
    held = torch.tensor([2, 1, 2])
    control = ControlState(torch.tensor([1, -1, 0]), np.zeros((3, 2), int))
    positions, after = motion.predict(objects, held, control)
    assert positions[:, 0].tolist() == [50] * 3
    assert np.abs(positions[:, 1] - [68, 64, 64]).max() <= 1
    assert after.buttons.tolist() == [2, 1, 2] and not after.overshoot.any()
    generator = torch.Generator().manual_seed(0)
    samples = [int(motion.predict(objects[2:], held[:1], None, 1.0, generator)[0][0, 1]) for _ in range(40)]
    assert len(set(samples)) > 1, "the button before is unknown"


def test_off_screen_it_must_be_driven_back(motion: ActionMotion) -> None:
    motion.overshoot_high[1] = OVERSHOOT_HIGH
    driven, control = object_at(118, (0, 0, 0)), None
    seen = []
    for held in (2, 2, 2, 2, 0, 0, 0):
        (position,), control = motion.predict([driven], torch.tensor([held]), control)
        driven = object_at(int(position[1]), (int(position[1] - driven.position[1]),))
        seen.append((int(position[1]), int(control.overshoot[0, 1]), int(control.buttons[0])))
    assert seen[3] == (120, OVERSHOOT_HIGH, 1), "at the farthest point a push has no effect"
    columns = [column for column, *_ in seen]
    assert columns[:5] == [120] * 5 and columns[-1] < 120
    assert motion.overshoot_at(np.array([50, 120])).tolist() == [0, OVERSHOOT_HIGH]
    assert motion.overshoot_at(np.array([50, 60])).tolist() == [0, 0]


def test_displacements_at_an_edge_say_less_about_the_button(motion: ActionMotion) -> None:
    motion.overshoot_high[1] = OVERSHOOT_HIGH
    objects = [object_at(60, (0, 0, 0)), object_at(116, (0, 0, 0)), object_at(120, (0, 0, 0))]
    nats = motion.nll(objects, np.array([[0, 8], [0, 4], [0, 0]])).numpy()
    assert nats[0, 2] < 0.5 < 5 < nats[0, :2].min()
    assert nats[1, 2] < 0.5 < 4 < nats[1, :2].min(), "it would have gone on"
    assert np.ptp(nats[2]) < 1.5, "it may rest there under any button"
    left = motion.nll(objects[2:], np.array([[0, -6]])).numpy()[0]
    assert left.argmin() == 0 and left[2] > left[0] + 3


def test_the_overshoot_is_found_from_rests_at_an_edge_and_returns(motion: ActionMotion) -> None:
    path = np.array([(50, column) for column, _, _ in knob(6000, 1)])
    counts = np.full((3, 3), 10.0) + np.eye(3) * 70
    fit_overshoot(motion, [path], counts)
    assert motion.overshoot_low.tolist() == [0, OVERSHOOT_LOW]
    assert motion.overshoot_high[0] == 0 and abs(int(motion.overshoot_high[1]) - OVERSHOOT_HIGH) <= 2
    motion.overshoot_high.fill_(7)
    fit_overshoot(motion, [path[:20]], counts)
    assert motion.overshoot_high.tolist() == [7, 7], "too few rests"


def test_the_visible_range_ends_where_nearly_all_positions_do() -> None:
    positions = np.array([[5, column] for column in [*range(10, 20)] * 300] + [[5, 99]])
    lowest, highest = range_of(positions)
    assert (lowest.tolist(), highest.tolist()) == ([5, 10], [5, 19])
    seen = np.array([[5, 10], [5, 15], [5, 19], [5, 99]])
    assert at_edge(seen, lowest, highest).tolist() == [True, False, True, True]


def test_few_displacements_train_nothing() -> None:
    motion = ActionMotion(3)
    tracked = [TrackedObject(row, object_at(5), np.zeros(2, int)) for row in range(9)]
    train_action_motion(motion, tracked, np.zeros(9, int), np.zeros(9, int), 0)
    assert not bool(motion.is_trained)
