"""The contract between encoder, quantizer and decoder: what every quantizer implements and inherits.

Dimensions: B batch, D embedding, h w grid, K codes, N = B·h·w latents.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from ghostpad.errors import UserError
from ghostpad.model.batch_statistics import gather_over_processes, sum_over_processes
from ghostpad.model.config import QuantizerConfig

# Labels store a cell's code in 16 bits.
MAX_CODES = 2**16


class Quantized(NamedTuple):
    """Output of a quantizer."""

    quantized: Tensor
    """(B, D, h, w), with a gradient for the latents"""
    codes: Tensor
    """(B, h, w) int64 in [0, K)"""
    loss: Tensor
    """() weighted sum of the terms"""
    terms: dict[str, Tensor]
    """unweighted loss terms () by name; empty during the warm-up"""


class Quantizer(nn.Module, ABC):
    """Turns latents into codes and back. A subclass implements `assign`, `lookup` and `quantize`.

    Each cell has one code, an integer in [0, K), even where several codebooks make it up, so that everything
    downstream sees one grid. A learned codebook also implements `initialize` and `reset_unused`: until
    `initialize` is called latents pass unquantized, so that the codebook starts from encoder outputs that
    already carry information. Computes in float32 whatever the autocast.
    """

    several_codebooks = False
    """Whether the kind supports `num_codebooks` > 1."""
    started: Tensor
    use_counts: Tensor

    def __init__(self, config: QuantizerConfig, num_codes: int) -> None:
        if config.num_codebooks != 1 and not self.several_codebooks:
            raise UserError(
                f"quantizer.kind {config.kind} has one codebook; use vq_ema or residual for several"
            )
        if num_codes > MAX_CODES:
            raise UserError(
                f"{num_codes} codes are more than {MAX_CODES}; choose a smaller quantizer.codebook_size"
            )
        super().__init__()
        self.config, self.num_codes = config, num_codes
        self.loss_weights = {
            "commitment": config.commitment_weight,
            "codebook": config.codebook_weight,
            "entropy": config.entropy_weight,
        }
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("use_counts", torch.zeros(num_codes, dtype=torch.int64))
        self.recent_latents: Tensor | None = None
        # The value of `started` as a bool: reading the buffer would synchronize with the GPU.
        self.quantizing = False
        self.register_load_state_dict_post_hook(_restore_quantizing)

    # -- what each kind implements ----------------------------------------------------------------------

    @abstractmethod
    def assign(self, latents_ND: Tensor) -> Tensor:
        """Codes (N,) of latents."""

    @abstractmethod
    def lookup(self, codes_N: Tensor) -> Tensor:
        """Vectors (N, D) of codes."""

    @abstractmethod
    def quantize(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Quantized latents (N, D) with a gradient for the latents, codes (N,), and unweighted loss terms."""

    def initialize(self, generator: torch.Generator) -> None:
        """Place the whole codebook on encoder outputs of the last batch and quantize from now on."""
        self.set_quantizing(True)

    def reset_unused(self, generator: torch.Generator) -> Tensor:
        """Move codes unused since the last call to outputs of the last batch; returns their indices."""
        self.use_counts.zero_()
        return torch.empty(0, dtype=torch.int64)

    def update_averages(self) -> None:
        """Apply the moving averages that the forward passes of this optimizer step have gathered."""

    def reset_moments(self, codes: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Clear the optimizer's moments of codes that were moved."""

    # -- what all share ---------------------------------------------------------------------------------

    def set_quantizing(self, quantizing: bool) -> None:
        """Quantize from now on, or let latents pass."""
        self.quantizing = quantizing
        self.started.fill_(quantizing)

    def all_recent_latents(self) -> Tensor:
        """Latents (processes·N, D) of the last batch."""
        assert self.recent_latents is not None, "no forward pass in training mode yet"
        return gather_over_processes(self.recent_latents)

    @property
    def codebook_vectors(self) -> Tensor:
        """The vector of every code: (K, D)."""
        return self.lookup(torch.arange(self.num_codes, device=self.use_counts.device)).detach()

    def nearest(self, latents_BDhw: Tensor) -> Tensor:
        """Codes (B, h, w) of latents, without any loss."""
        batch, _, h, w = latents_BDhw.shape
        return self.assign(rearrange(latents_BDhw.float(), "b d h w -> (b h w) d")).view(batch, h, w)

    def dequantize(self, codes_Bhw: Tensor) -> Tensor:
        """Vectors (B, D, h, w) of codes."""
        batch, h, w = codes_Bhw.shape
        return rearrange(self.lookup(codes_Bhw.flatten()), "(b h w) d -> b d h w", b=batch, h=h, w=w)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, latents_BDhw: Tensor) -> Quantized:
        """Quantize, with gradients for the latents."""
        latents_BDhw = latents_BDhw.float()
        batch, _, h, w = latents_BDhw.shape
        latents_ND = rearrange(latents_BDhw, "b d h w -> (b h w) d")
        quantized_ND, codes_N, terms = self.quantize(latents_ND)
        if self.training:
            self.recent_latents = latents_ND.detach().clone()
            counts_K = torch.zeros_like(self.use_counts).index_add_(0, codes_N, torch.ones_like(codes_N))
            self.use_counts += sum_over_processes(counts_K)
        codes_Bhw = codes_N.view(batch, h, w)
        loss = sum((self.loss_weights[name] * term for name, term in terms.items()), latents_ND.new_zeros(()))
        if not self.quantizing:
            # DistributedDataParallel needs a gradient for every weight at every step, if only zero.
            return Quantized(latents_BDhw, codes_Bhw, 0 * loss, {})
        quantized_BDhw = rearrange(quantized_ND, "(b h w) d -> b d h w", b=batch, h=h, w=w)
        return Quantized(quantized_BDhw, codes_Bhw, loss, terms)

    def after_step(
        self, step: int, num_steps: int, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> dict[str, float]:
        """Finish an optimizer step: update averages, initialize after the warm-up, reset unused codes.

        `step` of `num_steps` optimizer steps are done; the optimizer's moments of moved codes are cleared.

        Returns:
            `codes_reset`, the number of codes that were moved, when the codebook was initialized or reset.
        """
        config = self.config
        self.update_averages()
        if not self.quantizing:
            if step < config.warmup_steps:
                return {}
            self.initialize(generator)
            moved = torch.arange(self.num_codes)
        elif config.reset_every and step % config.reset_every == 0 and step <= config.reset_until * num_steps:
            moved = self.reset_unused(generator)
        else:
            return {}
        self.reset_moments(moved, optimizer)
        return {"codes_reset": float(len(moved))}


def _restore_quantizing(quantizer: Quantizer, incompatible_keys: object) -> None:
    """After weights were loaded, quantize if they come from a training that did."""
    quantizer.set_quantizing(bool(quantizer.started))


def squared_distances(latents_ND: Tensor, codebook_KD: Tensor) -> Tensor:
    """Squared Euclidean distances (N, K)."""
    squares = latents_ND.square().sum(1, keepdim=True) + codebook_KD.square().sum(1)
    return squares - 2 * latents_ND @ codebook_KD.T


def draw_spread(
    latents_ND: Tensor, num: int, existing_KD: Tensor | None, generator: torch.Generator
) -> Tensor:
    """Draw `num` latents (num, D), each with probability ∝ its squared distance to the nearest vector so far.

    This is the seeding of k-means++ (Arthur & Vassilvitskii 2007,
    https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf). With fewer than `num` latents, some are
    drawn twice.
    """
    if existing_KD is None or not len(existing_KD):
        distances_N = torch.ones(len(latents_ND), device=latents_ND.device)
    else:
        distances_N = torch.cdist(latents_ND, existing_KD).amin(1).square()
    chosen = []
    for _ in range(num):
        weights_N = distances_N.cpu().double() + 1e-12
        pick = int(torch.multinomial(weights_N, 1, generator=generator))
        chosen.append(latents_ND[pick])
        distances_N = torch.minimum(distances_N, (latents_ND - latents_ND[pick]).square().sum(1))
    return torch.stack(chosen)


def straight_through(latents_ND: Tensor, quantized_ND: Tensor) -> Tensor:
    """Quantized values with the gradient of the latents (Bengio et al. 2013, arxiv.org/abs/1308.3432)."""
    return latents_ND + (quantized_ND - latents_ND).detach()
