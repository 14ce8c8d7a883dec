"""The dynamics: from the last frames and a button to the codes of the next transition.

Dimensions: B batch, k frames of history, C colour channels, H W frame, F features, K codes, h w grid.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.buttons.selection import UNUSED_NLL

BRIGHTNESS = (0.299, 0.587, 0.114)
"""Of red, green and blue: ITU-R 601 luma."""
PATCH = 4
"""Pixels of a patch's side."""
TRUST = 6.0
"""What the guessed code has ahead of the others at the start of a training, in nats."""
FLAT = 1e-3
"""Power of features below which a norm lets them fade instead of making noise of them."""


@dataclass(frozen=True)
class DynamicsConfig:
    """Sizes of the dynamics."""

    history: int = 8
    """frames that the next transition is predicted from, at least 2"""
    num_buttons: int = 5
    """values of the button, 2 to 8"""
    widths: tuple[int, ...] = (48, 96, 128)
    """channels after a convolution of stride 4 over the frames, and after each of stride 2 that follows"""
    blocks: int = 3
    """residual blocks on the grid before the button is known"""
    button_blocks: int = 1
    """residual blocks on the grid after it is"""
    goes_on: bool = True
    """whether they are told what follows if all that moves goes on as it did, see `going_on`"""

    @property
    def stride(self) -> int:
        """Pixels that a cell of the features covers, before they are brought to the grid of codes."""
        return PATCH * 2 ** (len(self.widths) - 1)


class ChannelNorm(nn.Module):
    """Root mean square norm over the channels of each place by itself.

    After Zhang and Sennrich 2019 (https://arxiv.org/abs/1910.07467). Statistics over a batch would mix the
    buttons that were held in it; those over a picture would be others in a window than in the whole of it.
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
    """Frames of history to features on the grid: (B, C + k, H, W) → (B, F, h, w).

    The first convolution looks at patches of 4×4 pixels once: overlapping ones at a higher resolution took
    three quarters of a step's time, and drew the ball no better.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        first = _normed(nn.Conv2d(in_channels, widths[0], PATCH, stride=PATCH, padding=1, bias=False))
        layers: list[nn.Module] = [first, nn.ReLU(inplace=True)]
        for before, after in pairwise(widths):
            layers += [_normed(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False))]
            layers += [nn.ReLU(inplace=True)]
        super().__init__(*layers)


class GridBlock(nn.Module):
    """Residual block whose cells also see what is anywhere: a ball lost below changes a digit above."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _normed(nn.Conv2d(width, width, 3, padding=1, bias=False))
        self.anywhere = nn.Linear(width, width)
        self.second = _normed(nn.Conv2d(width, width, 3, padding=1, bias=False))
        for part in self.anywhere.parameters():
            nn.init.zeros_(part)

    def forward(self, features_BFhw: Tensor, whole: bool = True) -> Tensor:
        """Return features of the same shape; a window that is not `whole` knows nothing of the rest."""
        inner = F.relu(self.first(features_BFhw))
        if whole:
            inner = inner + self.anywhere(inner.amax((2, 3)))[:, :, None, None]
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
        self.stem = Stem(num_channels + config.history, config.widths)
        self.position = nn.Parameter(torch.randn(width, *grid) * 0.02)
        self.blocks = nn.ModuleList(GridBlock(width) for _ in range(config.blocks))
        self.buttons = nn.Embedding(config.num_buttons, 2 * width)
        # Buttons must differ from the start, or none of them ever explains more than another.
        nn.init.normal_(self.buttons.weight, std=0.3)
        self.button_blocks = nn.ModuleList(GridBlock(width) for _ in range(config.button_blocks))
        self.codes = nn.Conv2d(width, num_codes, 1)
        # What is decided already, cell by cell; the last entry stands for what is not.
        self.told = nn.Embedding(num_codes + 1, width)
        # Codes must differ from the start, or what is told is heard late.
        nn.init.normal_(self.told.weight, std=0.3)
        nn.init.zeros_(self.told.weight[self.untold])
        # The code of each cell if all goes on as it did, and how far that is to be trusted.
        self.guessed = nn.Embedding(num_codes, width)
        nn.init.normal_(self.guessed.weight, std=0.3)
        self.trust = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.trust.weight)
        assert self.trust.bias is not None
        nn.init.constant_(self.trust.bias, TRUST)
        # Which buttons are in use; those that turn out not to be needed are dropped.
        self.register_buffer("active", torch.ones(config.num_buttons, dtype=torch.bool))

    active: Tensor

    def features(
        self,
        history_BkCHW: Tensor,
        corners_B2: Tensor | None = None,
        guess_Bhw: Tensor | None = None,
        due_B1HW: Tensor | None = None,
    ) -> Tensor:
        """What the history says: (B, F + 1, h, w), of which the last channel holds the guess, −1 for none.

        Args:
            history_BkCHW: whole frames, or windows that start and end on cells.
            corners_B2: row and column of the first cell of each window; None for whole frames.
            guess_Bhw: codes that follow if all that moves goes on as it did; None where nobody guesses.
            due_B1HW: 1 where a thing of which the codes do not speak will be, else 0; None without such.
        """
        if due_B1HW is None:
            due_B1HW = torch.zeros_like(history_BkCHW[:, -1, :1])
        features = self.stem(torch.cat([_seen(history_BkCHW), due_B1HW], 1))
        if corners_B2 is not None:
            features = features + self._positions(corners_B2, features.shape[2:])
        else:
            if tuple(features.shape[2:]) != self.grid:
                features = F.adaptive_avg_pool2d(features, self.grid)
            features = features + self.position
        if guess_Bhw is None:
            guess_Bhw = torch.full_like(features[:, 0], -1)
        else:
            features = features + self.guessed(guess_Bhw).permute(0, 3, 1, 2)
        for block in self.blocks:
            features = block(features, corners_B2 is None)
        # In full precision, in which numbers of codes are exact.
        return torch.cat([features.float(), guess_Bhw[:, None].float()], 1)

    def _positions(self, corners_B2: Tensor, size: torch.Size) -> Tensor:
        """What is learned of each place of the windows: (B, F, *size)."""
        rows, columns = (
            corners_B2[:, axis, None] + torch.arange(size[axis], device=corners_B2.device) for axis in (0, 1)
        )
        return self.position[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)

    @property
    def untold(self) -> int:
        """Stands in a grid of codes where nothing is decided."""
        return self.told.num_embeddings - 1

    def logits(
        self, features_BFhw: Tensor, buttons_B: Tensor, told_Bhw: Tensor | None = None, whole: bool = True
    ) -> Tensor:
        """Logits (B, K, h, w) of the codes when button `buttons_B` (B,) is held.

        Args:
            features_BFhw: of `features`.
            buttons_B: numbers of buttons.
            told_Bhw: codes that are decided, `untold` elsewhere; nothing is when not given.
            whole: whether these are whole frames; windows otherwise.
        """
        features_BFhw, guess_B1hw = features_BFhw[:, :-1], features_BFhw[:, -1:]
        scale_BF, shift_BF = self.buttons(buttons_B).chunk(2, 1)
        conditioned = features_BFhw * (1 + scale_BF[:, :, None, None]) + shift_BF[:, :, None, None]
        if told_Bhw is None:
            conditioned = conditioned + self.told.weight[self.untold][:, None, None]
        else:
            conditioned = conditioned + self.told(told_Bhw).permute(0, 3, 1, 2)
        conditioned = F.relu(conditioned)
        for block in self.button_blocks:
            conditioned = block(conditioned, whole)
        numbers = torch.arange(self.codes.out_channels, device=conditioned.device)[:, None, None]
        return self.codes(conditioned) + self.trust(conditioned) * (guess_B1hw == numbers)

    def surprise(self, features_BFhw: Tensor, codes_Bhw: Tensor, counted_Bhw: Tensor | None = None) -> Tensor:
        """Negative log-likelihood (B, num_buttons), nats, of the whole grid of codes under each button.

        It is `UNUSED_NLL` under buttons that were dropped.

        Args:
            features_BFhw: of `features`.
            codes_Bhw: of what happened.
            counted_Bhw: for windows, the cells that count; None for whole frames.
        """
        batch, in_use = len(features_BFhw), self.active.nonzero()[:, 0]
        given = (features_BFhw, codes_Bhw, counted_Bhw)
        features, codes, counted = (
            None if part is None else part.repeat_interleave(len(in_use), 0) for part in given
        )
        assert features is not None and codes is not None
        each = self.surprise_under(in_use.repeat(batch), features, codes, counted).view(batch, len(in_use))
        return each.new_full((batch, self.num_buttons), UNUSED_NLL).index_copy(1, in_use, each)

    def surprise_under(
        self, buttons_B: Tensor, features_BFhw: Tensor, codes_Bhw: Tensor, counted_Bhw: Tensor | None = None
    ) -> Tensor:
        """The same (B,) under one button each, whether it is in use or not."""
        logits = self.logits(features_BFhw, buttons_B, whole=counted_Bhw is None).float()
        losses = F.cross_entropy(logits, codes_Bhw, reduction="none")
        return (losses if counted_Bhw is None else losses * counted_Bhw).sum((1, 2))


def _seen(history_BkCHW: Tensor) -> Tensor:
    """The newest frame in its colours, and how much brighter each frame was than the one before it."""
    channels = history_BkCHW.unbind(2)
    brightness = channels[0]
    if len(channels) == len(BRIGHTNESS):
        red, green, blue = (weight * part for weight, part in zip(BRIGHTNESS, channels, strict=True))
        brightness = red + green + blue
    return torch.cat([history_BkCHW[:, -1], brightness[:, 1:] - brightness[:, :-1]], 1)
