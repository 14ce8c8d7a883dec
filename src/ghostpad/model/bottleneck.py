"""What every quantizer between encoder and decoder has in common.

Dimensions: B batch, D embedding, h w grid, K codes, N = B·h·w latents.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from ghostpad.model.normalization import gathered_from_processes, sum_over_processes


@dataclass(frozen=True)
class QuantizerConfig:
    """The codebook; the defaults are those of the text (part 2)."""

    codebook_size: int = 256
    """number of codes (of each codebook, when there are several)"""
    dim: int = 128
    """embedding dimension of a code"""
    commitment_weight: float = 0.25
    """weight of the commitment loss"""
    codebook_weight: float = 1.0
    """weight of the codebook loss (vq, nsvq)"""
    entropy_weight: float = 0.1
    """weight of the entropy regularization of the mean assignment"""
    warmup_steps: int = 60
    """steps without quantizing before the codebook is started from encoder outputs (not fsq)"""
    reset_every: int = 10_000
    """steps between moves of unused codes to encoder outputs; 0 for never (not fsq)"""
    reset_until: float = 0.8
    """share of the training after which codes are no longer moved"""
    kind: Literal["vq", "vq_ema", "residual", "nsvq", "fsq"] = "vq"
    """codes learned by gradient (vq), moving averages (vq_ema, residual), noise (nsvq), or fixed (fsq)"""
    num_codebooks: int = 1
    """codebooks whose choices make one code: side by side (vq_ema), or each on the rest before (residual)"""
    decay: float = 0.99
    """share that the moving averages keep at each step (vq_ema, residual)"""
    levels: tuple[int, ...] = (8, 8, 4)
    """values of each rounded dimension (fsq); their product is codebook_size"""


@dataclass(frozen=True)
class Quantized:
    """What every quantizer gives: `quantized` (B, D, h, w), `codes` (B, h, w), `loss` () and its `terms`."""

    quantized: Tensor
    codes: Tensor
    loss: Tensor
    terms: dict[str, Tensor]


def _go_on_quantizing(quantizer: "Quantizer", incompatible_keys: object) -> None:
    """Quantize where the weights that were loaded come from a training that did."""
    quantizer.set_quantizing(bool(quantizer.started))


class Quantizer(nn.Module):
    """Latents to codes and back; each kind says how in `choose`, `look_up` and `pass_through`.

    A cell's code is one integer in [0, K), whatever it is made of, so that everything after the model sees
    one grid. Until `start` is called latents pass unquantized: the codebook can then be started from encoder
    outputs that already mean something. Works in float32 whatever the autocast.
    """

    started: Tensor
    use_counts: Tensor

    def __init__(self, config: QuantizerConfig, num_codes: int) -> None:
        super().__init__()
        self.config, self.num_codes = config, num_codes
        self.weights = {
            "commitment": config.commitment_weight,
            "codebook": config.codebook_weight,
            "entropy": config.entropy_weight,
        }
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("use_counts", torch.zeros(num_codes, dtype=torch.int64))
        self.recent_latents: Tensor | None = None
        # The same as `started`, where asking costs no wait for the device.
        self.quantizing = False
        self.register_load_state_dict_post_hook(_go_on_quantizing)

    # -- what each kind says ----------------------------------------------------------------------------

    def choose(self, latents_ND: Tensor) -> Tensor:
        """Codes (N,) of latents."""
        raise NotImplementedError

    def look_up(self, codes_N: Tensor) -> Tensor:
        """Vectors (N, D) of codes."""
        raise NotImplementedError

    def pass_through(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Quantized latents (N, D) with a gradient for the latents, codes (N,), and unweighted loss terms."""
        raise NotImplementedError

    def start(self, generator: torch.Generator) -> None:
        """Place the whole codebook on encoder outputs of the last batch and quantize from now on."""
        raise NotImplementedError

    def replace_unused(self, generator: torch.Generator) -> Tensor:
        """Move codes unused since the last call to outputs of the last batch; returns their indices."""
        raise NotImplementedError

    def follow(self) -> None:
        """Finish an optimizer step: take up what its forward passes have gathered."""

    def forget(self, moved_K: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Clear the optimizer's moments of codes that were placed anew."""

    # -- what all do alike ------------------------------------------------------------------------------

    def set_quantizing(self, quantizing: bool) -> None:
        """Quantize from now on, or let latents pass."""
        self.quantizing = quantizing
        self.started.fill_(quantizing)

    def all_recent(self) -> Tensor:
        """Latents (processes·N, D) of the last batch."""
        assert self.recent_latents is not None, "no forward pass in training mode yet"
        return gathered_from_processes(self.recent_latents)

    @property
    def codebook_vectors(self) -> Tensor:
        """The vector of every code: (K, D)."""
        return self.look_up(torch.arange(self.num_codes, device=self.use_counts.device)).detach()

    def nearest(self, latents_BDhw: Tensor) -> Tensor:
        """Codes (B, h, w) of latents, without any loss."""
        batch, _, h, w = latents_BDhw.shape
        return self.choose(rearrange(latents_BDhw.float(), "b d h w -> (b h w) d")).view(batch, h, w)

    def embed(self, codes_Bhw: Tensor) -> Tensor:
        """Vectors (B, D, h, w) of codes."""
        batch, h, w = codes_Bhw.shape
        return rearrange(self.look_up(codes_Bhw.flatten()), "(b h w) d -> b d h w", b=batch, h=h, w=w)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, latents_BDhw: Tensor) -> Quantized:
        """Quantize, with gradients for the latents."""
        latents_BDhw = latents_BDhw.float()
        batch, _, h, w = latents_BDhw.shape
        latents_ND = rearrange(latents_BDhw, "b d h w -> (b h w) d")
        quantized_ND, codes_N, terms = self.pass_through(latents_ND)
        if self.training:
            self.recent_latents = latents_ND.detach().clone()
            counts_K = torch.zeros_like(self.use_counts).index_add_(0, codes_N, torch.ones_like(codes_N))
            self.use_counts += sum_over_processes(counts_K)
        codes_Bhw = codes_N.view(batch, h, w)
        loss = sum((self.weights[name] * term for name, term in terms.items()), latents_ND.new_zeros(()))
        if not self.quantizing:
            # Joined processes want a gradient for every weight at every step, if only zero.
            return Quantized(latents_BDhw, codes_Bhw, 0 * loss, {})
        quantized_BDhw = rearrange(quantized_ND, "(b h w) d -> b d h w", b=batch, h=h, w=w)
        return Quantized(quantized_BDhw, codes_Bhw, loss, terms)

    def maintain(
        self, step: int, num_steps: int, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> dict[str, float]:
        """Start the codebook after the warm-up, move unused codes when it is time, follow moving averages.

        Args:
            step: completed optimizer steps.
            num_steps: steps of the whole run.
            optimizer: its moments are cleared for codes that were moved.
            generator: source of the draws.

        Returns:
            `codes_reset` when the codebook was touched: how many codes were placed anew.
        """
        config = self.config
        self.follow()
        if not self.quantizing:
            if step < config.warmup_steps:
                return {}
            self.start(generator)
            moved = torch.arange(self.num_codes)
        elif config.reset_every and step % config.reset_every == 0 and step <= config.reset_until * num_steps:
            moved = self.replace_unused(generator)
        else:
            return {}
        self.forget(moved, optimizer)
        return {"codes_reset": float(len(moved))}


def seeded_from(
    latents_ND: Tensor, num: int, existing_KD: Tensor | None, generator: torch.Generator
) -> Tensor:
    """Draw `num` latents (num, D), each with probability ∝ its squared distance to the nearest vector so far.

    This is the seeding of k-means++ (Arthur & Vassilvitskii 2007). With fewer latents than `num`, some are
    drawn twice.
    """
    if existing_KD is None or not len(existing_KD):
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


def squared_distances(latents_ND: Tensor, codebook_KD: Tensor) -> Tensor:
    """Squared Euclidean distances (N, K)."""
    squares = latents_ND.square().sum(1, keepdim=True) + codebook_KD.square().sum(1)
    return squares - 2 * latents_ND @ codebook_KD.T
