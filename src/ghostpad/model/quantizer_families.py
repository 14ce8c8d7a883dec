"""Quantizers besides our own VQ: noise substitution, moving averages, products, residuals, rounding.

Dimensions: D embedding, G codebooks, K codes, k codes of one codebook, N latents.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, VectorQuantize
from vector_quantize_pytorch.vector_quantize_pytorch import Codebook

from ghostpad.errors import UserError
from ghostpad.model.bottleneck import Quantizer, QuantizerConfig, seeded_from, squared_distances
from ghostpad.model.losses import assignment_entropy_loss
from ghostpad.model.normalization import num_processes
from ghostpad.model.quantizer import VectorQuantizer

# Labels store a cell's code in 16 bits.
MAX_CODES = 2**16


def make_quantizer(config: QuantizerConfig) -> Quantizer:
    """Build the quantizer of the kind that `config` names.

    Raises:
        UserError: settings of the config contradict each other; the line names them.
    """
    if config.kind not in ("vq_ema", "residual") and config.num_codebooks != 1:
        raise UserError(f"quantizer.kind {config.kind} has one codebook; use vq_ema or residual for several")
    if config.codebook_size**config.num_codebooks > MAX_CODES:
        many = f"{config.codebook_size} ** {config.num_codebooks}"
        raise UserError(f"{many} codes are more than {MAX_CODES}; choose a smaller quantizer.codebook_size")
    if config.kind == "vq_ema" and config.dim % config.num_codebooks:
        raise UserError(f"quantizer.dim {config.dim} cannot be cut into {config.num_codebooks} equal parts")
    kinds: dict[str, type[VectorQuantizer | AveragingQuantizer | RoundingQuantizer]] = {
        "vq": VectorQuantizer,
        "nsvq": NoiseSubstitutionQuantizer,
        "vq_ema": AveragingQuantizer,
        "residual": AveragingQuantizer,
        "fsq": RoundingQuantizer,
    }
    return kinds[config.kind](config)


class NoiseSubstitutionQuantizer(VectorQuantizer):
    """NSVQ (Vali & Bäckström 2022, https://doi.org/10.1109/ACCESS.2022.3147670), which LAPA uses.

    In training the error of quantizing is replaced by noise of the same length, so that the gradient of the
    reconstruction reaches latents and codebook alike; the paper needs no other loss (set the weights to 0).
    """

    def pass_through(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """In training, latents plus noise as long as their distance to the nearest code; else that code."""
        straight_ND, codes_N, terms = super().pass_through(latents_ND)
        if not self.training:
            return straight_ND, codes_N, terms
        error_N1 = (latents_ND - self.look_up(codes_N)).norm(dim=1, keepdim=True)
        noise_ND = torch.randn_like(latents_ND)
        return latents_ND + error_N1 * F.normalize(noise_ND, dim=1), codes_N, terms


class AveragingQuantizer(Quantizer):
    """VQ whose codes follow the mean of their latents (VQ-EMA, van den Oord et al. 2017, appendix A.1).

    Several codebooks act side by side, each on its part of the dimensions (a product, as in LAPO), or one
    after the other, each on what is left over (a residual, Zeghidour et al. 2021,
    https://arxiv.org/abs/2107.03312).
    Their choices are the digits of one code, the first codebook's being the most significant.

    The averages of a step are gathered in the forward passes and taken up after it, so that micro-batches of
    an accumulated batch see one and the same codebook.
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config, config.codebook_size**config.num_codebooks)
        self.is_residual = config.kind == "residual"
        self.layers = nn.ModuleList(
            VectorQuantize(
                dim=config.dim if self.is_residual else config.dim // config.num_codebooks,
                codebook_size=config.codebook_size,
                decay=config.decay,
                rotation_trick=False,
                sync_codebook=num_processes() > 1,
            )
            for _ in range(config.num_codebooks)
        )

    def _parts(self, latents_ND: Tensor) -> list[Tensor]:
        """What each codebook is given; in a residual only the first is known beforehand."""
        return [latents_ND] if self.is_residual else list(latents_ND.chunk(len(self.layers), 1))

    def _books(self) -> list[Tensor]:
        return [_book_of(layer).embed[0] for layer in self.layers]

    def _digits(self, codes_N: Tensor) -> list[Tensor]:
        size, num = self.config.codebook_size, len(self.layers)
        return [codes_N // size ** (num - 1 - place) % size for place in range(num)]

    def _walk(self, latents_ND: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each codebook: what it was given, its distances (N, k), and its choices (N,)."""
        steps, parts = [], self._parts(latents_ND)
        for place, book in enumerate(self._books()):
            given = parts[place]
            distances = squared_distances(given, book)
            choices = distances.argmin(1)
            steps.append((given, distances, choices))
            if self.is_residual:
                parts.append(given - F.embedding(choices, book))
        return steps

    def _combine(self, choices: list[Tensor]) -> Tensor:
        codes = torch.zeros_like(choices[0])
        for digit in choices:
            codes = codes * self.config.codebook_size + digit
        return codes

    def choose(self, latents_ND: Tensor) -> Tensor:
        """Code (N,) whose digits are the nearest code in each codebook."""
        return self._combine([choices for _, _, choices in self._walk(latents_ND)])

    def look_up(self, codes_N: Tensor) -> Tensor:
        """The chosen vectors, side by side or added up: (N, D)."""
        found = [F.embedding(d, book) for d, book in zip(self._digits(codes_N), self._books(), strict=True)]
        return torch.stack(found).sum(0) if self.is_residual else torch.cat(found, 1)

    def pass_through(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The gradient of the quantized latents goes straight on; the books remember what they were given."""
        steps = self._walk(latents_ND)
        codes_N = self._combine([choices for _, _, choices in steps])
        quantized_ND = self.look_up(codes_N)
        if self.training and self.quantizing:
            for layer, (given, _, choices) in zip(self.layers, steps, strict=True):
                _book_of(layer).update_indices(given.detach(), choices, accum_ema_update=True)
        terms = {
            "commitment": F.mse_loss(latents_ND, quantized_ND),
            "entropy": torch.stack([assignment_entropy_loss(distances) for _, distances, _ in steps]).mean(),
        }
        return latents_ND + (quantized_ND - latents_ND).detach(), codes_N, terms

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """Place every codebook on encoder outputs of the last batch and quantize from now on."""
        parts = self._parts(self.all_recent())
        for place, layer in enumerate(self.layers):
            given = parts[place]
            book = seeded_from(given, self.config.codebook_size, None, generator)
            _place(layer, torch.arange(len(book)), book)
            if self.is_residual:
                parts.append(given - book[squared_distances(given, book).argmin(1)])
        self.use_counts.zero_()
        self.set_quantizing(True)

    @torch.no_grad()
    def replace_unused(self, generator: torch.Generator) -> Tensor:
        """Move entries that no code used since the last call; returns the codes that they belong to."""
        size, num = self.config.codebook_size, len(self.layers)
        counts = self.use_counts.view([size] * num)
        steps = self._walk(self.all_recent())
        moved = torch.zeros([size] * num, dtype=torch.bool, device=counts.device)
        for place, (layer, (given, _, _)) in enumerate(zip(self.layers, steps, strict=True)):
            others = [axis for axis in range(num) if axis != place]
            used = (counts.sum(others) if others else counts) > 0
            unused = (~used).nonzero().flatten()
            if len(unused):
                book = _book_of(layer).embed[0]
                _place(layer, unused, seeded_from(given, len(unused), book[used], generator))
                moved |= (~used).view([-1 if axis == place else 1 for axis in range(num)])
        self.use_counts.zero_()
        return moved.flatten().nonzero().flatten()

    @torch.no_grad()
    def follow(self) -> None:
        """Take up the averages that the forward passes of this step have gathered."""
        for layer in self.layers:
            book = _book_of(layer)
            averages = [average for average in _averages_of(book) if average.grad is not None]
            for average in averages:
                assert average.grad is not None
                average.lerp_(average.grad, 1 - self.config.decay)
                average.grad = None
            if averages:
                book.update_ema()


class RoundingQuantizer(Quantizer):
    """Finite scalar quantization (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505)."""

    def __init__(self, config: QuantizerConfig) -> None:
        if math.prod(config.levels) != config.codebook_size:
            product = math.prod(config.levels)
            raise UserError(
                f"quantizer.levels give {product} codes; set quantizer.codebook_size to {product}"
            )
        super().__init__(config, config.codebook_size)
        self.rounding = FSQ(levels=list(config.levels), dim=config.dim)
        self.set_quantizing(True)

    def choose(self, latents_ND: Tensor) -> Tensor:
        """Number (N,) of the rounded point."""
        return self.rounding(latents_ND[None])[1][0].long()

    def look_up(self, codes_N: Tensor) -> Tensor:
        """Rounded points, projected back to (N, D)."""
        return self.rounding.indices_to_codes(codes_N[None])[0]

    def pass_through(self, latents_ND: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Round with a straight-through gradient; there is nothing to pay for."""
        quantized, codes = self.rounding(latents_ND[None])
        return quantized[0], codes[0].long(), {}

    def replace_unused(self, generator: torch.Generator) -> Tensor:
        """Nothing can be moved: the points are fixed. Counting starts anew."""
        self.use_counts.zero_()
        return torch.empty(0, dtype=torch.int64)


def _book_of(layer: nn.Module) -> Codebook:
    assert isinstance(layer, VectorQuantize)
    return layer._codebook


def _averages_of(book: Codebook) -> tuple[Tensor, Tensor]:
    """Moving averages: how often each entry was chosen (1, k), and the sum of what chose it (1, k, D)."""
    assert isinstance(book.cluster_size, Tensor) and isinstance(book.embed_avg, Tensor)
    return book.cluster_size, book.embed_avg


def _place(layer: nn.Module, rows: Tensor, vectors_kD: Tensor) -> None:
    """Put entries of a codebook onto given vectors, as if each had been chosen once."""
    book = _book_of(layer)
    cluster_size, embed_avg = _averages_of(book)
    book.embed[0, rows] = vectors_kD
    embed_avg[0, rows] = vectors_kD
    cluster_size[0, rows] = 1.0
