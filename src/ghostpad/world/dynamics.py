"""The dynamics: from the last frames and a button to the codes of the next transition.

Dimensions: B batch, k frames of history, C colour channels, H W frame, F features, K codes, h w grid.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.model.encoder import FramePyramid

NEVER = 1e6
"""Surprise (nats) under a button that is not in use."""


@dataclass(frozen=True)
class DynamicsConfig:
    """Sizes of the dynamics."""

    history: int = 4
    """frames that the next transition is predicted from, at least 2"""
    num_buttons: int = 5
    """values of the button, 2 to 8"""
    widths: tuple[int, ...] = (32, 64, 96, 96)
    """channels after each stride-2 convolution over the frames"""
    blocks: int = 3
    """residual blocks on the grid before the button is known"""
    button_blocks: int = 1
    """residual blocks on the grid after it is"""


class GridBlock(nn.Module):
    """Residual block whose cells also see the mean of all cells: a ball lost below changes a digit above.

    Its norms look at one transition at a time: statistics of a batch would mix the buttons that were held in
    it, which differ between finding buttons and living with one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        groups = math.gcd(width, 8)
        self.first = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(groups, width)
        )
        self.everywhere = nn.Linear(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(groups, width)
        )

    def forward(self, features_BFhw: Tensor) -> Tensor:
        """Return features of the same shape."""
        inner = F.relu(self.first(features_BFhw))
        inner = inner + self.everywhere(inner.mean((2, 3)))[:, :, None, None]
        return F.relu(features_BFhw + self.second(inner))


class Dynamics(nn.Module):
    """Predicts the grid of codes; the history is looked at once for all buttons.

    Args:
        config: sizes.
        num_channels: C.
        num_codes: K.
        grid: rows and columns of codes.
    """

    def __init__(
        self, config: DynamicsConfig, num_channels: int, num_codes: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        self.grid, self.num_buttons = grid, config.num_buttons
        width = config.widths[-1]
        self.pyramid = FramePyramid(config.history * num_channels, config.widths, ())
        self.position = nn.Parameter(torch.randn(width, *grid) * 0.02)
        self.blocks = nn.Sequential(*(GridBlock(width) for _ in range(config.blocks)))
        self.buttons = nn.Embedding(config.num_buttons, 2 * width)
        # Buttons must differ from the start, or none of them ever explains more than another.
        nn.init.normal_(self.buttons.weight, std=0.3)
        self.button_blocks = nn.Sequential(*(GridBlock(width) for _ in range(config.button_blocks)))
        self.codes = nn.Conv2d(width, num_codes, 1)
        # Which buttons are in use; those that turn out not to be needed are dropped.
        self.register_buffer("active", torch.ones(config.num_buttons, dtype=torch.bool))

    active: Tensor

    def features(self, history_BkCHW: Tensor) -> Tensor:
        """What the history says: (B, F, h, w)."""
        features = self.pyramid(history_BkCHW.flatten(1, 2))[-1]
        if tuple(features.shape[2:]) != self.grid:
            features = F.adaptive_avg_pool2d(features, self.grid)
        return self.blocks(features + self.position)

    def logits(self, features_BFhw: Tensor, buttons_B: Tensor) -> Tensor:
        """Logits (B, K, h, w) of the codes when button `buttons_B` (B,) is held."""
        scale_BF, shift_BF = self.buttons(buttons_B).chunk(2, 1)
        conditioned = features_BFhw * (1 + scale_BF[:, :, None, None]) + shift_BF[:, :, None, None]
        return self.codes(self.button_blocks(F.relu(conditioned)))

    def surprise(self, features_BFhw: Tensor, codes_Bhw: Tensor) -> Tensor:
        """Negative log-likelihood (B, num_buttons), nats, of the whole grid of codes under each button.

        It is `NEVER` under buttons that were dropped.
        """
        batch, buttons = len(features_BFhw), self.num_buttons
        each = torch.arange(buttons, device=features_BFhw.device).repeat(batch)
        logits = self.logits(features_BFhw.repeat_interleave(buttons, 0), each).float()
        losses = F.cross_entropy(logits, codes_Bhw.repeat_interleave(buttons, 0), reduction="none")
        return losses.sum((1, 2)).view(batch, buttons).masked_fill(~self.active, NEVER)
