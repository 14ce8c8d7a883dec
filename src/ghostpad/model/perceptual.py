"""Perceptual loss: frames are compared by their features in a network trained on photographs.

Dimensions: B batch, C colour channels, H W frame.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.errors import UserError

# The convolutions of each block in torchvision's vgg16.features. The outputs of the blocks are the layers of
# Johnson et al.: relu1_2, relu2_2, relu3_3, relu4_3.
BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PerceptualConfig:
    """The perceptual loss; off by default."""

    weight: float = 0.0
    """weight of the perceptual loss; 0 for none"""
    vgg: Path | None = None
    """file with the weights of torchvision's vgg16 (a state dict); fetched by torchvision when not given"""


class PerceptualLoss(nn.Module):
    """Mean squared difference of VGG-16 features (Johnson et al. 2016, https://arxiv.org/abs/1603.08155).

    The weights are frozen. Their widths may differ from VGG-16's: a small network of the same layout will do.

    Raises:
        UserError: there are no weights, or not those of a VGG-16.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: PerceptualConfig) -> None:
        super().__init__()
        if config.vgg is None:
            weights, source = _download_vgg16(), "torchvision's vgg16"
        else:
            weights, source = _read_state_dict(config.vgg), str(config.vgg)
        self.blocks = nn.ModuleList()
        channels = 3
        for block in BLOCKS:
            convs = nn.ModuleList()
            for number in block:
                convs.append(conv := _load_conv(weights, number, channels, source))
                channels = conv.out_channels
            self.blocks.append(convs)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))
        self.requires_grad_(False)

    def features(self, frames_BCHW: Tensor) -> list[Tensor]:
        """The output of each block for frames in [0, 1] with one or three channels."""
        features = (frames_BCHW.expand(-1, 3, -1, -1) - self.mean) / self.std
        outputs = []
        for block in self.blocks:
            if outputs:
                features = F.max_pool2d(features, 2)
            for conv in block:  # type: ignore[attr-defined]
                features = F.relu(conv(features))
            outputs.append(features)
        return outputs

    def forward(self, predicted_BCHW: Tensor, true_BCHW: Tensor) -> Tensor:
        """Mean over the blocks of the mean squared difference; gradients for `predicted_BCHW` alone."""
        with torch.no_grad():
            true = self.features(true_BCHW)
        pairs = zip(self.features(predicted_BCHW), true, strict=True)
        return torch.stack([F.mse_loss(one.float(), other.float()) for one, other in pairs]).mean()


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"--perceptual.vgg {path}: no such file; give a state dict of vgg16") from None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, KeyError):
        raise UserError(f"{path}: not readable as weights; give a state dict of vgg16") from None
    if not isinstance(weights, dict):
        raise UserError(f"{path}: no state dict; give one of torchvision's vgg16")
    return weights


def _download_vgg16() -> dict[str, Tensor]:
    try:
        from torchvision.models import VGG16_Weights, vgg16  # pyright: ignore[reportMissingImports]
    except Exception as error:  # it fails in many ways beside a torch that it was not built for
        raise UserError(
            f"the perceptual loss needs --perceptual.vgg FILE, or pip install 'ghostpad[vgg]' ({error})"
        ) from None
    try:
        return vgg16(weights=VGG16_Weights.IMAGENET1K_V1).state_dict()
    except OSError as error:
        raise UserError(f"torchvision cannot fetch vgg16 ({error}); give --perceptual.vgg FILE") from None


def _load_conv(weights: dict[str, Tensor], number: int, in_channels: int, source: str) -> nn.Conv2d:
    weight, bias = (weights.get(f"features.{number}.{kind}") for kind in ("weight", "bias"))
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        raise UserError(f"{source}: has no features.{number}.weight and bias; give a state dict of vgg16")
    conv = nn.Conv2d(in_channels, len(weight), 3, padding=1)
    try:
        conv.load_state_dict({"weight": weight, "bias": bias})
    except RuntimeError:
        raise UserError(
            f"{source}: features.{number} is no 3x3 convolution of {in_channels} channels; give a state dict "
            "of vgg16"
        ) from None
    return conv
