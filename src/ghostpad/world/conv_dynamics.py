"""Convolutional dynamics: a stem over the history, residual blocks on the grid, the button by FiLM.

The codes that the prior expects get a residual bias in the logits: the network starts from "every object
keeps its velocity" and learns where that is wrong.

Dimensions: B batch, k frames of history, C colour channels, H W frame, F features, K codes, h w grid.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.world.config import DynamicsConfig
from ghostpad.world.dynamics import Dynamics
from ghostpad.world.expectation import Prior

BRIGHTNESS = (0.299, 0.587, 0.114)  # weights of red, green and blue: ITU-R 601 luma
PATCH = 4
"""Side of a patch of the first convolution, pixels. Overlapping patches at a higher resolution took three
quarters of a step's time and predicted no better."""
RESIDUAL_BIAS = 6.0  # logit that the expected code has ahead of the others before training, nats
FLAT = 1e-3  # power of features below which a norm fades them out instead of amplifying noise


class ChannelNorm(nn.Module):
    """Root mean square norm over the channels of each cell (https://arxiv.org/abs/1910.07467).

    Statistics over a batch would mix the buttons that were held in it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1, 1))
        self.shift = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, features_BFhw: Tensor) -> Tensor:
        """Return features of the same shape."""
        power = features_BFhw.square().mean(1, keepdim=True)
        return features_BFhw * (power + FLAT).rsqrt() * self.scale + self.shift


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, ChannelNorm(convolution.out_channels))


class Stem(nn.Sequential):
    """Frames of history to features on the grid: (B, C + k, H, W) → (B, F, h, w) or a little finer.

    Convolutions of stride 2 stop where the next would be coarser than the grid, whose cells have a side of
    `cell` pixels.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], cell: int) -> None:
        first = _normed(nn.Conv2d(in_channels, widths[0], PATCH, stride=PATCH, padding=1, bias=False))
        layers: list[nn.Module] = [first, nn.ReLU(inplace=True)]
        reached = PATCH
        for before, after in pairwise(widths):
            stride = 2 if 2 * reached <= cell else 1
            reached *= stride
            layers += [_normed(nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False))]
            layers += [nn.ReLU(inplace=True)]
        super().__init__(*layers)


class GridBlock(nn.Module):
    """Residual block with global context by max pooling.

    An event at the bottom may change a digit at the top.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _normed(nn.Conv2d(width, width, 3, padding=1, bias=False))
        self.context = nn.Linear(width, width)
        self.second = _normed(nn.Conv2d(width, width, 3, padding=1, bias=False))
        for part in self.context.parameters():
            nn.init.zeros_(part)

    def forward(self, features_BFhw: Tensor) -> Tensor:
        """Return features of the same shape."""
        inner = F.relu(self.first(features_BFhw))
        inner = inner + self.context(inner.amax((2, 3)))[:, :, None, None]
        return F.relu(features_BFhw + self.second(inner))


class ConvDynamics(Dynamics):
    """The shipped dynamics."""

    def __init__(
        self, config: DynamicsConfig, num_channels: int, num_codes: int, grid: tuple[int, int], cell: int = 16
    ) -> None:
        super().__init__(config, num_channels, num_codes, grid)
        width = config.widths[-1]
        self.stem = Stem(num_channels + config.history, config.widths, cell)
        self.position = nn.Parameter(torch.randn(width, *grid) * 0.02)
        self.blocks = nn.ModuleList(GridBlock(width) for _ in range(config.blocks))
        # Buttons must differ from the start, or none ever explains more than another.
        self.buttons = _embedding(config.num_buttons, 2 * width)
        self.button_blocks = nn.ModuleList(GridBlock(width) for _ in range(config.button_blocks))
        self.codes = nn.Conv2d(width, num_codes, 1)
        # Codes must differ from the start, or the network is slow to use those that are given.
        self.given = _embedding(num_codes + 1, width)
        nn.init.zeros_(self.given.weight[self.mask_code])
        self.expected = _embedding(num_codes, width)
        self.residual_bias = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.residual_bias.weight)
        nn.init.constant_(self.residual_bias.bias, RESIDUAL_BIAS)  # pyright: ignore[reportArgumentType]

    def encode(self, history_BkCHW: Tensor, prior: Prior | None = None) -> Tensor:
        """Features (B, F + 1, h, w); the last channel holds the expected code, −1 without a prior."""
        newest = history_BkCHW[:, -1]
        mask_B1HW = torch.zeros_like(newest[:, :1]) if prior is None else prior.mask
        features = self.stem(torch.cat([newest, _brightness_changes(history_BkCHW), mask_B1HW], 1))
        if tuple(features.shape[2:]) != self.grid:
            features = F.adaptive_avg_pool2d(features, self.grid)
        features = features + self.position
        if prior is None:
            expected_Bhw = torch.full_like(features[:, 0], -1)
        else:
            expected_Bhw = prior.codes
            features = features + self.expected(expected_Bhw).permute(0, 3, 1, 2)
        for block in self.blocks:
            features = block(features)
        # In full precision, in which numbers of codes are exact.
        return torch.cat([features.float(), expected_Bhw[:, None].float()], 1)

    def logits(self, features: Tensor, buttons_B: Tensor, given_Bhw: Tensor | None = None) -> Tensor:
        """Logits (B, K, h, w); the button scales and shifts the features (FiLM, arxiv.org/abs/1709.07871)."""
        features_BFhw, expected_B1hw = features[:, :-1], features[:, -1:]
        scale_BF, shift_BF = self.buttons(buttons_B).chunk(2, 1)
        conditioned = features_BFhw * (1 + scale_BF[:, :, None, None]) + shift_BF[:, :, None, None]
        if given_Bhw is None:
            conditioned = conditioned + self.given.weight[self.mask_code][:, None, None]
        else:
            conditioned = conditioned + self.given(given_Bhw).permute(0, 3, 1, 2)
        conditioned = F.relu(conditioned)
        for block in self.button_blocks:
            conditioned = block(conditioned)
        numbers = torch.arange(self.num_codes, device=conditioned.device)[:, None, None]
        return self.codes(conditioned) + self.residual_bias(conditioned) * (expected_B1hw == numbers)


def _embedding(num: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(num, width)
    nn.init.normal_(embedding.weight, std=0.3)
    return embedding


def _brightness_changes(history_BkCHW: Tensor) -> Tensor:
    """(B, k − 1, H, W): how much brighter each frame is than the one before it."""
    channels = history_BkCHW.unbind(2)
    brightness = channels[0]
    if len(channels) == len(BRIGHTNESS):
        red, green, blue = (weight * part for weight, part in zip(BRIGHTNESS, channels, strict=True))
        brightness = red + green + blue
    return brightness[:, 1:] - brightness[:, :-1]
