"""Vector quantization: latents to indices of a learned codebook.

Dimensions: B batch, D embedding, h w grid, K codebook size, N = B·h·w latents.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ghostpad.model.losses import assignment_entropy_loss
from ghostpad.model.normalization import gathered_from_processes, sum_over_processes


@dataclass(frozen=True)
class QuantizerConfig:
    """The codebook; the defaults are those of the text (part 2)."""

    codebook_size: int = 256
    """number of codes"""
    dim: int = 128
    """embedding dimension of a code"""
    commitment_weight: float = 0.25
    """weight of the commitment loss"""
    codebook_weight: float = 1.0
    """weight of the codebook loss"""
    entropy_weight: float = 0.1
    """weight of the entropy regularization of the mean assignment"""
    warmup_steps: int = 60
    """steps without quantizing before the codebook is started from encoder outputs"""
    reset_every: int = 10_000
    """steps between moves of unused codes to encoder outputs; 0 for never"""
    reset_until: float = 0.8
    """share of the training after which codes are no longer moved"""


@dataclass(frozen=True)
class Quantized:
    """What every quantizer gives: `quantized` (B, D, h, w), `codes` (B, h, w), `loss` () and its `terms`."""

    quantized: Tensor
    codes: Tensor
    loss: Tensor
    terms: dict[str, Tensor]


class VectorQuantizer(nn.Module):
    """VQ with a straight-through estimator (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937).

    Until `start` is called latents pass unquantized, so that the codebook can be started from encoder outputs
    that already mean something. Works in float32 whatever the autocast.
    """

    started: Tensor
    use_counts: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        bound = 1 / config.codebook_size
        self.codebook = nn.Parameter(torch.empty(config.codebook_size, config.dim).uniform_(-bound, bound))
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("use_counts", torch.zeros(config.codebook_size, dtype=torch.int64))
        self.recent_latents: Tensor | None = None
        # The same as `started`, where asking costs no wait for the device.
        self.quantizing = False
        self.register_load_state_dict_post_hook(lambda module, _: module.set_quantizing(bool(module.started)))

    def set_quantizing(self, quantizing: bool) -> None:
        """Quantize from now on, or let latents pass."""
        self.quantizing = quantizing
        self.started.fill_(quantizing)

    def distances(self, latents_ND: Tensor) -> Tensor:
        """Squared Euclidean distances (N, K) to every code."""
        squares = latents_ND.square().sum(1, keepdim=True) + self.codebook.square().sum(1)
        return squares - 2 * latents_ND @ self.codebook.T

    def nearest(self, latents_BDhw: Tensor) -> Tensor:
        """Codes (B, h, w) of latents, without any loss."""
        batch, _, h, w = latents_BDhw.shape
        flat_ND = rearrange(latents_BDhw.float(), "b d h w -> (b h w) d")
        return self.distances(flat_ND).argmin(1).view(batch, h, w)

    def embed(self, codes_Bhw: Tensor) -> Tensor:
        """Codebook vectors (B, D, h, w) of codes."""
        return rearrange(F.embedding(codes_Bhw, self.codebook), "b h w d -> b d h w")

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, latents_BDhw: Tensor) -> Quantized:
        """Quantize; gradients pass straight through to the latents."""
        latents_BDhw = latents_BDhw.float()
        flat_ND = rearrange(latents_BDhw, "b d h w -> (b h w) d")
        distances_NK = self.distances(flat_ND)
        codes_N = distances_NK.argmin(1)
        batch, _, h, w = latents_BDhw.shape
        codes_Bhw = codes_N.view(batch, h, w)
        if self.training:
            self.recent_latents = flat_ND.detach().clone()
            self.use_counts.index_add_(0, codes_N, torch.ones_like(codes_N))
        if not self.quantizing:
            zero = latents_BDhw.new_zeros(())
            return Quantized(latents_BDhw, codes_Bhw, zero, {})
        quantized_BDhw = self.embed(codes_Bhw)
        config = self.config
        terms = {
            "commitment": F.mse_loss(latents_BDhw, quantized_BDhw.detach()),
            "codebook": F.mse_loss(quantized_BDhw, latents_BDhw.detach()),
            "entropy": assignment_entropy_loss(distances_NK),
        }
        weights = (config.commitment_weight, config.codebook_weight, config.entropy_weight)
        loss = torch.stack([w * t for w, t in zip(weights, terms.values(), strict=True)]).sum()
        straight_through = latents_BDhw + (quantized_BDhw - latents_BDhw).detach()
        return Quantized(straight_through, codes_Bhw, loss, terms)

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """Place the whole codebook on encoder outputs of the last batch and quantize from now on."""
        self.codebook.copy_(self._spread(self.config.codebook_size, None, generator))
        self.use_counts.zero_()
        self.set_quantizing(True)

    @torch.no_grad()
    def replace_unused(self, generator: torch.Generator) -> Tensor:
        """Move codes unused since the last call to outputs of the last batch; returns their indices."""
        counts = sum_over_processes(self.use_counts)
        unused = (counts == 0).nonzero().flatten()
        if len(unused):
            used_KD = self.codebook[counts > 0]
            self.codebook[unused] = self._spread(len(unused), used_KD if len(used_KD) else None, generator)
        self.use_counts.zero_()
        return unused

    def _spread(self, num: int, existing_KD: Tensor | None, generator: torch.Generator) -> Tensor:
        """Draw `num` outputs, each with probability ∝ its squared distance to the nearest code so far.

        This is the seeding of k-means++ (Arthur & Vassilvitskii 2007).
        """
        assert self.recent_latents is not None, "no forward pass in training mode yet"
        latents_ND = gathered_from_processes(self.recent_latents)
        if existing_KD is None:
            far_N = torch.ones(len(latents_ND), device=latents_ND.device)
        else:
            far_N = torch.cdist(latents_ND, existing_KD).amin(1).square()
        chosen = []
        for _ in range(num):
            weights = far_N.cpu().double() + 1e-12
            pick = int(torch.multinomial(weights, 1, generator=generator))
            chosen.append(latents_ND[pick])
            far_N = torch.minimum(far_N, (latents_ND - latents_ND[pick]).square().sum(1))
        return torch.stack(chosen)
