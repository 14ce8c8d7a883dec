"""The probe for the controls: codes that equal the control, that ignore it, and the share of a ceiling."""

import numpy as np
import pytest

from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.probes import Labelled, agreement
from ghostpad.frames.controls import control_classes, read_controls
from ghostpad.frames.pairs import Transitions


def labelled(codes_of, seed: int, num: int = 1500) -> Labelled:
    rng = np.random.default_rng(seed)
    controls = rng.choice(3, num, p=(0.5, 0.3, 0.2))
    episode = np.repeat(np.arange(num // 100), 100)
    return Labelled(episode, np.tile(np.arange(100), num // 100), codes_of(controls, rng), controls)


def run(codes_of, **ceilings: float) -> dict:
    train, test = (labelled(codes_of, seed) for seed in (0, 1))
    return agreement(train, test, 3, 0, {key.removeprefix("one"): value for key, value in ceilings.items()})[
        0
    ]


def equal(controls, rng):
    codes = rng.integers(0, 16, (len(controls), 2, 3))
    codes[:, 1, 2] = controls
    return codes


def ignorant(controls, rng):
    return rng.integers(0, 16, (len(controls), 2, 3))


def test_codes_that_equal_the_control():
    found = run(equal, one=1.0)
    assert found["accuracy"] == found["balanced_accuracy"] == 1
    assert found["share_of_ceiling"] == 1
    assert found["chance"] == pytest.approx(0.5, abs=0.03)
    assert found["shuffled"] < 0.55
    assert found["label_budget"]["1024"]["mean"] > 0.99
    assert found["label_budget"]["8"]["mean"] < 0.9
    assert found["window_accuracy"] > 0.99


def test_codes_that_ignore_the_control():
    found = run(ignorant, one=1.0)
    assert abs(found["accuracy"] - found["chance"]) < 0.06
    assert abs(found["share_of_ceiling"]) < 0.12
    assert found["balanced_accuracy"] == pytest.approx(1 / 3, abs=0.05)


def test_the_share_of_the_ceiling_leaves_chance_out():
    found = run(equal, one=0.75, window_=0.4)
    assert found["ceiling"] == 0.75
    assert found["share_of_ceiling"] == pytest.approx((1 - found["chance"]) / (0.75 - found["chance"]))
    assert found["window_ceiling"] == 0.4
    assert found["window_share_of_ceiling"] is None  # not above chance


def test_neighbours_tell_what_one_transition_does_not():
    def late(controls, rng):
        codes = rng.integers(0, 16, (len(controls), 2, 3))
        codes[1:, 0, 0] = controls[:-1]  # each transition shows the control before
        return codes

    found = run(late)
    assert found["accuracy"] < 0.6
    assert found["window_accuracy"] > 0.97
    assert "ceiling" not in found


def test_without_two_classes_the_answer_is_the_only_one():
    train = labelled(equal, 0)
    one = Labelled(train.episode_index, train.frame_index, train.codes, np.zeros(len(train.codes), int))
    assert agreement(one, one, 3, 0, {})[0]["accuracy"] == 1


def test_a_window_does_not_leave_its_episode():
    part = Labelled(np.array([0, 0, 0, 1]), np.array([4, 5, 6, 7]), np.zeros((4, 1, 1)), np.zeros(4))
    assert part.window((-1, 0, 1)).tolist() == [[-1, 0, 1], [0, 1, 2], [1, 2, -1], [-1, 3, -1]]


def test_fire_counts_as_stay_and_directions_keep_their_order():
    classes, lookup = control_classes(["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE"])
    assert classes == ["stay", "right", "left"]
    assert lookup.tolist() == [0, 0, 1, 2, 1]


def test_controls_are_those_of_the_recording(store):
    transitions = Transitions(store, "test")
    labels, classes = read_controls(transitions, np.arange(len(transitions)))
    assert classes == ["stay", "right", "left"]
    episode = int(transitions.episode_index[0])
    names = store.control_names(episode)
    first = [names[control] for control in store.controls(episode)][:5]
    expected = [{"NOOP": 0, "FIRE": 0, "RIGHT": 1, "LEFT": 2}[name] for name in first]
    assert labels[:5].tolist() == expected


def test_blocks_are_neighbours_and_never_more_than_asked_for():
    rows = draw_blocks(1000, 200, seed=3)
    assert len(rows) <= 200
    assert len(np.unique(rows)) == len(rows)
    assert (np.diff(rows) == 1).mean() > 0.9
    assert draw_blocks(50, 200, seed=3).tolist() == list(range(50))
