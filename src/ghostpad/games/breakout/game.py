"""What Ghostpad knows about Breakout."""

from typing import ClassVar

import numpy as np

from ghostpad.games.base import Controlled, Game, RolloutStates
from ghostpad.games.breakout import detector, events, memory, rollouts
from ghostpad.games.breakout.player import Tracker
from ghostpad.games.breakout.scoreboard import BreakoutScoreboard
from ghostpad.games.elements import Bar, GameState, Sprite, Tiles
from ghostpad.sums import Sums


class Breakout(Game):
    """All parts of the protocol."""

    name = "breakout"
    elements: ClassVar = {
        "ball": Sprite("ball_x", "ball_y", "num_balls"),
        "paddle": Bar("paddle_x", "paddle_width"),
        "bricks": Tiles("bricks"),
    }
    controlled = Controlled("paddle", "paddle_x")
    event_groups = ("paddle", "bounce", "brick")
    transfer_events = ("paddle_left", "paddle_right", "bounce_paddle", "brick_broken")
    key_metrics: ClassVar = {
        "ball_within_2px": "ball.within_2px",
        "paddle_within_2px": "paddle.within_2px",
        "state_accuracy": "bricks.state_accuracy",
    }
    single_step_metrics: ClassVar = {
        "ball_within_2px": "ball.within_2px",
        "paddle_within_1px": "paddle.within_1px",
    }
    scripted_player = Tracker
    min_lives_at_start = 3
    rollout_metrics: ClassVar = rollouts.METRICS

    def applies(self, frames_NCHW: np.ndarray) -> bool:
        """Whether the walls are where they belong."""
        return detector.applies(frames_NCHW)

    def truth_from_ram(self, ram_N128: np.ndarray) -> GameState:
        """See `memory.truth_from_ram` for the columns."""
        return memory.truth_from_ram(ram_N128)

    def detect(self, frames_NCHW: np.ndarray) -> GameState:
        """See `detector.detect` for the columns."""
        return detector.detect(frames_NCHW)

    def detectable(self, element: str, true: GameState) -> np.ndarray | None:
        """The ball only where bricks and paddle leave half of it visible."""
        return detector.ball_visible(true) if element == "ball" else None

    def events(self, state: GameState, stride: int) -> dict[str, np.ndarray]:
        """Motion of the paddle, bounces, bricks broken, balls launched and lost."""
        return events.events(state, stride)

    def scoreboard(self, num_games: int) -> BreakoutScoreboard:
        """Points by the bricks that vanish, lives by the balls that are lost."""
        return BreakoutScoreboard(num_games)

    def score_rollouts(self, states: RolloutStates) -> Sums:
        """Paddle, ball and bricks of imagined frames against the emulator's."""
        return rollouts.score_rollouts(states)

    def summarize_rollouts(self, sums: Sums) -> Sums:
        """The numbers of `rollout_metrics`."""
        return rollouts.summarize_rollouts(sums)
