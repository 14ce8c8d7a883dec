"""Ball, paddle and bricks of predictions that are wrong in a known way."""

import numpy as np
import pytest

from ghostpad.games import recognize
from ghostpad.sums import total
from known_models import breakout_picture

BEFORE = breakout_picture(ball=(80, 120), paddle=60, gone=[(5, 2)])
AFTER = breakout_picture(ball=(84, 116), paddle=70, gone=[(5, 2), (5, 9)])


def scores(drawn: np.ndarray) -> dict[str, float]:
    game = recognize(AFTER)
    assert game is not None
    states = map(game.detect, (drawn.astype(np.float32) / 255, AFTER, BEFORE))
    sums = game.score_elements(*states)
    return {**game.summarize_elements(total(sums)), **game.distance_quantiles(sums)}


def test_perfect():
    metrics = scores(AFTER)
    for key in ("detected", "within_1px", "within_2px", "vx_sign", "vy_sign"):
        assert metrics[f"ball.{key}"] == 1, key
    assert metrics["ball.median_px"] == metrics["ball.false_share"] == 0
    assert metrics["paddle.within_1px"] == metrics["paddle.iou"] == 1
    assert metrics["bricks.state_accuracy"] == 1
    assert metrics["bricks.vanish_precision"] == metrics["bricks.vanish_recall"] == 1
    assert metrics["bricks.back_share"] == 0


def test_copy_equals_its_twin():
    metrics = scores(BEFORE)
    twins = [key for key in metrics if ".copy_" in key]
    assert len(twins) > 10
    for key in twins:
        own = metrics[key.replace("copy_", "")]
        assert own == metrics[key] or (np.isnan(own) and np.isnan(metrics[key])), key
    assert metrics["ball.within_2px"] == metrics["paddle.within_2px"] == metrics["bricks.vanish_recall"] == 0
    assert metrics["ball.median_px"] == 4
    assert metrics["paddle.median_px"] == 10
    assert metrics["bricks.state_accuracy"] == pytest.approx(107 / 108)


def test_no_ball():
    metrics = scores(breakout_picture(ball=None, paddle=70, gone=[(5, 2), (5, 9)]))
    assert metrics["ball.detected"] == metrics["ball.within_1px"] == metrics["ball.vx_sign"] == 0
    assert np.isnan(metrics["ball.median_px"])
    assert metrics["paddle.within_1px"] == metrics["bricks.state_accuracy"] == 1


def test_one_ball_too_many():
    old = breakout_picture(ball=(30, 150), paddle=70, gone=[(5, 2), (5, 9)])
    assert scores(np.maximum(AFTER, old))["ball.false_share"] == 1


def test_ball_off_by_two_and_the_wrong_way():
    metrics = scores(breakout_picture(ball=(86, 116), paddle=70, gone=[(5, 2), (5, 9)]))
    assert (metrics["ball.within_1px"], metrics["ball.within_2px"], metrics["ball.median_px"]) == (0, 1, 2)
    metrics = scores(breakout_picture(ball=(76, 116), paddle=70, gone=[(5, 2), (5, 9)]))
    assert (metrics["ball.vx_sign"], metrics["ball.vy_sign"]) == (0, 1)


def test_paddle_shifted_by_three():
    metrics = scores(breakout_picture(ball=(84, 116), paddle=73, gone=[(5, 2), (5, 9)]))
    assert metrics["paddle.within_1px"] == metrics["paddle.within_2px"] == 0
    assert metrics["paddle.median_px"] == 3
    assert metrics["paddle.iou"] == pytest.approx(13 / 19)
    assert metrics["ball.within_1px"] == 1


def test_a_brick_reappears():
    metrics = scores(breakout_picture(ball=(84, 116), paddle=70, gone=[(5, 9)]))
    assert metrics["bricks.back_share"] == 1
    assert metrics["bricks.state_accuracy"] == pytest.approx(107 / 108)
    assert metrics["bricks.vanish_recall"] == 1


def test_the_wrong_brick_vanishes():
    metrics = scores(breakout_picture(ball=(84, 116), paddle=70, gone=[(5, 2), (0, 0)]))
    assert metrics["bricks.vanish_precision"] == metrics["bricks.vanish_recall"] == 0
    assert metrics["bricks.state_accuracy"] == pytest.approx(106 / 108)
