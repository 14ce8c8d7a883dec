"""The encoder as it is run over whole data sets: pairs of frames in, codes out, and nothing else.

Dimensions: N pairs, C colour channels, H W frame, h w grid.
"""

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ghostpad.model.latent_action_model import LatentActionModel


class PairEncoder(nn.Module):
    """Encoder and codebook of a model, with batch norm folded into the convolutions before it.

    A copy: the model stays as it is. Frames are bytes (0–255) or floats in [0, 1], not checked.
    """

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.encoder = fold_batch_norms(copy.deepcopy(model.encoder).eval())
        self.quantizer = copy.deepcopy(model.quantizer).eval()
        self.scale = model.scale

    def forward(self, frames_NCHW: Tensor, next_frames_NCHW: Tensor) -> Tensor:
        """Return codes (N, h, w) int64, the same as the model's `encode` but for ties."""
        both = torch.cat([frames_NCHW, next_frames_NCHW], 1)
        if self.scale.picks:
            # Fewer pixels are left to convert.
            both = self.scale.shrink(both)
        if both.dtype == torch.uint8:
            both = both.float() / 255
        if not self.scale.picks:
            both = self.scale.shrink(both)
        latents = self.encoder(both.to(next(self.encoder.parameters()).dtype))
        return self.quantizer.nearest(latents.float())


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Fold, in place, every batch norm that follows a convolution in an `nn.Sequential` into its weights.

    Only right in evaluation mode: y = γ·(W∗x + b − μ)/√(σ² + ε) + β is itself a convolution of x.
    """
    for part in list(module.modules()):
        if not isinstance(part, nn.Sequential):
            continue
        names = list(part._modules)
        for before, after in pairwise(names):
            conv, norm = part._modules[before], part._modules[after]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(part, before, fuse_conv_bn_eval(conv, norm))
                setattr(part, after, nn.Identity())
    return module
