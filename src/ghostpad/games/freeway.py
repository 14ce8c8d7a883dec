"""Freeway: truth from console memory, a detector for player and cars, events, and a scripted player.

The memory addresses were found by comparing memory with pixels; the tests compare them again. The row of the
player is exact; the console draws some cars one column beside where memory has them.

Dimensions: N frames, C colour channels (1 or 3), H W frame (210 × 160); 10 lanes, the top one first.
"""

from typing import ClassVar

import numpy as np

from ghostpad.games.base import Controlled, Game
from ghostpad.games.elements import Bar, GameState
from ghostpad.games.matching import BLACK, NOT_FOUND, find_bar, has_colors, likeness_to
from ghostpad.games.trajectories import first_of_two

HEIGHT, WIDTH = 210, 160
FIELD_LEFT, FIELD_TOP, FIELD_BOTTOM = 8, 16, 195
"""First column right of the margin; first row of the far pavement, and the first below the near one."""
LANES_TOP, LANE_HEIGHT, NUM_LANES = 24, 16, 10
PLAYER_COLUMNS, PLAYER_HEIGHT = slice(44, 51), 8
CAR_ROWS, CAR_WIDTH = slice(3, 13), 8
"""Rows of a car within its lane, the wheels included."""
DIVIDER_ROWS = [102, 104]
"""Rows of the dashes in the middle of the road, which have the player's colour."""
ROAD_RGB, PAVEMENT_RGB, PLAYER_RGB = (142, 142, 142), (170, 170, 170), (252, 252, 84)
CAR_RGB = (
    (167, 26, 26),
    (180, 231, 117),
    (105, 105, 15),
    (228, 111, 111),
    (24, 26, 167),
    (162, 98, 33),
    (84, 92, 214),
    (184, 50, 50),
    (135, 183, 84),
    (210, 210, 64),
)
_CROSSING_PX = HEIGHT // 2
"""A player who jumps down by more has reached the far pavement and starts again."""


class Crosser:
    """Walks up most of the time, else with a random control; each for a random time."""

    NOOP, UP, DOWN = range(3)

    def __init__(self, rng: np.random.Generator, frame_skip: int) -> None:
        self._rng = rng
        self._frame_skip = frame_skip
        self._steps_left, self._control = 0, self.UP

    def __call__(self, ram_128: np.ndarray) -> int:
        """Choose the control (0–2), without a look at the memory."""
        if self._steps_left == 0:
            goes_up = self._rng.random() < 0.6
            self._control = self.UP if goes_up else int(self._rng.choice((self.NOOP, self.UP, self.DOWN)))
            self._steps_left = max(1, int(self._rng.integers(8, 64)) // self._frame_skip)
        self._steps_left -= 1
        return self._control


class Freeway(Game):
    """The player, who crosses the road from below, and the ten cars."""

    name = "freeway"
    elements: ClassVar = {
        "player": Bar("player_y", "player_height"),
        "cars": Bar("car_x", "car_width"),
    }
    controlled = Controlled("player", "player_y")
    event_groups = ("player", "hit", "crossed")
    transfer_events = ("player_up", "player_down", "hit_car", "crossed_road")
    key_metrics: ClassVar = {"player_within_2px": "player.within_2px", "cars_within_2px": "cars.within_2px"}
    single_step_metrics = key_metrics
    scripted_player = Crosser

    def applies(self, frames_NCHW: np.ndarray) -> bool:
        """Whether both pavements, the road and the left margin have their colours."""
        regions = (
            (np.s_[:, :, FIELD_TOP + 1 : 22, FIELD_LEFT:], PAVEMENT_RGB),
            (np.s_[:, :, 187 : FIELD_BOTTOM - 1, FIELD_LEFT:], PAVEMENT_RGB),
            (np.s_[:, :, LANES_TOP : LANES_TOP + 3, FIELD_LEFT:], ROAD_RGB),
            (np.s_[:, :, FIELD_TOP:FIELD_BOTTOM, :FIELD_LEFT], BLACK),
        )
        return has_colors(frames_NCHW, (HEIGHT, WIDTH), regions)

    def truth_from_ram(self, ram_N128: np.ndarray) -> GameState:
        """True state.

        Returns:
            `player_y`, `player_height` int16 (N,): top row of the player, and its 8 rows; `car_x`,
            `car_width` int16 (N, 10): first column and number of columns of the visible part of each car, -1
            and 0 when none is; `pushed` int16 (N,): above 0 while a hit pushes the player back; `score` int16
            (N,).
        """
        values = ram_N128.astype(np.int16)
        # A car that leaves at one edge enters at the other; on the left the margin covers it.
        start = (values[:, 117:107:-1] - 3) % WIDTH
        left, right = np.maximum(start, FIELD_LEFT), np.minimum(start + CAR_WIDTH, WIDTH)
        width = np.maximum(right - left, 0)
        player_y, counter = 193 - values[:, 14], values[:, 106]
        # The counter runs while a hit pushes the player back, and with its highest bit set after a crossing.
        return {
            "player_y": player_y,
            "player_height": np.full_like(player_y, PLAYER_HEIGHT),
            "car_x": np.where(width > 0, left, NOT_FOUND).astype(np.int16),
            "car_width": width,
            "pushed": np.where(counter & 0x80, 0, counter & 0x3F),
            "score": (values[:, 103] >> 4) * 10 + (values[:, 103] & 0xF),
        }

    def detect(self, frames_NCHW: np.ndarray) -> GameState:
        """Player and cars, in the columns of the true state."""
        state = _find_cars(frames_NCHW)
        return state | _find_player(frames_NCHW, _in_player_columns(state))

    def events(self, state: GameState, stride: int) -> dict[str, np.ndarray]:
        """Motion of the player, hits and crossings."""
        now, then = slice(None, -stride), slice(stride, None)
        row, visible = state["player_y"].astype(int), state["player_y"] >= 0
        visible = visible[now] & visible[then]
        moved = np.where(visible, row[then] - row[now], 0)
        crossed = moved > _CROSSING_PX
        return {
            "player_up": moved < 0,
            "player_down": (moved > 0) & ~crossed,
            "player_still": (moved == 0) & visible,
            "hit_car": _hits(state, stride) & ~crossed,
            "crossed_road": crossed,
        }


def _find_cars(frames_NCHW: np.ndarray) -> GameState:
    """A car is not solid, but each of its columns has a pixel of its colour."""
    cars = []
    for lane, rgb in enumerate(CAR_RGB):
        top = LANES_TOP + lane * LANE_HEIGHT
        strip = frames_NCHW[:, :, top + CAR_ROWS.start : top + CAR_ROWS.stop, FIELD_LEFT:]
        profile = likeness_to(strip, rgb, ROAD_RGB).max(1)
        cars.append(find_bar(profile, (CAR_WIDTH,), 1, before_start=True))
    column, width = (np.stack(values, 1) for values in zip(*cars, strict=True))
    column = np.where(column >= 0, column + FIELD_LEFT, NOT_FOUND)
    return {"car_x": column.astype(np.int16), "car_width": width}


def _find_player(frames_NCHW: np.ndarray, covered_NL: np.ndarray) -> GameState:
    """Each row of the player has a pixel of its colour, unless a car in one of L lanes covers it."""
    strip = frames_NCHW[:, :, FIELD_TOP:FIELD_BOTTOM, PLAYER_COLUMNS]
    profile = likeness_to(strip, PLAYER_RGB, ROAD_RGB).max(2)
    # One half is no evidence, neither for the player nor against it.
    profile[:, np.array(DIVIDER_ROWS) - FIELD_TOP] = 0.5
    least = np.zeros((len(profile), NUM_LANES, LANE_HEIGHT), np.float32)
    least[:, :, CAR_ROWS] = 0.5 * covered_NL[:, :, None]
    lanes = slice(LANES_TOP - FIELD_TOP, LANES_TOP - FIELD_TOP + NUM_LANES * LANE_HEIGHT)
    profile[:, lanes] = np.maximum(profile[:, lanes], least.reshape(len(profile), -1))
    row, height = find_bar(profile, (PLAYER_HEIGHT,), PLAYER_HEIGHT)
    row = np.where(row >= 0, row + FIELD_TOP, NOT_FOUND)
    return {"player_y": row.astype(np.int16), "player_height": height}


def _in_player_columns(state: GameState) -> np.ndarray:
    """(N, 10) bool: which cars are in the columns of the player."""
    left, right = state["car_x"], state["car_x"] + state["car_width"]
    return (left >= 0) & (left < PLAYER_COLUMNS.stop) & (right > PLAYER_COLUMNS.start)


def _hits(state: GameState, stride: int) -> np.ndarray:
    """(N - stride,) bool: hits by memory; where it is unknown, where the player begins to touch a car."""
    now, then = slice(None, -stride), slice(stride, None)
    if "pushed" in state:
        return state["pushed"][then] > state["pushed"][now]
    player = state["player_y"][:, None]
    top = player - LANES_TOP - LANE_HEIGHT * np.arange(NUM_LANES)
    in_lane = (player >= 0) & (top < CAR_ROWS.stop) & (top + PLAYER_HEIGHT > CAR_ROWS.start)
    touches = np.asarray((in_lane & _in_player_columns(state)).any(1))
    return first_of_two(touches[then] & ~touches[now], stride)
