"""The control map: fitted to labels drawn from known distributions, written and read."""

import json

import numpy as np
import pytest

from ghostpad.buttons.control_map import ControlMap, fit_control_map
from ghostpad.errors import UserError

NAMES = ["NOOP", "FIRE", "RIGHT", "LEFT"]


def draw_labels(given, usage, num=4000, seed=0):
    rng = np.random.default_rng(seed)
    buttons = rng.choice(len(usage), num, p=usage)
    held = np.array([rng.choice(len(NAMES), p=given[button]) for button in buttons])
    return np.eye(len(usage))[buttons], held


MOVES = [[0.9, 0.06, 0.02, 0.02], [0.1, 0.0, 0.88, 0.02], [0.1, 0.0, 0.02, 0.88]]


def test_the_map_recovers_the_distribution_that_labels_are_drawn_from():
    found = fit_control_map(NAMES, *draw_labels(MOVES, (0.4, 0.3, 0.3)))
    assert np.array(found.control_given_button) == pytest.approx(np.array(MOVES), abs=0.03)
    assert np.array(found.control_given_button).sum(1) == pytest.approx(1)
    assert found.button_for_control == (0, 0, 1, 2)  # FIRE as NOOP
    assert found.num_labels == 4000


def test_fire_gets_the_button_that_launches_however_rare_it_is():
    launch = [*MOVES, [0.1, 0.9, 0.0, 0.0]]
    found = fit_control_map(NAMES, *draw_labels(launch, (0.39, 0.3, 0.3, 0.01)))
    assert found.button_for_control == (0, 3, 1, 2)


def test_fire_is_played_as_noop_where_its_button_means_another_control_more():
    # With button 3, FIRE is held more often than in general, but RIGHT far more.
    right = [*MOVES, [0.06, 0.072, 0.86, 0.008]]
    found = fit_control_map(NAMES, *draw_labels(right, (0.7, 0.1, 0.15, 0.05), num=40000))
    assert found.to_button("FIRE") == found.to_button("NOOP") == 0


def test_controls_with_one_effect_are_played_by_one_button():
    both = [[0.9, 0.1, 0, 0], [0.1, 0, 0.45, 0.45]]
    found = fit_control_map(["NOOP", "FIRE", "UP", "UPFIRE"], *draw_labels(both, (0.5, 0.5)))
    assert found.button_for_control == (0, 0, 1, 1)


def test_a_transition_counts_in_proportion_for_each_button():
    hard, held = draw_labels(MOVES, (0.4, 0.3, 0.3))
    twice = fit_control_map(NAMES, np.concatenate([hard, hard]) / 2, np.concatenate([held, held]))
    once = fit_control_map(NAMES, hard, held)
    assert np.array(twice.control_given_button) == pytest.approx(np.array(once.control_given_button))


def test_an_unseen_button_keeps_the_marginal_distribution_of_controls():
    buttons, held = draw_labels(MOVES, (0.4, 0.3, 0.3))
    found = fit_control_map(NAMES, np.pad(buttons, ((0, 0), (0, 1))), held)
    usual = np.bincount(held, minlength=4) / len(held)
    assert found.control_given_button[3] == pytest.approx(usual, abs=0.01)


def test_an_unseen_button_is_never_pressed():
    # Each button that is seen belongs to another control, so that none is left for NOOP.
    buttons, held = draw_labels([[0.1, 0.9, 0, 0], [0.1, 0, 0.9, 0], [0.1, 0, 0, 0.9]], (0.4, 0.3, 0.3))
    for unused in range(4):
        wider = np.insert(buttons, unused, 0, axis=1)
        assert unused not in fit_control_map(NAMES, wider, held).button_for_control


def test_few_labels_or_few_buttons_still_give_each_control_a_button():
    for num in (1, 2, 8):
        found = fit_control_map(NAMES, *draw_labels(MOVES, (0.4, 0.3, 0.3), num))
        assert all(0 <= button < 3 for button in found.button_for_control)
    pair = fit_control_map(NAMES, *draw_labels(MOVES[1:], (0.5, 0.5)))
    assert pair.button_for_control[2:] == (0, 1)
    assert all(button in (0, 1) for button in pair.button_for_control)


def test_a_map_is_read_back_as_it_was_written(tmp_path):
    assert ControlMap.read(tmp_path) is None
    found = fit_control_map(NAMES, *draw_labels(MOVES, (0.4, 0.3, 0.3)))
    path = found.write(tmp_path, {"accuracy": 0.5})
    assert ControlMap.read(tmp_path) == found
    assert json.loads(path.read_text())["report"] == {"accuracy": 0.5}
    assert found.to_button("right") == found.to_button("RIGHT") == found.to_button(2) == 1
    for unknown in ("UP", 4, -1):
        with pytest.raises(UserError, match="NOOP, FIRE, RIGHT, LEFT"):
            found.to_button(unknown)


@pytest.mark.parametrize(
    "change", [{"button_for_control": [0, 0, 1, 9]}, {"control_names": ["A"]}, {"num_labels": None}]
)
def test_damaged_map_files_are_refused(tmp_path, change):
    path = fit_control_map(NAMES, *draw_labels(MOVES, (0.4, 0.3, 0.3))).write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"controls\.json.*ghostpad controls"):
        ControlMap.read(tmp_path)
