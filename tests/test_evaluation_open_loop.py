"""Open-loop rollouts: known worlds get the numbers that follow from how they differ from the emulator."""

import dataclasses
import pathlib

import numpy as np
import pytest

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.evaluation.rollouts import open_loop as open_loop_module
from ghostpad.evaluation.rollouts.build import KEYS, measure
from ghostpad.evaluation.rollouts.open_loop import (
    draw_starts,
    open_loop,
    open_loop_steps,
    score,
    summarize,
)
from ghostpad.evaluation.schema import describe
from ghostpad.games import game_named
from ghostpad.games.breakout import detector as breakout
from ghostpad.games.breakout.detector import BALL_RGB, BRICK_RGB
from ghostpad.games.breakout.rollouts import MAX_BLINK, MAX_ERROR_PX, SERVE_PAUSE, ball_in_play
from ghostpad.sums import total
from known_worlds import CONTROLS, SAME, KnownWorld
from small_world import small_world

pytest.importorskip("ale_py")
BREAKOUT = game_named("breakout")
LONG, SEED = 200, 4
"""Frames in which the player with this seed loses two balls, and launches others."""


def numbers(store, change=lambda pictures, step: pictures, num_frames=100, num_starts=2, **world) -> dict:
    """As `open_loop`, with the numbers over 500 frames over those that there are."""
    shown = KnownWorld(store, [], change, **world)
    shown.starts = starts = draw_starts(shown, store, num_starts, seed=0)
    with np.errstate(all="raise"):
        steps = open_loop_steps(shown, SAME, store, starts, num_frames, SEED)
        sums = score(steps, BREAKOUT, CONTROLS, np.array([start.lives for start in starts]))
        return summarize(total(sums), BREAKOUT, 500)


def without_ball(pictures, step=0):
    """Black where the detector sees a ball below the bricks."""
    found = breakout.detect(pictures.transpose(0, 3, 1, 2))
    for picture, x, y, paddle, width in zip(
        pictures, *(found[name] for name in ("ball_x", "ball_y", "paddle_x", "paddle_width")), strict=True
    ):
        if x >= 0 and y >= 93:
            kept = picture[189:193, paddle : paddle + width].copy()
            picture[y : min(y + 4, 196), x : x + 2] = 0
            picture[189:193, paddle : paddle + width] = kept
    return pictures


@pytest.fixture(scope="module")
def perfect(store):
    return numbers(store, num_frames=LONG, num_starts=1)


@pytest.mark.parametrize("grayscale", [False, True])
def test_the_emulator_itself_is_perfect(store, perfect, grayscale):
    metrics = numbers(store, grayscale=True) if grayscale else perfect
    assert metrics["paddle_error_px_100"] == 0
    assert metrics["paddle_found_100"] == 1
    assert metrics["bricks_back"] == metrics["two_balls_frames"] == metrics["balls_forgotten"] == 0
    assert [metrics[f"psnr_db_{n}"] for n in (1, 10, 100)] == [100, 100, 100]
    assert [metrics[f"ball_error_px_{n}"] for n in (10, 30, 100)] == [0, 0, 0]
    assert [metrics[f"ball_found_{n}"] for n in (10, 30, 100)] == [1, 1, 1]
    assert metrics["balls_lost"] == metrics["emulator_balls_lost"]
    assert 25 < metrics["copy_psnr_db_100"] < metrics["copy_psnr_db_1"] < 50


def test_the_emulator_has_one_ball_between_launch_and_loss(perfect):
    assert perfect["emulator_balls_lost"] == 2
    assert 0.98 < perfect["single_ball_share_500"] == perfect["emulator_single_ball_share_500"] <= 1
    assert perfect["single_ball_share_of_emulator_500"] == 1
    assert perfect["one_ball_share_500"] == perfect["emulator_one_ball_share_500"] < 0.95


def alone(store, num_starts, num_frames):
    world = KnownWorld(store, [], without_ball)
    world.starts = draw_starts(world, store, num_starts, seed=0)
    return open_loop(world, SAME, store, num_starts, num_frames)


def test_the_batch_size_does_not_change_the_numbers(store, monkeypatch):
    together, _ = alone(store, 3, 30)
    monkeypatch.setattr("ghostpad.evaluation.rollouts.open_loop.CPU_BATCH", 2)
    assert alone(store, 3, 30)[0] == pytest.approx(together, rel=0, abs=0, nan_ok=True)


def test_horizons_that_were_not_reached_are_left_out(store):
    metrics, intervals = alone(store, 1, 12)
    keys = set(open_loop_module.KEYS)
    assert keys - set(metrics) == {name for name in keys if name.rpartition("_")[2] in ("30", "100", "500")}
    assert metrics["num_frames"] == 12 and not intervals


def test_a_paddle_that_is_off_by_three_pixels(store, perfect):
    def shifted(pictures, step):
        rows = pictures[:, 189:193, 8:152].copy()
        pictures[:, 189:193, 8:152] = np.concatenate([rows[:, :, 3:], rows[:, :, -1:].repeat(3, 2)], 2)
        return pictures

    metrics = numbers(store, shifted)
    assert 2.5 <= metrics["paddle_error_px_100"] <= 3
    assert metrics["psnr_db_1"] < 60 and metrics["ball_error_px_10"] == 0


def test_a_paddle_that_is_not_there_is_as_wrong_as_can_be(store):
    def gone(pictures, step):
        pictures[:, 189:193, 8:152] = 0
        return pictures

    metrics = numbers(store, gone)
    assert metrics["paddle_error_px_100"] == MAX_ERROR_PX
    assert metrics["paddle_found_100"] == 0


def test_every_second_ball_is_counted(store):
    def doubled(pictures, step):
        pictures[:, 40:44, 100:102] = pictures[:, 120:124, 30:32] = BALL_RGB
        return pictures

    metrics = numbers(store, doubled)
    assert metrics["two_balls_frames"] == metrics["num_frames"] == 2 * 100


def test_a_world_without_balls_owes_them_all(store, perfect):
    metrics = numbers(store, without_ball, num_frames=LONG, num_starts=1)
    # Among the bricks the ball has other colours and is left standing by `without_ball`.
    assert metrics["single_ball_share_500"] < 0.15
    assert metrics["balls_lost"] == 0 and metrics["ball_found_10"] < 0.5
    assert metrics["emulator_single_ball_share_500"] == perfect["emulator_single_ball_share_500"]


def test_a_world_that_launches_no_second_ball_owes_it(store, perfect):
    gone = np.zeros(1, int)

    def first_only(pictures, step):
        seen = breakout.detect(pictures.transpose(0, 3, 1, 2))["num_balls"] > 0
        gone[:] = np.where(seen & (gone <= SERVE_PAUSE), 0, gone + 1)
        return np.where((gone > SERVE_PAUSE)[:, None, None, None], without_ball(pictures.copy()), pictures)

    metrics = numbers(store, first_only, num_frames=LONG, num_starts=1)
    assert metrics["balls_lost"] == 1
    assert metrics["single_ball_share_500"] < 0.6


def test_bricks_that_come_back_are_counted_one_by_one(store):
    gone = np.zeros(2)

    def restored(pictures, step):
        if step == 90:
            gone[:] = (~breakout.detect(pictures.transpose(0, 3, 1, 2))["bricks"]).sum((1, 2))
            for row, rgb in enumerate(BRICK_RGB):
                pictures[:, 57 + 6 * row : 63 + 6 * row, 8:152] = rgb
        return pictures

    metrics = numbers(store, restored)
    assert metrics["bricks_back"] == gone.sum() > 0


def columns(ball_y, paddle_x=60, ball_x=100, width=16) -> dict[str, np.ndarray]:
    """A ball on these lines, None where it is not seen, that moves in y alone."""
    seen = np.array([y is not None for y in ball_y])
    return {
        "num_balls": seen.astype(int),
        "ball_y": np.array([-1 if y is None else y for y in ball_y]),
        "ball_x": np.where(seen, ball_x, -1),
        "paddle_x": np.full(len(seen), paddle_x),
        "paddle_width": np.full(len(seen), width),
    }


def expected(ball_y, fires=(), lives=5, **where) -> str:
    pressed = np.isin(np.arange(len(ball_y)), fires)
    return "".join(".X"[int(e)] for e in ball_in_play(columns(ball_y, **where), pressed, lives).expected)


AWAY = [None] * (SERVE_PAUSE + 1)


def test_a_ball_is_owed_from_launch_to_loss():
    assert expected([None, None, 120, 150, 180, 188, *AWAY]) == "..XXXX" + "." * len(AWAY)
    assert expected([120, 150, 180, 188, *AWAY, 120, 130]) == "XXXX" + "." * len(AWAY) + "XX"


def test_a_ball_that_vanishes_in_the_field_is_still_expected():
    assert expected([120, 150, *[None] * 9, 120]) == "X" * 12


def test_a_blink_is_owed():
    assert expected([150, 170, 187, *[None] * MAX_BLINK, 185, 170]) == "X" * (5 + MAX_BLINK)


def test_fire_must_launch_a_ball_once_the_pause_is_over():
    late = [180, 188, *AWAY, None, None]
    assert expected(late, fires=[2 + SERVE_PAUSE]) == "XX" + "." * SERVE_PAUSE + "XXX"
    assert expected(late, fires=[1 + SERVE_PAUSE]) == "XX" + "." * (SERVE_PAUSE + 3)


def test_no_ball_is_owed_after_the_last_life():
    late = [180, 188, *AWAY, None, None]
    assert expected(late, fires=[2 + SERVE_PAUSE], lives=1) == "XX" + "." * (SERVE_PAUSE + 3)


def test_a_ball_that_vanishes_on_the_paddle_was_forgotten():
    falling = columns([165, 175, 185, *AWAY], ball_x=66)
    play = ball_in_play(falling, np.zeros(len(falling["ball_x"]), bool), 5)
    assert play.expected.all() and play.forgotten.sum() == 1 and not play.lost.any()
    beside = columns([165, 175, 185, *AWAY], ball_x=90)
    play = ball_in_play(beside, np.zeros(len(falling["ball_x"]), bool), 5)
    assert play.expected.sum() == 3 and play.lost.sum() == 1 and not play.forgotten.any()


def test_what_happens_after_the_game_is_over_counts_nowhere(store):
    world = KnownWorld(store, [])
    world.starts = starts = draw_starts(world, store, 1, seed=0)
    steps = list(open_loop_steps(world, SAME, store, starts, 40, seed=0))
    ended = [dataclasses.replace(m, over=np.array([n == 20])) for n, m in enumerate(steps)]
    for step in ended[20:]:
        step.imagined[:, :, 32:] = 0
    sums = score(ended, BREAKOUT, CONTROLS, np.array([5]))
    assert sums["frames"] == sums["paddle"] == 19 and sums["paddle_error"] == sums["bricks_back"] == 0


def test_world_and_emulator_get_the_same_controls(store):
    swapped = ControlMap(CONTROLS, SAME.control_given_button, (0, 1, 3, 2), 0)
    shown = KnownWorld(store, [])
    shown.starts = starts = draw_starts(shown, store, 2, seed=0)
    steps = list(open_loop_steps(shown, swapped, store, starts, 30, seed=0))
    assert (steps[0].controls == -1).all()
    for step in steps[1:]:
        assert (step.buttons == np.array([0, 1, 3, 2])[step.controls]).all()
    assert {2, 3} & {int(control) for step in steps for control in step.controls}
    assert (steps[-1].imagined != steps[-1].true).any()


def test_starts_are_spread_over_test_episodes_and_drawn_by_the_seed(store):
    world = KnownWorld(store, [])
    starts = draw_starts(world, store, 30, seed=0)
    assert starts == draw_starts(world, store, 30, seed=0) != draw_starts(world, store, 30, seed=1)
    assert {store.episodes[start.episode_index].split for start in starts} == {"test"}
    assert all(1 <= start.frame_index < 39 and start.lives == 5 for start in starts)


def test_everything_is_measured_or_has_a_reason(store):
    world = small_world(store)
    metrics = measure(world, SAME_FOR_THREE, store, num_starts=2, num_frames=12)
    assert set(metrics) == {*KEYS, "intervals", "absent"}
    assert metrics["absent"]["psnr_db_100"] == "the rollouts are only 12 frames long"
    assert metrics["psnr_db_100"] is None and metrics["psnr_db_10"] > 0
    assert metrics["frames_per_s"] > 0 and metrics["one_step_gain_over_copy_db"] < 0
    assert metrics["one_step_copy_psnr_db"] == metrics["inferred_copy_psnr_db"]
    assert {name for name in KEYS if metrics[name] is None} == set(metrics["absent"])


def test_without_controls_single_steps_are_left(store):
    metrics = measure(small_world(store), None, store, num_starts=2, num_frames=12)
    assert metrics["inferred_psnr_db"] > 0 and metrics["one_step_psnr_db"] is None
    assert "ghostpad controls" in metrics["absent"]["paddle_error_px_100"]


SAME_FOR_THREE = ControlMap(CONTROLS, tuple(map(tuple, np.eye(4)[:3])), (0, 0, 1, 2), 0)


def test_mistakes_are_named(store, tmp_path):
    world = KnownWorld(store, [])
    with pytest.raises(UserError, match="at least 1 start"):
        open_loop(world, SAME, store, 0, 5)
    with pytest.raises(UserError, match="no nowhere episode"):
        draw_starts(world, store, 1, 0, split="nowhere")


def test_every_number_is_on_its_page():
    page = (pathlib.Path(__file__).parent.parent / "docs" / "world.md").read_text(encoding="utf-8")
    assert describe(KEYS) in page, "run python benchmarks/metrics_page.py"
