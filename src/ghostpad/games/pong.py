"""Pong: truth from console memory, a detector for ball and paddles, and events.

The memory addresses were found by comparing memory with pixels; the tests compare them again. Places are
exact to one pixel: the console draws some lines one lower than memory has them.

Dimensions: N frames, C colour channels (1 or 3), H W frame (210 × 160).
"""

from typing import ClassVar

import numpy as np

from ghostpad.games.base import Controlled, Game
from ghostpad.games.elements import Bar, GameState, Sprite
from ghostpad.games.matching import NOT_FOUND, find_bar, find_box, has_colors, likeness_to
from ghostpad.games.trajectories import first_of_two, turn

HEIGHT, WIDTH = 210, 160
FIELD_TOP, FIELD_BOTTOM = 34, 194
"""First row of the playing field and the first below it."""
BALL_WIDTH, BALL_HEIGHT = 2, 4
PADDLE_HEIGHT = 16
OPPONENT_LEFT, PADDLE_LEFT, PADDLE_WIDTH = 16, 140, 4
GROUND_RGB, WALL_RGB, BALL_RGB = (144, 72, 17), (236, 236, 236), (236, 236, 236)
PADDLE_RGB, OPPONENT_RGB = (92, 186, 92), (213, 130, 74)
_MIN_ROWS = 2
"""Rows of a paddle that must be inside the field."""


class Pong(Game):
    """Ball, the player's paddle on the right, and the opponent's on the left."""

    name = "pong"
    elements: ClassVar = {
        "ball": Sprite("ball_x", "ball_y", "num_balls"),
        "paddle": Bar("paddle_y", "paddle_height"),
        "opponent": Bar("opponent_y", "opponent_height"),
    }
    controlled = Controlled("paddle", "paddle_y")
    event_groups = ("paddle", "bounce")
    transfer_events = ("paddle_up", "paddle_down", "bounce_paddle")
    key_metrics: ClassVar = {"ball_within_2px": "ball.within_2px", "paddle_within_2px": "paddle.within_2px"}
    single_step_metrics: ClassVar = {
        "ball_within_2px": "ball.within_2px",
        "paddle_within_1px": "paddle.within_1px",
    }

    def applies(self, frames_NCHW: np.ndarray) -> bool:
        """Whether walls and ground have their colours."""
        regions = (
            (np.s_[:, :, 25:33], WALL_RGB),
            (np.s_[:, :, 196:208], WALL_RGB),
            (np.s_[:, :, 36:192, 30:130], GROUND_RGB),
        )
        return has_colors(frames_NCHW, (HEIGHT, WIDTH), regions)

    def truth_from_ram(self, ram_N128: np.ndarray) -> GameState:
        """True state.

        Returns:
            `ball_x`, `ball_y` int16 (N,): top-left pixel of the 2×4 ball, -1 when no part of it is in the
            field; `paddle_y`, `paddle_height`, `opponent_y`, `opponent_height` int16 (N,): first row and
            number of rows of the part of each paddle that is in the field, -1 and 0 when none is; `score`,
            `opponent_score` int16 (N,).
        """
        values = ram_N128.astype(np.int16)
        ball_x, ball_y = values[:, 49] - 49, values[:, 54] - 14
        # Between points the ball rests at column 0 or right of the field, and its row is 0.
        visible = (values[:, 54] != 0) & (values[:, 49] != 0) & (ball_y > FIELD_TOP - BALL_HEIGHT)
        truth = {
            "ball_x": np.where(visible, ball_x, NOT_FOUND).astype(np.int16),
            "ball_y": np.where(visible, ball_y, NOT_FOUND).astype(np.int16),
            "score": values[:, 14],
            "opponent_score": values[:, 13],
        }
        for name, row in (("paddle", values[:, 51] - 13), ("opponent", values[:, 50] - 15)):
            top, bottom = np.maximum(row, FIELD_TOP), np.minimum(row + PADDLE_HEIGHT, FIELD_BOTTOM)
            height = np.maximum(bottom - top, 0).astype(np.int16)
            truth[f"{name}_y"] = np.where(height > 0, top, NOT_FOUND).astype(np.int16)
            truth[f"{name}_height"] = height
        return truth

    def detect(self, frames_NCHW: np.ndarray) -> GameState:
        """Ball and paddles, in the columns of the true state; of the ball also `ball_pixels`, `num_balls`."""
        field = frames_NCHW[:, :, FIELD_TOP:FIELD_BOTTOM]
        boxes = find_box(likeness_to(field, BALL_RGB, GROUND_RGB), (BALL_HEIGHT, BALL_WIDTH))
        state = boxes.columns("ball", 0, FIELD_TOP)
        for name, left, rgb in (
            ("paddle", PADDLE_LEFT, PADDLE_RGB),
            ("opponent", OPPONENT_LEFT, OPPONENT_RGB),
        ):
            bar = field[:, :, :, left : left + PADDLE_WIDTH]
            profile = likeness_to(bar, rgb, GROUND_RGB).mean(2)
            row, height = find_bar(profile, (PADDLE_HEIGHT,), _MIN_ROWS, before_start=True)
            state[f"{name}_y"] = np.where(row >= 0, row + FIELD_TOP, row).astype(np.int16)
            state[f"{name}_height"] = height
        return state

    def detectable(self, element: str, true: GameState) -> np.ndarray | None:
        """The ball where there is one."""
        return true["ball_x"] >= 0 if element == "ball" else None

    def events(self, state: GameState, stride: int) -> dict[str, np.ndarray]:
        """Motion of the paddle, bounces, launches and points."""
        now, then = slice(None, -stride), slice(stride, None)
        visible = (state["paddle_y"][now] >= 0) & (state["paddle_y"][then] >= 0)
        # A paddle that is partly outside moves only by the end that is inside.
        start = state["paddle_y"].astype(int)
        end = start + state["paddle_height"]
        moved = np.where(visible, np.sign(start[then] - start[now] + end[then] - end[now]), 0)
        there, column = state["ball_x"] >= 0, state["ball_x"][now]
        turns_x, past_x, _ = turn(state["ball_x"].astype(int), there, stride)
        turns_y, past_y, _ = turn(state["ball_y"].astype(int), there, stride)
        vanishes = there[now] & ~there[then]
        return {
            "paddle_up": moved < 0,
            "paddle_down": moved > 0,
            "paddle_still": (moved == 0) & visible,
            "bounce_paddle": first_of_two((turns_x < 0) & (past_x > PADDLE_LEFT - BALL_WIDTH), stride),
            "bounce_opponent": first_of_two((turns_x > 0) & (past_x < OPPONENT_LEFT + PADDLE_WIDTH), stride),
            "bounce_wall": first_of_two((turns_y > 0) & (past_y < FIELD_TOP), stride)
            | first_of_two((turns_y < 0) & (past_y > FIELD_BOTTOM - BALL_HEIGHT), stride),
            "ball_launched": ~there[now] & there[then],
            "point_won": vanishes & (column < WIDTH // 2),
            "point_lost": vanishes & (column >= WIDTH // 2),
        }
