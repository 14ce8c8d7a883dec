"""Which episodes train, validate and test: drawn by a seed, and never moved by episodes that are added
later.
"""

import numpy as np

from ghostpad.errors import UserError

SPLITS = ("train", "validation", "test")
MIN_EPISODES = 3
_BLOCK = 10


def assign_splits(num_episodes: int, seed: int = 0) -> list[str]:
    """Draw 80 % train, 10 % validation, 10 % test, in blocks of ten episodes in natural order.

    Each block gives one episode to validation and one to test. In the first block they are among the first
    three, so
    that three episodes suffice; an episode's split depends on the seed and its position only, so that
    episodes added
    at the end move none.

    Raises:
        UserError: there are fewer than three episodes.
    """
    if num_episodes < MIN_EPISODES:
        raise UserError(too_few(num_episodes))
    splits = []
    for block in range(-(-num_episodes // _BLOCK)):
        rng = np.random.default_rng(np.random.SeedSequence([seed, block]))
        validation, test = rng.choice(MIN_EPISODES if block == 0 else _BLOCK, size=2, replace=False)
        splits += [
            "validation" if position == validation else "test" if position == test else "train"
            for position in range(_BLOCK)
        ]
    return splits[:num_episodes]


def too_few(num_episodes: int) -> str:
    """Say what is wrong with fewer than three episodes."""
    have = "1 episode" if num_episodes == 1 else f"{num_episodes} episodes"
    return f"{have}, but train, validation and test need one each: record or add at least {MIN_EPISODES}"
