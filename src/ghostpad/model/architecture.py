"""The parts of a latent action model, and whether they fit together."""

from dataclasses import dataclass, field
from typing import Literal

from ghostpad.errors import UserError
from ghostpad.model.bottleneck import QuantizerConfig
from ghostpad.model.decoder import DecoderConfig
from ghostpad.model.encoder import EncoderConfig


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


def check_stages(architecture: ArchitectureConfig) -> None:
    """Make sure that encoder and decoder have the same grid.

    Raises:
        UserError: a list of widths or blocks has another length than it must.
    """
    encoder, decoder = architecture.encoder, architecture.decoder
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
