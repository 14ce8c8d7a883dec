"""Bounces: turns of a trajectory along one axis.

Dimensions: N frames of one episode.
"""

import numpy as np


def turn(position: np.ndarray, visible: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turns in each transition, from the positions (N,) and where they are known, (N,) bool.

    Returns:
        (N - stride,) each: the direction after a turn (0: none); the position without a turn; and whether the
        direction after the transition is opposite to that before it, be the turn in it or beside it.
    """
    num = len(position) - stride
    turned, past = np.zeros(num, int), np.zeros(num, int)
    inner = np.arange(stride, num - stride)
    before = position[inner] - position[inner - stride]
    after = position[inner + 2 * stride] - position[inner + stride]
    known = np.all([visible[inner + offset * stride] for offset in (-1, 0, 1, 2)], axis=0)
    constant = position[inner + stride] - position[inner] == before
    around = np.zeros(num, bool)
    around[inner] = known & (np.sign(before) * np.sign(after) < 0)
    turned[inner] = np.where(around[inner] & ~constant, np.sign(after), 0)
    past[inner] = position[inner] + before
    return turned, past, around


def first_of_two(happens: np.ndarray, stride: int) -> np.ndarray:
    """The first of two adjacent events: a turn within a transition also changes the speed of the next."""
    happens = happens.copy()
    happens[stride:] &= ~happens[:-stride]
    return happens
