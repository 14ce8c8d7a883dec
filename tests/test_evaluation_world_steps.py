"""Worlds judged without an emulator: on branches, and beside recordings; toy worlds have known answers."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ghostpad.buttons.control_map import ControlMap
from ghostpad.evaluation.rollouts.branched import branched_steps
from ghostpad.evaluation.rollouts.recorded import recorded_rollouts
from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.sources.branches import Branches
from recordings import write_pngs

NAMES = ("NOOP", "RIGHT", "LEFT")
SHIFTS = np.array([0, 1, -1])
LENGTH, SIZE = 40, 24
BRANCHED = np.array([3, 20])


def picture(place: int) -> np.ndarray:
    """(24, 24, 3): a square that is drawn at a place, and on at the other side."""
    frame = np.zeros((SIZE, SIZE, 3), np.uint8)
    frame[8:12, 8:12] = 200
    return np.roll(frame, place, 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Ten episodes in which controls move a square, with branches."""
    root, rng = tmp_path_factory.mktemp("toy") / "videos", np.random.default_rng(0)
    for episode in range(10):
        controls = np.repeat(rng.integers(0, 3, LENGTH // 5), 5)
        places = np.concatenate([[0], SHIFTS[controls[:-1]].cumsum()])
        write_pngs(root, {f"episode_{episode}": [picture(place) for place in places]})
        folder = root / f"episode_{episode}"
        recorded = {"control_names": NAMES, "controls": controls[:-1].tolist()}
        folder.joinpath("episode.json").write_text(json.dumps(recorded))
        branches = [[picture(places[frame] + shift) for shift in SHIFTS] for frame in BRANCHED]
        Branches(BRANCHED, np.array(branches)).save(folder / "branches.npz")
    return ingest(IngestConfig(root))


class ToyWorld:
    """Moves the whole picture by `shifts`, one for each button; black becomes gray value 1."""

    history, stride, grayscale, buttons_in_use = 2, 1, False, (0, 1, 2)

    def __init__(self, shifts: np.ndarray = SHIFTS) -> None:
        self.shifts = shifts

    def start(self, frames):
        return SimpleNamespace(frames=np.array(frames))

    def step(self, state, buttons):
        moved = [
            np.roll(frame, self.shifts[button], 2)
            for frame, button in zip(state.frames[:, -1], buttons, strict=True)
        ]
        newest = np.maximum(np.stack(moved), 1)[:, None]
        return SimpleNamespace(frames=np.concatenate([state.frames[:, 1:], newest], 1)), None


MAP = ControlMap(NAMES, tuple(map(tuple, np.eye(3))), (0, 1, 2), 3)


def test_a_true_world_explains_the_whole_difference_between_controls(store):
    numbers, intervals = branched_steps(ToyWorld(), MAP, store)
    assert numbers["branch_difference"] == pytest.approx(1, abs=1e-3)
    assert numbers["branch_direction"] == 1
    assert numbers["branch_worst_error_ratio"] == pytest.approx(1)
    assert numbers["branch_psnr_db"] > 40 > numbers["branch_copy_psnr_db"]
    assert numbers["num_branched"] == 2 * sum(episode.split == "test" for episode in store.episodes)
    assert set(intervals) <= set(numbers)


def test_a_world_that_ignores_its_buttons_explains_none(store):
    numbers, _ = branched_steps(ToyWorld(np.zeros(3, int)), MAP, store)
    assert numbers["branch_difference"] == 0 and numbers["branch_direction"] == 0


def test_a_world_with_exchanged_buttons_is_worse_than_none(store):
    numbers, _ = branched_steps(ToyWorld(-SHIFTS), MAP, store)
    assert numbers["branch_difference"] < -1
    assert numbers["branch_direction"] == 0
    assert numbers["branch_worst_error_ratio"] > 1.5


def test_a_stride_that_branches_do_not_have_gives_no_numbers(store):
    world = ToyWorld()
    world.stride = 2
    assert branched_steps(world, MAP, store) == ({}, {})


def test_rollouts_under_recorded_controls_follow_the_recording(store):
    numbers, _ = recorded_rollouts(ToyWorld(), MAP, store)
    for horizon in (1, 4, 10, 30):
        assert numbers[f"recorded_psnr_db_{horizon}"] > 40
        assert numbers[f"recorded_gain_over_copy_db_{horizon}"] > 10
        assert numbers[f"recorded_delta_psnr_db_{horizon}"] > 10
    # No episode is long enough.
    assert "recorded_psnr_db_100" not in numbers


def test_a_world_in_which_nothing_moves_is_as_good_as_showing_the_start(store):
    numbers, _ = recorded_rollouts(ToyWorld(np.zeros(3, int)), MAP, store)
    for horizon in (1, 30):
        assert numbers[f"recorded_gain_over_copy_db_{horizon}"] == pytest.approx(0, abs=0.2)
        assert numbers[f"recorded_delta_psnr_db_{horizon}"] == pytest.approx(0, abs=1e-3)
