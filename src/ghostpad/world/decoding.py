"""Codes of a grid that agree with one another, from logits that know of each cell alone.

Where a ball may go one way or another, each cell by itself says "rather not here", and the likeliest codes of
all cells draw no ball at all. So cells that are sure are decided first, and the others are asked again with
these told, as in MaskGIT (Chang et al. 2022, https://arxiv.org/abs/2202.04200) and the dynamics of Genie
(https://arxiv.org/abs/2402.15391).

Dimensions: B batch, K codes, h w grid.
"""

import math

import torch
from torch import Tensor

from ghostpad.world.dynamics import Dynamics

SURE, MOST_LOOKS = 0.9, 4
"""Probability from which a code is decided at the first look; looks at what is left after that."""


@torch.no_grad()
def decide(
    dynamics: Dynamics,
    features_BFhw: Tensor,
    buttons_B: Tensor,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Decide on a grid of codes (B, h, w) int64.

    Args:
        dynamics: that predict them.
        features_BFhw: see `Dynamics.features`.
        buttons_B: the buttons that are held.
        temperature: 0 takes the likeliest code of each cell at its turn, 1 samples as often as is expected.
        generator: of the draws.
    """
    logits = dynamics.logits(features_BFhw, buttons_B).float()
    codes, chance = _draw(logits, temperature, generator)
    told = torch.where(chance >= SURE, codes, dynamics.untold)
    num_open = (told == dynamics.untold).flatten(1).sum(1)
    for look in range(1, MOST_LOOKS + 1):
        if not bool((told == dynamics.untold).any()):
            break
        codes, chance = _draw(dynamics.logits(features_BFhw, buttons_B, told).float(), temperature, generator)
        # Of those that were open, so many may be so after this look; the surest are decided.
        left = num_open * (MOST_LOOKS - look) // MOST_LOOKS
        still = told == dynamics.untold
        doubt = torch.where(still, 1 - chance, -1.0).flatten(1)
        rank = doubt.sort(dim=1, descending=True, stable=True).indices.argsort(1).view_as(told)
        told = torch.where(still & (rank >= left[:, None, None]), codes, told)
    return told


def _draw(
    logits_BKhw: Tensor, temperature: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """A code for each cell (B, h, w), and how likely it is."""
    if not temperature:
        chance, codes = logits_BKhw.softmax(1).max(1)
        return codes, chance
    shares = (logits_BKhw / temperature).softmax(1)
    flat = shares.permute(0, 2, 3, 1).flatten(0, 2)
    codes = torch.multinomial(flat, 1, generator=generator)
    shape = (logits_BKhw.shape[0], *logits_BKhw.shape[2:])
    return codes.view(shape), flat.gather(1, codes).view(shape)


def partly_told(codes_Bhw: Tensor, untold: int) -> Tensor:
    """For training: nothing of half of the grids, and of the others a random share of the cells.

    The share follows a cosine of a uniform number, as in MaskGIT: mostly little is left open.
    """
    batch = len(codes_Bhw)
    share_B = torch.rand(batch, device=codes_Bhw.device).mul(math.pi / 2).cos()
    share_B = share_B * (torch.arange(batch, device=codes_Bhw.device) % 2)
    tells = torch.rand(codes_Bhw.shape, device=codes_Bhw.device) < share_B[:, None, None]
    return torch.where(tells, codes_Bhw, untold)
