"""Breakout: a ball, a paddle, and a wall of 6 × 18 bricks."""

from ghostpad.games.breakout.game import Breakout

__all__ = ["Breakout"]
