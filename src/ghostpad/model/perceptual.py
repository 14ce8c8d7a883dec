"""Perceptual loss: pictures are compared by what a network trained on photographs sees in them.

Dimensions: B batch, C colour channels, H W frame.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.errors import UserError

# The convolutions of each block of torchvision's vgg16.features; a block ends where Johnson et al. listen:
# relu1_2, relu2_2, relu3_3, relu4_3.
BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PerceptualConfig:
    """The perceptual loss; off by default."""

    weight: float = 0.0
    """weight of the perceptual loss; 0 for none"""
    vgg: Path | None = None
    """file with the weights of torchvision's vgg16 (a state dict); when not given, torchvision has them"""


class PerceptualLoss(nn.Module):
    """Mean squared difference of VGG-16 features (Johnson et al. 2016, https://arxiv.org/abs/1603.08155).

    The weights are frozen. Widths are those of the weights given, so that a small network of the same layout
    will do.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: PerceptualConfig) -> None:
        super().__init__()
        weights, source = _weights_of(config)
        self.blocks = nn.ModuleList(
            nn.ModuleList(_conv(weights, n, source) for n in block) for block in BLOCKS
        )
        _check_chain([conv for block in self.blocks for conv in block], source)  # type: ignore[misc]
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))
        self.requires_grad_(False)

    def features(self, frames_BCHW: Tensor) -> list[Tensor]:
        """What is seen in frames in [0, 1], one or three channels: the output of each block."""
        seen = (frames_BCHW.expand(-1, 3, -1, -1) - self.mean) / self.std
        outputs = []
        for block in self.blocks:
            if outputs:
                seen = F.max_pool2d(seen, 2)
            for conv in block:  # type: ignore[attr-defined]
                seen = F.relu(conv(seen))
            outputs.append(seen)
        return outputs

    def forward(self, predicted_BCHW: Tensor, wanted_BCHW: Tensor) -> Tensor:
        """Mean over the blocks of the mean squared difference; gradients for `predicted_BCHW` alone."""
        with torch.no_grad():
            wanted = self.features(wanted_BCHW)
        pairs = zip(self.features(predicted_BCHW), wanted, strict=True)
        return torch.stack([F.mse_loss(one.float(), other.float()) for one, other in pairs]).mean()


def _weights_of(config: PerceptualConfig) -> tuple[dict[str, Tensor], str]:
    """The state dict and what to call it in a message."""
    if config.vgg is None:
        return _from_torchvision(), "torchvision's vgg16"
    try:
        weights = torch.load(config.vgg, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"--perceptual.vgg {config.vgg}: no such file; give a state dict of vgg16") from None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, KeyError):
        raise UserError(f"{config.vgg}: not readable as weights; give a state dict of vgg16") from None
    if not isinstance(weights, dict):
        raise UserError(f"{config.vgg}: holds no state dict; give one of torchvision's vgg16")
    return weights, str(config.vgg)


def _from_torchvision() -> dict[str, Tensor]:
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


def _conv(weights: dict[str, Tensor], number: int, source: str) -> nn.Conv2d:
    weight, bias = (weights.get(f"features.{number}.{kind}") for kind in ("weight", "bias"))
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        raise UserError(f"{source}: has no features.{number}.weight and bias; give a state dict of vgg16")
    if weight.ndim != 4 or weight.shape[2:] != (3, 3) or bias.shape != weight.shape[:1]:
        raise UserError(f"{source}: features.{number} is no 3x3 convolution; give a state dict of vgg16")
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    conv.load_state_dict({"weight": weight, "bias": bias})
    return conv


def _check_chain(convs: list[nn.Conv2d], source: str) -> None:
    inputs = [conv.in_channels for conv in convs]
    wanted = [3, *(conv.out_channels for conv in convs[:-1])]
    if inputs != wanted:
        raise UserError(f"{source}: its convolutions do not follow each other; give a state dict of vgg16")
