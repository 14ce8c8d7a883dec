"""How many buttons it takes to explain the codes.

Dimensions: T transitions, M buttons.
"""

from typing import Any

import numpy as np
from scipy.special import logsumexp

SUFFICIENT = 0.95  # share of the bits saved by the best number of buttons that fewer must save too
UNUSED_NLL = 1e6  # nats, under a button that is not in use


def mixture_bits(nll_TM: np.ndarray) -> float:
    """Bits per transition that the codes need under a uniform mixture of these buttons.

    −log₂ of the mean likelihood over the buttons, averaged over the transitions.
    """
    nll_TM = nll_TM.astype(np.float64)
    return float((np.log(nll_TM.shape[1]) - logsumexp(-nll_TM, axis=1)).mean() / np.log(2))


def buttons_needed(nll_TM: np.ndarray) -> dict[str, Any]:
    """Select buttons greedily: at each step the one that lowers `mixture_bits` of the nll (nats) most.

    A button that is of no help costs the bits to say that it was not held.

    Returns:
        `order` of the buttons, `bits` with the first 1, 2, … of them, and the `needed` number: the smallest
        that saves at least 95 % of what the best number saves over a single one.
    """
    order: list[int] = []
    bits: list[float] = []
    while len(order) < nll_TM.shape[1]:
        others = [button for button in range(nll_TM.shape[1]) if button not in order]
        costs = [mixture_bits(nll_TM[:, [*order, button]]) for button in others]
        order.append(others[int(np.argmin(costs))])
        bits.append(min(costs))
    saved = bits[0] - np.array(bits)
    needed = int(np.argmax(saved >= SUFFICIENT * saved.max())) + 1
    return {"order": order, "bits": bits, "needed": needed}
