"""The loss terms that are ours: entropy of the code assignment, and a perceptual loss on VGG features.

Dimensions: B batch, C colour channels, H W frame, N latents, K codebook size.
"""

import math
import pickle

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.errors import UserError
from ghostpad.model.batch_statistics import num_processes, sum_over_processes
from ghostpad.model.config import PerceptualConfig

# The convolutions of each block in torchvision's vgg16.features. The outputs of the blocks are the layers of
# Johnson et al.: relu1_2, relu2_2, relu3_3, relu4_3.
BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def soft_assignment(distances_NK: Tensor, factor: float = 1.0) -> Tensor:
    """Softmax(−distance / temperature) over the codes, (N, K), with a temperature that fits the distances.

    The temperature is `factor` · (mean − least distance) / ln K, averaged over the latents and without
    gradient. With a factor of 1 the nearest code would weigh as much as all others together, whatever the
    scale of the latents, if all others were at the mean distance. Most latents of still frames lie close
    together, though, and at that temperature share the codes near them almost evenly: theirs is far lower.
    """
    num_codes = distances_NK.shape[1]
    spread = (distances_NK.mean(1) - distances_NK.amin(1)).mean().detach()
    spread = sum_over_processes(spread) / num_processes()
    temperature = (factor * spread / math.log(max(num_codes, 2))).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.softmax(-distances_NK / temperature, dim=1)


def assignment_entropy_loss(distances_NK: Tensor, factor: float = 1.0) -> Tensor:
    """1 − H(mean soft assignment) / ln K, in [0, 1]: 0 for uniform use of the codes, 1 for full collapse."""
    mean_K = sum_over_processes(soft_assignment(distances_NK, factor).mean(0)) / num_processes()
    entropy = -(mean_K * mean_K.clamp_min(1e-12).log()).sum()
    return 1 - entropy / math.log(max(distances_NK.shape[1], 2))


class PerceptualLoss(nn.Module):
    """Mean squared difference of VGG-16 features (Johnson et al. 2016, https://arxiv.org/abs/1603.08155).

    The weights are frozen. Their widths may differ from VGG-16's: a small network of the same layout will do.

    Raises:
        UserError: there are no weights, or they are not those of a VGG-16.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: PerceptualConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))
        try:
            weights = (
                _fetch_vgg16() if config.vgg is None else torch.load(config.vgg, "cpu", weights_only=True)
            )
            self.blocks = nn.ModuleList(nn.ModuleList(_conv(weights, n) for n in block) for block in BLOCKS)
            self.features(torch.zeros(1, 3, 8, 8))
        except FileNotFoundError:
            raise UserError(
                f"--perceptual.vgg {config.vgg}: no such file; give a state dict of vgg16"
            ) from None
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
            raise UserError(
                f"--perceptual.vgg {config.vgg}: not a state dict of torchvision's vgg16 ({reason})"
            ) from None
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


def _fetch_vgg16() -> dict[str, Tensor]:
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


def _conv(weights: dict[str, Tensor], number: int) -> nn.Conv2d:
    weight, bias = weights[f"features.{number}.weight"], weights[f"features.{number}.bias"]
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    conv.load_state_dict({"weight": weight, "bias": bias})
    return conv
