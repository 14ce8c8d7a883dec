"""Iterative decoding of a grid of codes, after MaskGIT.

The dynamics predict each cell's marginal. Where an object may go one of two ways, each cell alone says
"rather not here", and the likeliest codes of all cells show it nowhere. So confident cells are fixed first,
and the open ones are predicted again given these, as in MaskGIT (https://arxiv.org/abs/2202.04200) and in the
dynamics of Genie (https://arxiv.org/abs/2402.15391).

Dimensions: B batch, K codes, h w grid.
"""

import math
from typing import Any

import torch
from torch import Tensor

CONFIDENT = 0.9  # probability from which a code is fixed in the first pass
NUM_PASSES = 4  # passes over the cells that are still open after it


@torch.no_grad()
def decode(
    dynamics: Any,
    features: Tensor,
    buttons_B: Tensor,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Decode a grid of codes (B, h, w) int64 from the features of histories under one button each.

    `dynamics` are `Dynamics`. Temperature 0 takes the likeliest code of each cell, 1 draws from the predicted
    distribution.
    """
    codes, chance = _draw(dynamics.logits(features, buttons_B).float(), temperature, generator)
    given = torch.where(chance >= CONFIDENT, codes, dynamics.mask_code)
    num_open = (given == dynamics.mask_code).flatten(1).sum(1)
    for number in range(1, NUM_PASSES + 1):
        if not bool((given == dynamics.mask_code).any()):
            break
        logits = dynamics.logits(features, buttons_B, given).float()
        codes, chance = _draw(logits, temperature, generator)
        # So many cells may stay open after this pass; the most confident ones are fixed.
        num_left = num_open * (NUM_PASSES - number) // NUM_PASSES
        is_open = given == dynamics.mask_code
        doubt = torch.where(is_open, 1 - chance, -1.0).flatten(1)
        rank = doubt.sort(dim=1, descending=True, stable=True).indices.argsort(1).view_as(given)
        given = torch.where(is_open & (rank >= num_left[:, None, None]), codes, given)
    return given


def _draw(
    logits_BKhw: Tensor, temperature: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """A code for each cell (B, h, w), and its probability."""
    if not temperature:
        chance, codes = logits_BKhw.softmax(1).max(1)
        return codes, chance
    shares = (logits_BKhw / temperature).softmax(1)
    flat = shares.permute(0, 2, 3, 1).flatten(0, 2)
    codes = torch.multinomial(flat, 1, generator=generator)
    shape = (logits_BKhw.shape[0], *logits_BKhw.shape[2:])
    return codes.view(shape), flat.gather(1, codes).view(shape)


def randomly_masked(codes_Bhw: Tensor, mask_code: int) -> Tensor:
    """Codes for training: half of the grids wholly masked, of the others a random share of the cells given.

    The share is the cosine of a uniform number, as in MaskGIT.
    """
    batch = len(codes_Bhw)
    share_B = torch.rand(batch, device=codes_Bhw.device).mul(math.pi / 2).cos()
    share_B = share_B * (torch.arange(batch, device=codes_Bhw.device) % 2)
    is_given = torch.rand(codes_Bhw.shape, device=codes_Bhw.device) < share_B[:, None, None]
    return torch.where(is_given, codes_Bhw, mask_code)
