"""How many buttons are needed to explain the codes.

Dimensions: T transitions, M buttons.
"""

from typing import Any

import numpy as np
import torch

ENOUGH = 0.95
NEVER = 1e6
"""Surprise (nats) under a button that is not in use."""


def mixed_bits(surprise_TM: np.ndarray) -> float:
    """Bits per transition that the codes need when one of these buttons is held, each equally often.

    −log₂ of the mean likelihood over the buttons, averaged over the transitions.
    """
    surprise = torch.from_numpy(surprise_TM).double()
    likelihood = torch.logsumexp(-surprise, 1) - np.log(surprise.shape[1])
    return float(-likelihood.mean() / np.log(2))


def buttons_needed(surprise_TM: np.ndarray) -> dict[str, Any]:
    """How many buttons it takes to explain the codes.

    Starting from the button that explains most alone, the one that helps most is added until all are in. Each
    step says how many bits per transition the codes then need; a button that is of no help costs the bits to
    say that it was not held.

    Returns:
        `order` of the buttons, `bits` with the first 1, 2, … of them, and the `needed` number: the smallest
        that saves at least 95 % of what the best number saves over a single one.
    """
    order: list[int] = []
    bits: list[float] = []
    while len(order) < surprise_TM.shape[1]:
        rest = [button for button in range(surprise_TM.shape[1]) if button not in order]
        costs = [mixed_bits(surprise_TM[:, [*order, button]]) for button in rest]
        order.append(rest[int(np.argmin(costs))])
        bits.append(min(costs))
    saved = bits[0] - np.array(bits)
    needed = int(np.argmax(saved >= ENOUGH * saved.max())) + 1
    return {"order": order, "bits": bits, "needed": needed}
