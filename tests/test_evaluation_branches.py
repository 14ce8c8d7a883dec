"""What branches say, in toy environments whose numbers are worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from ghostpad.buttons import persistence
from ghostpad.errors import UserError
from ghostpad.evaluation import branches as module
from ghostpad.evaluation.branches import (
    BUTTON_KEYS,
    branch_ceiling,
    button_controllability,
    controllability,
    outcomes,
)
from ghostpad.frames.ingest import open_data
from ghostpad.sources.branches import Branches
from recordings import noise, write_pngs

NAMES = ["NOOP", "UP", "RIGHT", "LEFT"]
NUM_STATES = 6
HELD = np.repeat([0, 1, 2, 3], [40, 30, 20, 10])


def next_frame(state: int, outcome: int) -> np.ndarray:
    """(8, 8, 3): the scene depends on the state, one pixel on what the control does."""
    frame = np.full((8, 8, 3), 10 * state, np.uint8)
    frame[0, outcome] = 255
    return frame


class Toy:
    """A store of six episodes with branches; `outcome(state, control)` is what a control does."""

    fingerprint = "toy"

    def __init__(self, outcome, num_episodes: int = 6) -> None:
        self.outcome = outcome
        splits = ["train", "train", "train", "test", "test", "validation"]
        self.episodes = [SimpleNamespace(split=split) for split in splits[:num_episodes]]

    def control_names(self, episode: int) -> list[str]:
        return NAMES

    def branches(self, episode: int) -> Branches:
        controls = range(len(NAMES))
        frames = [
            [next_frame(state, self.outcome(state, control)) for control in controls]
            for state in range(NUM_STATES)
        ]
        return Branches(np.arange(NUM_STATES), np.array(frames))

    def read(self, episode: int, frames: np.ndarray, grayscale: bool) -> np.ndarray:
        return np.zeros((len(frames), 1 if grayscale else 3, 8, 8), np.uint8)


class Pixels:
    """Codes of two cells: the outcome, and if `of_scene` the scene."""

    codebook_size, grid, stride = 64, (1, 2), 1

    def __init__(self, of_scene: bool = False, grayscale: bool = False) -> None:
        self.of_scene, self.grayscale = of_scene, grayscale

    def encode(self, frames, next_frames):
        assert frames.shape == next_frames.shape
        outcome = next_frames[:, 0, 0].argmax(1)
        scene = next_frames[:, 0, 7, 7] // 10 if self.of_scene else np.zeros_like(outcome)
        return np.stack([outcome, scene], 1)[:, None]


def ceiling(outcome, held=HELD, names=NAMES, stride: int = 1) -> dict[str, float]:
    return branch_ceiling(SimpleNamespace(store=Toy(outcome), stride=stride), names, held)


def test_equal_next_frames_form_one_class():
    frames = Toy(lambda state, control: min(control, 2)).branches(0).next_frames
    assert outcomes(frames)[0].tolist() == [0, 1, 2, 2]


def test_two_controls_with_equal_effects_bound_the_best_guess():
    found = ceiling(lambda state, control: min(control, 2))
    # Of the last two RIGHT is guessed, so LEFT is always wrong.
    assert found == {"branch_ceiling": pytest.approx(0.9), "branch_identifiable": 0.5, "num_branched": 36}


def test_the_best_guess_depends_on_the_state():
    # In every other state nothing the player does shows: then NOOP is guessed, which is right in 40 %.
    found = ceiling(lambda state, control: control if state % 2 else 0)
    assert found["branch_ceiling"] == pytest.approx((1 + 0.4) / 2)
    assert found["branch_identifiable"] == 0.5


def test_controls_of_one_direction_need_not_be_distinguished():
    # FIRE counts as NOOP, so only UP and DOWN are confused.
    names = ["NOOP", "FIRE", "UP", "DOWN"]
    store = Toy(lambda state, control: control // 2)
    store.control_names = lambda episode: names
    found = branch_ceiling(SimpleNamespace(store=store, stride=1), names, HELD)
    assert found == {"branch_ceiling": pytest.approx(0.9), "branch_identifiable": 0.5, "num_branched": 36}


def test_a_control_that_is_not_known_is_no_part_of_the_policy():
    unknown = np.concatenate([HELD, np.full(50, -1)])
    assert ceiling(lambda state, control: 0, unknown)["branch_ceiling"] == pytest.approx(0.4)


def test_without_branches_of_these_controls_there_is_no_number():
    def outcome(state: int, control: int) -> int:
        return control

    assert ceiling(outcome, names=["A", "B"]) == ceiling(outcome, stride=2) == {}
    store = Toy(outcome)
    store.branches = lambda episode: None
    assert controllability(Pixels(), store, "test", 2048, seed=0) == ({}, {})


@pytest.mark.parametrize("grayscale", [False, True])
def test_codes_that_are_the_action_reach_the_upper_bound_and_are_equal_in_all_states(grayscale):
    store = Toy(lambda state, control: min(control, 2))
    numbers, bounds = controllability(Pixels(grayscale=grayscale), store, "test", 2048, seed=0)
    assert numbers["chance"] == 0.25
    assert numbers["accuracy"] == numbers["upper_bound"] == 0.75
    assert numbers["equal_codes"] == numbers["equal_cells"] == 1
    # Of the 12 ordered pairs of different controls, RIGHT and LEFT have equal codes both ways.
    assert numbers["equal_codes_other_control"] == pytest.approx(2 / 12)
    assert numbers["equal_cells_other_control"] == pytest.approx((1 + 2 / 12) / 2)
    assert (numbers["num_train"], numbers["num_test"]) == (3 * 6 * 4, 2 * 6 * 4)
    assert bounds["accuracy"] == pytest.approx((0.75, 0.75))


def test_codes_that_also_say_where_the_player_is_are_seldom_equal():
    store = Toy(lambda state, control: control)
    numbers, _ = controllability(Pixels(of_scene=True), store, "test", 2048, seed=0)
    assert numbers["accuracy"] == numbers["upper_bound"] == 1
    # Each state has 11 others in two episodes, of which one shows the same scene.
    assert numbers["equal_codes"] == pytest.approx(1 / 11)
    assert numbers["equal_cells"] == pytest.approx((1 + 1 / 11) / 2)
    assert numbers["equal_codes_other_control"] == 0


def test_a_control_without_an_effect_is_named_by_chance():
    numbers, _ = controllability(Pixels(), Toy(lambda state, control: 0), "test", 2048, seed=0)
    assert numbers["accuracy"] == numbers["upper_bound"] == numbers["chance"]


def test_few_branches_are_spread_over_the_episodes():
    numbers, _ = controllability(Pixels(), Toy(lambda state, control: control), "test", 24, seed=0)
    assert (numbers["num_train"], numbers["num_test"]) == (3 * 2 * 4, 2 * 3 * 4)


def test_training_episodes_and_longer_strides_are_not_scored():
    store, model = Toy(lambda state, control: control), Pixels()
    assert controllability(model, store, "train", 2048, seed=0) == ({}, {})
    model.stride = 2
    assert controllability(model, store, "test", 2048, seed=0) == ({}, {})


# -- buttons ----------------------------------------------------------------------------------------------

MOVES = np.array([(0, 0), (0, 3), (0, -3), (4, 0)])


class OutcomeButtons:
    """A classifier whose button is the outcome, which stands for the motion here."""

    def posterior(self, outcomes_N):
        return np.eye(len(NAMES))[outcomes_N]


def test_buttons_that_are_the_action_reach_the_upper_bound_and_are_equal_in_all_states(monkeypatch):
    monkeypatch.setattr(module, "fit_buttons", lambda *_: (None, OutcomeButtons()))
    monkeypatch.setattr(module, "features_of_pairs", lambda *args: args[-1][:, 0, 0].argmax(1))
    store = Toy(lambda state, control: min(control, 2))
    numbers, bounds = button_controllability(store, "test", 2048, num_buttons=4, seed=0)
    assert tuple(numbers) == BUTTON_KEYS
    assert numbers["button_accuracy"] == 0.75
    assert (numbers["equal_buttons"], numbers["equal_buttons_other_control"]) == (1, pytest.approx(2 / 12))
    assert bounds["button_accuracy"] == pytest.approx((0.75, 0.75))


def scrolling_world(root, num_episodes: int = 8, num_frames: int = 90, size: int = 40):
    """A camera over a texture, moved by held controls; in every tenth frame also by all others."""
    rng = np.random.default_rng(0)
    world = np.kron(rng.integers(0, 256, (48, 48), np.uint8), np.ones((3, 3), np.uint8))

    def seen(place):
        return np.dstack([np.roll(world, tuple(-place), (0, 1))[:size, :size]] * 3)

    for number in range(num_episodes):
        held = np.repeat(rng.permutation(np.tile(np.arange(len(MOVES)), 5)), rng.integers(3, 9, 20))
        places = np.cumsum([MOVES[0] + rng.integers(0, 144, 2), *MOVES[held[: num_frames - 1]]], 0)
        write_pngs(root, {f"e{number}": [seen(place) for place in places]})
        branched = np.arange(0, len(places) - 1, 10)
        next_frames = [[seen(places[frame] + move) for move in MOVES] for frame in branched]
        Branches(branched, np.array(next_frames)).save(root / f"e{number}" / "branches.npz")
    return open_data(root)


def test_buttons_inferred_without_labels_name_the_control_of_a_branch_from_its_motion(tmp_path, monkeypatch):
    monkeypatch.setattr(persistence, "RESTARTS", 1)
    monkeypatch.setattr(persistence, "STEPS", 400)
    numbers, bounds = button_controllability(scrolling_world(tmp_path / "in"), "test", 2048, 6, seed=0)
    assert numbers["button_accuracy"] >= 0.95
    assert numbers["equal_buttons"] >= 0.9 > 0.1 >= numbers["equal_buttons_other_control"]
    low, high = bounds.get("button_accuracy", (0, 1))
    assert low <= numbers["button_accuracy"] <= high


def test_episodes_too_short_for_buttons_are_named(tmp_path):
    store = open_data(write_pngs(tmp_path / "in", {f"e{number}": noise(6) for number in range(3)}))
    with pytest.raises(UserError, match="buttons need training episodes of more than 11 frames"):
        button_controllability(store, "test", 2048, 4, seed=0)
