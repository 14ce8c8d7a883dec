"""The parts of a latent action model, and whether they fit together."""

from dataclasses import dataclass, field
from typing import Literal

from ghostpad.errors import UserError
from ghostpad.model.bottleneck import QuantizerConfig
from ghostpad.model.decoder import DecoderConfig
from ghostpad.model.encoder import EncoderConfig
from ghostpad.model.frame_format import FrameFormat


@dataclass(frozen=True)
class ArchitectureConfig:
    """The parts of a latent action model; the defaults are the text's model (part 2)."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    reconstruction: Literal["mse", "palette"] = "mse"
    """mean squared error of the pixels, or cross-entropy over the palette's colours"""
    head_start: float = 6.0
    """logit added to a pixel's current colour (palette only)"""


@dataclass(frozen=True)
class LatentActionModelConfig:
    """A whole model: what it sees and how it is built."""

    frames: FrameFormat = field(default_factory=FrameFormat)
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)


def check_architecture(config: LatentActionModelConfig) -> None:
    """Make sure that the parts fit each other and the frames.

    Raises:
        UserError: a list of widths or blocks has another length than it must, the tokens are no grid, or a
            palette is to be predicted where there is none.
    """
    encoder, decoder = config.architecture.encoder, config.architecture.decoder
    if config.architecture.reconstruction == "palette" and not config.frames.palette:
        raise UserError("cross-entropy over a palette needs palette-encoded frames; use reconstruction mse")
    if encoder.tokens is not None and (len(encoder.tokens) != 2 or min(encoder.tokens) < 1):
        raise UserError(f"encoder.tokens {encoder.tokens}: give rows and columns, each at least 1")
    wanted = len(encoder.widths)
    lengths = {
        "encoder.blocks": len(encoder.blocks) or wanted,
        "decoder.frame-widths": len(decoder.frame_widths),
        "decoder.frame-blocks": len(decoder.frame_blocks) or wanted,
        "decoder.blocks": len(decoder.blocks) or wanted,
        "decoder.widths": len(decoder.widths) + 1,
    }
    for name, length in lengths.items():
        if length != wanted:
            needed = wanted - 1 if name == "decoder.widths" else wanted
            raise UserError(f"--model.{name} needs {needed} entries, as --model.encoder.widths has {wanted}")
