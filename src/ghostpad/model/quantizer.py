"""Vector quantization: latents to indices of a learned codebook.

Dimensions: D embedding, K codebook size, N latents.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.model.bottleneck import Quantized, Quantizer, QuantizerConfig, seeded_from, squared_distances
from ghostpad.model.losses import assignment_entropy_loss

__all__ = ["Quantized", "QuantizerConfig", "VectorQuantizer"]


class VectorQuantizer(Quantizer):
    """VQ with a straight-through estimator (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937)."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config, config.codebook_size)
        bound = 1 / config.codebook_size
        self.codebook = nn.Parameter(torch.empty(config.codebook_size, config.dim).uniform_(-bound, bound))

    def choose(self, latents_ND: Tensor) -> Tensor:
        """Index (N,) of the nearest code."""
        return squared_distances(latents_ND, self.codebook).argmin(1)

    def look_up(self, codes_N: Tensor) -> Tensor:
        """Rows (N, D) of the codebook."""
        return F.embedding(codes_N, self.codebook)

    def pass_through(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The gradient of the quantized latents goes straight on to the latents."""
        distances_NK = squared_distances(latents_ND, self.codebook)
        codes_N = distances_NK.argmin(1)
        quantized_ND = self.look_up(codes_N)
        terms = {
            "commitment": F.mse_loss(latents_ND, quantized_ND.detach()),
            "codebook": F.mse_loss(quantized_ND, latents_ND.detach()),
            "entropy": assignment_entropy_loss(distances_NK),
        }
        return latents_ND + (quantized_ND - latents_ND).detach(), codes_N, terms

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """Place the whole codebook on encoder outputs of the last batch and quantize from now on."""
        self.codebook.copy_(seeded_from(self.all_recent(), self.num_codes, None, generator))
        self.use_counts.zero_()
        self.set_quantizing(True)

    @torch.no_grad()
    def replace_unused(self, generator: torch.Generator) -> Tensor:
        """Move codes unused since the last call to outputs of the last batch; returns their indices."""
        unused = (self.use_counts == 0).nonzero().flatten()
        if len(unused):
            used_KD = self.codebook[self.use_counts > 0]
            self.codebook[unused] = seeded_from(self.all_recent(), len(unused), used_KD, generator)
        self.use_counts.zero_()
        return unused

    def forget(self, moved_K: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Clear the optimizer's moments of codes that were placed anew."""
        state = optimizer.state.get(self.codebook, {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                state[moment][moved_K] = 0
