"""The latent action model: encoder, quantizer, decoder and losses.

It infers a grid of discrete codes, the latent action, from a frame and its next frame, and predicts the next
frame from the codes and the frame. `training` trains it, `labels` applies it, `world` predicts its codes.
"""

from ghostpad.model.decoder import DecoderConfig
from ghostpad.model.encoder import EncoderConfig
from ghostpad.model.frame_format import FrameFormat
from ghostpad.model.latent_action_model import ArchitectureConfig, LatentActionModel, LatentActionModelConfig
from ghostpad.model.quantizer_base import Quantizer, QuantizerConfig

__all__ = [
    "ArchitectureConfig",
    "DecoderConfig",
    "EncoderConfig",
    "FrameFormat",
    "LatentActionModel",
    "LatentActionModelConfig",
    "Quantizer",
    "QuantizerConfig",
]
