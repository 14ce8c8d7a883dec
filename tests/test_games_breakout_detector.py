"""The detector of Breakout: drawn pictures, blurred ones, and the emulator's memory."""

import numpy as np
import pytest

from ghostpad.games.breakout import detector as breakout
from known_models import breakout_picture


def found(picture) -> dict:
    return {name: column[0] for name, column in breakout.detect(picture).items()}


@pytest.mark.parametrize("ball", [(8, 32), (80, 120), (150, 100), (33, 187), (100, 53)])
def test_ball_is_found_where_it_is(ball):
    result = found(breakout_picture(ball=ball, paddle=100))
    assert (result["ball_x"], result["ball_y"]) == ball
    assert result["num_balls"] == 1


def test_ball_among_the_bricks_has_their_color():
    result = found(breakout_picture(ball=(81, 88), gone=[(5, 9), (4, 9)]))
    assert (result["ball_x"], result["ball_y"]) == (81, 88)


def test_ball_among_the_bricks_is_blue_among_the_blue_ones():
    gray = breakout_picture(ball=(81, 88), gone=[(5, 9), (4, 9)])[0, 0]
    colors = np.zeros((256, 3), np.uint8)
    colors[[142, 110, 85]] = (142, 142, 142), (200, 72, 72), (66, 72, 200)
    colors[[129, 131, 148, 124]] = breakout.BRICK_RGB[1:5]
    result = found(colors[gray].transpose(2, 0, 1)[None])
    assert (result["ball_x"], result["ball_y"], result["num_balls"]) == (81, 88, 1)


def test_a_shadow_is_no_ball():
    empty, full = breakout_picture(ball=None) / 255, breakout_picture() / 255
    assert found((0.6 * empty + 0.4 * full).astype(np.float32))["num_balls"] == 0
    assert found((0.2 * empty + 0.8 * full).astype(np.float32))["num_balls"] == 1


def test_ball_half_behind_a_brick_is_placed_by_what_is_seen():
    result = found(breakout_picture(ball=(80, 91)))
    assert (result["ball_x"], result["ball_y"], result["ball_pixels"]) == (80, 91, 4)


def test_no_ball_and_two_balls():
    assert found(breakout_picture(ball=None))["num_balls"] == 0
    assert found(breakout_picture(ball=None))["ball_x"] == breakout.NOT_FOUND
    two = np.maximum(breakout_picture(ball=(80, 120)), breakout_picture(ball=(30, 150)))
    assert found(two)["num_balls"] == 2


@pytest.mark.parametrize(("paddle", "width"), [(8, 16), (77, 16), (136, 16), (40, 8), (144, 16)])
def test_paddle_is_found_where_it_is(paddle, width):
    result = found(breakout_picture(paddle=paddle, width=width))
    assert (result["paddle_x"], result["paddle_width"]) == (paddle, min(width, 152 - paddle))


def test_bricks_that_are_gone():
    gone = [(0, 0), (3, 7), (5, 17)]
    bricks = found(breakout_picture(gone=gone))["bricks"]
    assert sorted(map(tuple, np.argwhere(~bricks).tolist())) == gone


def test_blur_and_noise_move_nothing_by_more_than_a_pixel():
    picture = breakout_picture(ball=(80, 120), paddle=61, gone=[(5, 3)])[0, 0].astype(np.float32) / 255
    blurred = picture.copy()
    blurred[1:-1, 1:-1] = 0.8 * picture[1:-1, 1:-1] + 0.05 * (
        picture[:-2, 1:-1] + picture[2:, 1:-1] + picture[1:-1, :-2] + picture[1:-1, 2:]
    )
    blurred += np.random.default_rng(0).normal(0, 0.02, blurred.shape).astype(np.float32)
    result = found(np.clip(blurred, 0, 1)[None, None])
    assert abs(result["ball_x"] - 80) <= 1
    assert abs(result["ball_y"] - 120) <= 1
    assert abs(result["paddle_x"] - 61) <= 1
    assert (~result["bricks"]).sum() == 1


def test_pictures_of_breakout_are_known_from_others():
    assert breakout.applies(breakout_picture())
    assert not breakout.applies(np.zeros((2, 1, 210, 160), np.uint8))
    assert not breakout.applies(np.zeros((2, 1, 84, 84), np.uint8))


@pytest.mark.parametrize("grayscale", [True, False])
def test_detector_agrees_with_memory(store, grayscale):
    num_balls = 0
    for episode in range(len(store.episodes)):
        truth = store.truth(episode)
        found = breakout.detect(store.read(episode, np.arange(store.episodes[episode].num_frames), grayscale))
        assert (found["bricks"] == truth["bricks"]).all()
        assert np.abs(found["paddle_x"] - truth["paddle_x"]).max() <= 1
        clear = (
            (truth["ball_y"] >= 93)
            & (truth["ball_y"] < 185)
            & (truth["ball_x"] > 8)
            & (truth["ball_x"] < 150)
        )
        num_balls += clear.sum()
        assert np.abs(found["ball_x"] - truth["ball_x"])[clear].max(initial=0) <= 1
        assert np.abs(found["ball_y"] - truth["ball_y"])[clear].max(initial=0) <= 1
        assert (found["num_balls"][truth["ball_x"] < 0] == 0).all()
    assert num_balls > 20
