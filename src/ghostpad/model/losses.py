"""The loss terms, each one named function.

Dimensions: B batch, P palette size, H W frame, N latents, K codebook size.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostpad.model.batch_statistics import num_processes, sum_over_processes


def palette_cross_entropy(logits_BPHW: Tensor, colors_BHW: Tensor) -> Tensor:
    """Mean cross-entropy (nats per pixel) of palette logits against palette indices."""
    return F.cross_entropy(logits_BPHW, colors_BHW)


def soft_assignment(distances_NK: Tensor) -> Tensor:
    """Softmax(−distance / temperature) over the codes, (N, K), with a temperature that fits the distances.

    The temperature is (mean − least distance) / ln K, averaged over the latents and without gradient. The
    nearest code then weighs about as much as all others together, whatever the scale of the latents: the
    softmax is neither uniform nor saturated and always has a gradient.
    """
    num_codes = distances_NK.shape[1]
    spread = (distances_NK.mean(1) - distances_NK.amin(1)).mean().detach()
    spread = sum_over_processes(spread) / num_processes()
    temperature = (spread / math.log(max(num_codes, 2))).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.softmax(-distances_NK / temperature, dim=1)


def assignment_entropy_loss(distances_NK: Tensor) -> Tensor:
    """1 − H(mean soft assignment) / ln K, in [0, 1]: 0 for uniform use of the codes, 1 for full collapse."""
    mean_K = sum_over_processes(soft_assignment(distances_NK).mean(0)) / num_processes()
    entropy = -(mean_K * mean_K.clamp_min(1e-12).log()).sum()
    return 1 - entropy / math.log(max(distances_NK.shape[1], 2))
