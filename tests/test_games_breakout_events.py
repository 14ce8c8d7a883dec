"""Events of Breakout on known trajectories."""

import numpy as np

from ghostpad.games.breakout import events as breakout_events


def table(ball, paddle=None, bricks=None, **more) -> dict[str, np.ndarray]:
    """Columns of an episode from a list of ball places (None: no ball)."""
    places = [(-1, -1) if place is None else place for place in ball]
    num = len(places)
    return {
        "ball_x": np.array([x for x, _ in places], np.int16),
        "ball_y": np.array([y for _, y in places], np.int16),
        "paddle_x": np.array(paddle if paddle is not None else [60] * num, np.int16),
        "bricks": np.ones((num, 6, 18), bool) if bricks is None else bricks,
        **more,
    }


def when(columns, name) -> list[int]:
    return np.flatnonzero(columns[name]).tolist()


def test_bounces_happen_once_where_the_ball_turns():
    path = [(50, 171), (54, 177), (58, 183), (62, 181), (66, 175), (70, 169)]
    columns = breakout_events.events(table(path), 1)
    assert when(columns, "bounce_paddle") == [2]
    assert not columns["bounce_wall"].any()
    path = [(21, 120), (15, 124), (9, 128), (9, 132), (15, 136), (21, 140)]
    assert when(breakout_events.events(table(path), 1), "bounce_wall") == [2]
    path = [(50, 44), (52, 38), (54, 34), (56, 40), (58, 46), (60, 52)]
    assert when(breakout_events.events(table(path), 1), "bounce_wall") == [2]


def test_a_bounce_at_the_moment_of_a_frame_belongs_to_the_transition_after():
    path = [(119, 178), (123, 184), (127, 190), (121, 186), (115, 182), (109, 178)]
    assert when(breakout_events.events(table(path), 1), "bounce_paddle") == [2]


def test_a_bounce_within_a_transition_is_counted_there_only():
    path = [(9, 175), (13, 181), (17, 184), (19, 176), (21, 168), (23, 160)]
    assert when(breakout_events.events(table(path), 1), "bounce_paddle") == [1]


def test_a_ball_that_flies_on_or_is_lost_does_not_bounce():
    path = [(50, 171), (54, 177), (58, 183), (62, 189), (66, 195), None, None]
    columns = breakout_events.events(table(path), 1)
    assert not columns["bounce_paddle"].any()
    assert when(columns, "life_lost") == [4]


def test_launch_and_lives():
    path = [None, None, (75, 125), (71, 129), None]
    columns = breakout_events.events(table(path, lives=np.array([5, 5, 5, 5, 4])), 1)
    assert when(columns, "ball_launched") == [1]
    assert when(columns, "life_lost") == [3]


def test_paddle_and_bricks():
    bricks = np.ones((5, 6, 18), bool)
    bricks[3:, 5, 4] = False
    path = [(50, 106), (52, 100), (54, 94), (56, 97), (58, 103)]
    columns = breakout_events.events(table(path, [60, 60, 70, 66, 66], bricks), 1)
    assert when(columns, "paddle_right") == [1]
    assert when(columns, "paddle_left") == [2]
    assert when(columns, "paddle_still") == [0, 3]
    assert when(columns, "brick_broken") == when(columns, "bounce_brick") == [2]


def test_a_stride_of_two_compares_frames_two_apart():
    columns = breakout_events.events(table([(50, 100)] * 6, [60, 60, 64, 64, 64, 64]), 2)
    assert len(columns["paddle_right"]) == 4
    assert when(columns, "paddle_right") == [0, 1]


def test_turns_of_the_ball_in_recorded_play_are_all_explained(store):
    for episode in range(len(store.episodes)):
        truth = store.truth(episode)
        columns = breakout_events.events(truth, 1)
        why = columns["bounce_paddle"] | columns["bounce_wall"] | columns["brick_broken"]
        y, there = truth["ball_y"].astype(int), truth["ball_y"] >= 0
        for t in range(2, len(y) - 3):
            if there[t - 1 : t + 3].all() and (y[t] - y[t - 1]) * (y[t + 1] - y[t]) < 0:
                assert why[t - 2 : t + 2].any(), (episode, t)
