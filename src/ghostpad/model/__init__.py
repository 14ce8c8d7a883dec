"""The latent action model: encoder, quantizer, decoder and losses.

It infers a grid of discrete codes, the latent action, from a frame and its next frame, and predicts the next
frame from the codes and the frame. `training` trains it, `labels` applies it, `world` predicts its codes.
"""

from typing import TYPE_CHECKING

from ghostpad.lazy import lazy_exports
from ghostpad.model.config import ArchitectureConfig, DecoderConfig, EncoderConfig, QuantizerConfig

if TYPE_CHECKING:
    from ghostpad.model.frame_format import FrameFormat
    from ghostpad.model.latent_action_model import LatentActionModel, LatentActionModelConfig
    from ghostpad.model.quantizer_base import Quantizer

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

__getattr__ = lazy_exports(
    __name__,
    {
        "FrameFormat": "frame_format",
        "LatentActionModel": "latent_action_model",
        "LatentActionModelConfig": "latent_action_model",
        "Quantizer": "quantizer_base",
    },
)
