"""The quantizers and their registry. To add one: a class here, its line in `QUANTIZERS`, its name in `kind`.

Dimensions: D embedding, G codebooks, K codes, k codes of one codebook, N latents.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, VectorQuantize

from ghostpad.errors import UserError
from ghostpad.model.batch_statistics import num_processes
from ghostpad.model.losses import assignment_entropy_loss
from ghostpad.model.quantizer_base import (
    Quantizer,
    QuantizerConfig,
    draw_spread,
    squared_distances,
    straight_through,
)


class CodebookQuantizer(Quantizer):
    """Quantizers with one or more learned codebooks, each of which assigns the nearest of its vectors.

    With several codebooks it is a product quantizer, in which each codebook quantizes its own part of the
    dimensions (as in LAPO, https://arxiv.org/abs/2312.10812), or a residual one, in which each quantizes what
    the codebooks before it left over (Zeghidour et al. 2021, https://arxiv.org/abs/2107.03312). Their indices
    are the digits of one code, the first codebook's being the most significant.
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config, config.codebook_size**config.num_codebooks)
        self.is_residual = config.kind == "residual"

    @abstractmethod
    def codebooks(self) -> list[Tensor]:
        """The vectors (k, d) of each codebook."""

    @abstractmethod
    def place(self, codebook: int, rows: Tensor, vectors_kd: Tensor) -> None:
        """Overwrite some vectors of a codebook."""

    def assign_each(self, latents_ND: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each codebook: its input (N, d), distances (N, k) and nearest indices (N,)."""
        steps, inputs = [], self._inputs(latents_ND)
        for place, vectors_kd in enumerate(self.codebooks()):
            distances_Nk = squared_distances(inputs[place], vectors_kd)
            indices_N = distances_Nk.argmin(1)
            steps.append((inputs[place], distances_Nk, indices_N))
            if self.is_residual:
                inputs.append(inputs[place] - F.embedding(indices_N, vectors_kd))
        return steps

    def _inputs(self, latents_ND: Tensor) -> list[Tensor]:
        """The input (N, d) of each codebook; for a residual only the first is known beforehand."""
        num = self.config.num_codebooks
        return [latents_ND] if self.is_residual or num == 1 else list(latents_ND.chunk(num, 1))

    def to_codes(self, steps: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """Join the indices of all codebooks as digits of one code (N,)."""
        codes_N = torch.zeros_like(steps[0][2])
        for _, _, indices_N in steps:
            codes_N = codes_N * self.config.codebook_size + indices_N
        return codes_N

    def assign(self, latents_ND: Tensor) -> Tensor:
        """Code (N,) whose digits are the nearest vector of each codebook."""
        return self.to_codes(self.assign_each(latents_ND))

    def lookup(self, codes_N: Tensor) -> Tensor:
        """The vectors of each codebook, concatenated or summed: (N, D)."""
        size, num = self.config.codebook_size, self.config.num_codebooks
        vectors = [
            F.embedding(codes_N // size ** (num - 1 - place) % size, vectors_kd)
            for place, vectors_kd in enumerate(self.codebooks())
        ]
        return torch.stack(vectors).sum(0) if self.is_residual else torch.cat(vectors, 1)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Place every codebook on encoder outputs of the last batch and quantize from now on."""
        inputs = self._inputs(self.all_recent_latents())
        for place in range(self.config.num_codebooks):
            vectors_kd = draw_spread(inputs[place], self.config.codebook_size, None, generator)
            self.place(place, torch.arange(len(vectors_kd)), vectors_kd)
            if self.is_residual:
                nearest_N = squared_distances(inputs[place], vectors_kd).argmin(1)
                inputs.append(inputs[place] - vectors_kd[nearest_N])
        self.use_counts.zero_()
        self.set_quantizing(True)

    @torch.no_grad()
    def reset_unused(self, generator: torch.Generator) -> Tensor:
        """Move vectors that no code used since the last call; returns the codes that they belong to."""
        shape = [self.config.codebook_size] * self.config.num_codebooks
        counts = self.use_counts.view(shape)
        moved = torch.zeros(shape, dtype=torch.bool, device=counts.device)
        steps = self.assign_each(self.all_recent_latents())
        for place, (vectors_kd, (inputs_Nd, _, _)) in enumerate(zip(self.codebooks(), steps, strict=True)):
            others = [axis for axis in range(len(shape)) if axis != place]
            used_k = (counts.sum(others) if others else counts) > 0
            unused = (~used_k).nonzero().flatten()
            if len(unused):
                self.place(place, unused, draw_spread(inputs_Nd, len(unused), vectors_kd[used_k], generator))
                moved |= (~used_k).view([-1 if axis == place else 1 for axis in range(len(shape))])
        self.use_counts.zero_()
        return moved.flatten().nonzero().flatten()


class VectorQuantizer(CodebookQuantizer):
    """VQ with a codebook learned by gradient (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937)."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        bound = 1 / config.codebook_size
        self.codebook = nn.Parameter(torch.empty(config.codebook_size, config.dim).uniform_(-bound, bound))

    def codebooks(self) -> list[Tensor]:
        """The one codebook."""
        return [self.codebook]

    def place(self, codebook: int, rows: Tensor, vectors_kd: Tensor) -> None:
        """Overwrite some vectors of the codebook."""
        self.codebook[rows] = vectors_kd

    def quantize(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Replace latents by their nearest codes; the gradient passes straight through to the latents."""
        ((_, distances_NK, codes_N),) = self.assign_each(latents_ND)
        quantized_ND = self.lookup(codes_N)
        # The third and second term of equation 3 of the paper, and the entropy of the mean assignment.
        terms = {
            "commitment": F.mse_loss(latents_ND, quantized_ND.detach()),
            "codebook": F.mse_loss(quantized_ND, latents_ND.detach()),
            "entropy": assignment_entropy_loss(distances_NK, self.config.entropy_temperature),
        }
        return straight_through(latents_ND, quantized_ND), codes_N, terms

    def reset_moments(self, codes: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Clear the optimizer's moments of codes that were moved."""
        state = optimizer.state.get(self.codebook, {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                state[moment][codes] = 0


class NoiseSubstitutionQuantizer(VectorQuantizer):
    """NSVQ (Vali & Bäckström 2022, https://doi.org/10.1109/ACCESS.2022.3147670), which LAPA uses.

    In training the quantization error is replaced by noise of the same norm, so that the gradient of the
    reconstruction reaches latents and codebook alike. The paper needs no other loss (set the weights to 0).
    """

    def quantize(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """In training, latents plus noise as long as their distance to the nearest code; else that code."""
        quantized_ND, codes_N, terms = super().quantize(latents_ND)
        if not self.training:
            return quantized_ND, codes_N, terms
        error_N1 = (latents_ND - self.lookup(codes_N)).norm(dim=1, keepdim=True)
        noise_ND = torch.randn_like(latents_ND)
        return latents_ND + error_N1 * F.normalize(noise_ND, dim=1), codes_N, terms


class AveragingQuantizer(CodebookQuantizer):
    """VQ whose codes are moving averages of their latents (VQ-EMA, van den Oord et al. 2017, appendix A.1).

    The averages are gathered in the forward passes and applied after the step, so that all micro-batches of
    an accumulated batch see the same codebook.
    """

    several_codebooks = True

    def __init__(self, config: QuantizerConfig) -> None:
        num = config.num_codebooks
        if config.kind == "vq_ema" and config.dim % num:
            raise UserError(f"quantizer.dim {config.dim} cannot be cut into {num} equal parts")
        super().__init__(config)
        dim = config.dim if self.is_residual else config.dim // num
        options = {"decay": config.decay, "rotation_trick": False, "sync_codebook": num_processes() > 1}
        self.layers = nn.ModuleList(VectorQuantize(dim, config.codebook_size, **options) for _ in range(num))

    def codebooks(self) -> list[Tensor]:
        """The vectors (k, d) of each codebook."""
        return [layer._codebook.embed[0] for layer in self.layers]  # type: ignore[union-attr]

    def place(self, codebook: int, rows: Tensor, vectors_kd: Tensor) -> None:
        """Overwrite some vectors of a codebook, as if each had been assigned once."""
        book: Any = self.layers[codebook]._codebook
        book.embed[0, rows] = vectors_kd
        book.embed_avg[0, rows] = vectors_kd
        book.cluster_size[0, rows] = 1.0

    def quantize(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """As in VQ; the codebooks gather averages of their inputs."""
        steps = self.assign_each(latents_ND)
        codes_N = self.to_codes(steps)
        quantized_ND = self.lookup(codes_N)
        if self.training and self.quantizing:
            for layer, (inputs_Nd, _, indices_N) in zip(self.layers, steps, strict=True):
                book: Any = layer._codebook
                book.update_indices(inputs_Nd.detach(), indices_N, accum_ema_update=True)
        factor = self.config.entropy_temperature
        terms = {
            "commitment": F.mse_loss(latents_ND, quantized_ND),
            "entropy": torch.stack([assignment_entropy_loss(d, factor) for _, d, _ in steps]).mean(),
        }
        return straight_through(latents_ND, quantized_ND), codes_N, terms

    @torch.no_grad()
    def update_averages(self) -> None:
        """Apply the averages that the forward passes of this step have gathered."""
        for layer in self.layers:
            book: Any = layer._codebook
            # The library leaves what it gathered in the gradients of its averages.
            averages = [a for a in (book.cluster_size, book.embed_avg) if a.grad is not None]
            for average in averages:
                average.lerp_(average.grad, 1 - self.config.decay)
                average.grad = None
            if averages:
                book.update_ema()


class RoundingQuantizer(Quantizer):
    """Finite scalar quantization (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505)."""

    def __init__(self, config: QuantizerConfig) -> None:
        if (product := math.prod(config.levels)) != config.codebook_size:
            raise UserError(
                f"quantizer.levels give {product} codes; set quantizer.codebook_size to {product}"
            )
        super().__init__(config, config.codebook_size)
        self.rounding = FSQ(levels=list(config.levels), dim=config.dim)
        self.set_quantizing(True)

    def assign(self, latents_ND: Tensor) -> Tensor:
        """Number (N,) of the rounded point."""
        return self.rounding(latents_ND[None])[1][0].long()

    def lookup(self, codes_N: Tensor) -> Tensor:
        """Rounded points, projected back to (N, D)."""
        return self.rounding.indices_to_codes(codes_N[None])[0]

    def quantize(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Round with a straight-through gradient; there is no loss term."""
        quantized, codes = self.rounding(latents_ND[None])
        return quantized[0], codes[0].long(), {}


QUANTIZERS: dict[str, Callable[[QuantizerConfig], Quantizer]] = {
    "vq": VectorQuantizer,
    "nsvq": NoiseSubstitutionQuantizer,
    "vq_ema": AveragingQuantizer,
    "residual": AveragingQuantizer,
    "fsq": RoundingQuantizer,
}
"""The class of each `QuantizerConfig.kind`."""
