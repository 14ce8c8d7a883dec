"""Settings of the model and its parts.

They stand apart from the modules they configure, so that `ghostpad train --help` does not load torch.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ghostpad.errors import UserError


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder; the defaults are those of the reference specification (docs/spec.md)."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """channels after each stride-2 convolution; their number decides the grid"""
    blocks: tuple[int, ...] = ()
    """residual blocks after each stride-2 convolution; empty for none"""
    tokens: tuple[int, int] | None = None
    """rows and columns of tokens that all cells of the grid are condensed into; none to keep the grid"""


@dataclass(frozen=True)
class QuantizerConfig:
    """The codebook; the defaults are those of the reference specification (docs/spec.md)."""

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
    entropy_temperature: float = 1.0
    """factor of the softmax temperature in it; far below 1 it counts the codes that are really chosen"""
    warmup_steps: int = 60
    """steps without quantizing before the codebook is initialized from encoder outputs (not fsq)"""
    reset_every: int = 10_000
    """steps between resets of unused codes to encoder outputs; 0 for never (not fsq)"""
    reset_until: float = 0.8
    """share of the training after which codes are no longer reset"""
    kind: Literal["vq", "vq_ema", "residual", "nsvq", "fsq"] = "vq"
    """codes learned by gradient (vq), moving averages (vq_ema, residual), noise (nsvq), or fixed (fsq)"""
    num_codebooks: int = 1
    """codebooks whose indices make one code: side by side (vq_ema), or each on the residual (residual)"""
    decay: float = 0.99
    """decay of the moving averages per step (vq_ema, residual)"""
    levels: tuple[int, ...] = (8, 8, 4)
    """values of each rounded dimension (fsq); their product is codebook_size"""


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes and kind of the decoder; the defaults are those of the reference specification (docs/spec.md)."""

    frame_widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """channels after each stride-2 convolution over the current frame"""
    widths: tuple[int, ...] = (512, 256, 128, 64)
    """channels after each transposed convolution but the last, which gives the frame"""
    conditioning: Literal["film", "cross_attention"] = "film"
    """how the features of the current frame are conditioned on the latents"""
    attention_heads: int = 8
    """heads of the cross-attention"""
    skips: bool = False
    """skip connections from the current frame (from it alone) to every level of the decoder"""
    frame_blocks: tuple[int, ...] = ()
    """residual blocks after each stride-2 convolution over the current frame; empty for none"""
    blocks: tuple[int, ...] = ()
    """residual blocks after the conditioning and each transposed convolution but the last; empty for none"""


@dataclass(frozen=True)
class ArchitectureConfig:
    """The parts of a latent action model; defaults of the reference specification (docs/spec.md)."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    reconstruction: Literal["mse", "palette"] = "mse"
    """mean squared error of the pixels, or cross-entropy over the palette's colours"""
    least_grid: int = 0
    """fewest rows and columns of the grid: on small frames the deepest convolutions are left out"""
    mse_weight: float = 1.0
    """weight of the mean squared error beside the losses of the quantizer (mse only)"""
    residual: bool = False
    """draw the change from the current frame instead of the frame (mse only)"""
    motion: Literal["off", "on", "auto"] = "off"
    """warp the current frame by a flow in the codes; auto: without a palette, or if the camera moves"""
    residual_logit_bias: float = 6.0
    """logit added to a pixel's current colour (palette only)"""

    def fitted(self, size: tuple[int, int]) -> "ArchitectureConfig":
        """The same for frames of this height and width, with the stages that `least_grid` allows."""
        encoder, decoder, stages = self.encoder, self.decoder, len(self.encoder.widths)
        kept = max([1, *(n for n in range(1, stages + 1) if -(-min(size) // 2**n) >= self.least_grid)])
        left_out = stages - kept
        return replace(
            self,
            encoder=replace(encoder, widths=encoder.widths[:kept], blocks=encoder.blocks[:kept]),
            decoder=replace(
                decoder,
                frame_widths=decoder.frame_widths[:kept],
                frame_blocks=decoder.frame_blocks[:kept],
                widths=decoder.widths[left_out:],
                blocks=decoder.blocks[left_out:],
            ),
        )

    def check(self, has_palette: bool) -> None:
        """Raise a UserError where the parts do not fit each other or the frames."""
        encoder, decoder = self.encoder, self.decoder
        if self.reconstruction == "palette" and not has_palette:
            raise UserError(
                "cross-entropy over a palette needs palette-encoded frames; use reconstruction mse"
            )
        if encoder.tokens is not None and (len(encoder.tokens) != 2 or min(encoder.tokens) < 1):
            raise UserError(f"encoder.tokens {encoder.tokens}: give rows and columns, each at least 1")
        stages = len(encoder.widths)
        for name, entries in {
            "encoder.blocks": encoder.blocks,
            "decoder.frame-widths": decoder.frame_widths,
            "decoder.frame-blocks": decoder.frame_blocks,
            "decoder.blocks": decoder.blocks,
            "decoder.widths": decoder.widths,
        }.items():
            needed = stages - 1 if name == "decoder.widths" else stages
            if len(entries) != needed and (entries or not name.endswith("blocks")):
                raise UserError(
                    f"--model.{name} needs {needed} entries, as --model.encoder.widths has {stages}"
                )


@dataclass(frozen=True)
class PerceptualConfig:
    """The perceptual loss; off by default."""

    weight: float = 0.0
    """weight of the perceptual loss; 0 for none"""
    vgg: Path | None = None
    """file with the weights of torchvision's vgg16 (a state dict); fetched by torchvision when not given"""
