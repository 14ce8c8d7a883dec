"""Dynamics of a world: from the last frames and a button to the codes of the next transition.

The contract of all dynamics, and the registry that names them. Another one (a transformer, say) is a file
with a subclass of `Dynamics` and a line in `DYNAMICS`.

Dimensions: B batch, k frames of history, C colour channels, H W frame, F features, K codes, h w grid,
M buttons.
"""

from abc import ABC, abstractmethod
from importlib import import_module

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.buttons.selection import UNUSED_NLL
from ghostpad.errors import UserError
from ghostpad.world.config import DynamicsConfig
from ghostpad.world.expectation import Prior

DYNAMICS = {"conv": "ghostpad.world.conv_dynamics:ConvDynamics"}
"""Module and class of each kind of dynamics."""


class Dynamics(nn.Module, ABC):
    """Predicts the grid (h, w) of codes (K) of the next transition for each button.

    The history is encoded once, whatever buttons are then asked for.
    """

    active: Tensor
    """(M,) bool, the buttons in use; training drops those that explain nothing"""
    buttons: nn.Embedding
    """the weights (M, …) that distinguish buttons"""

    def __init__(
        self, config: DynamicsConfig, num_channels: int, num_codes: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        if config.history < 2 or not 2 <= config.num_buttons <= 8:
            raise UserError("a world needs at least 2 frames of history and 2 to 8 buttons")
        self.num_channels, self.num_codes, self.grid = num_channels, num_codes, grid
        self.num_buttons, self.history = config.num_buttons, config.history
        self.register_buffer("active", torch.ones(config.num_buttons, dtype=torch.bool))

    @property
    def mask_code(self) -> int:
        """Stands in a partly decoded grid for a cell whose code is open: the mask token of MaskGIT."""
        return self.num_codes

    @abstractmethod
    def encode(self, history_BkCHW: Tensor, prior: Prior | None = None) -> Tensor:
        """Features (B, …) of histories in [0, 1], in the form that `logits` takes."""

    @abstractmethod
    def logits(self, features: Tensor, buttons_B: Tensor, given_Bhw: Tensor | None = None) -> Tensor:
        """Logits (B, K, h, w) of the codes under one button each.

        `given_Bhw` are codes that are decided, `mask_code` elsewhere; all cells are open when not given.
        """

    def nll(self, features: Tensor, codes_Bhw: Tensor) -> Tensor:
        """Negative log-likelihood (B, M), nats, of the codes; `UNUSED_NLL` under dropped buttons."""
        in_use = self.active.nonzero()[:, 0]
        batch, num = len(features), len(in_use)
        features, codes = features.repeat_interleave(num, 0), codes_Bhw.repeat_interleave(num, 0)
        nll_BM = self.nll_under(in_use.repeat(batch), features, codes).view(batch, num)
        return nll_BM.new_full((batch, self.num_buttons), UNUSED_NLL).index_copy(1, in_use, nll_BM)

    def nll_under(self, buttons_B: Tensor, features: Tensor, codes_Bhw: Tensor) -> Tensor:
        """The same (B,) under one button each, whether it is in use or not."""
        logits = self.logits(features, buttons_B).float()
        return F.cross_entropy(logits, codes_Bhw, reduction="none").sum((1, 2))


def make_dynamics(
    config: DynamicsConfig, num_channels: int, num_codes: int, grid: tuple[int, int], cell: int
) -> Dynamics:
    """Build the dynamics that the config names; `cell` is the side of a cell of the grid in pixels."""
    if config.kind not in DYNAMICS:
        raise UserError(f"--dynamics.kind {config.kind}: must be one of {', '.join(DYNAMICS)}")
    module, _, name = DYNAMICS[config.kind].partition(":")
    return getattr(import_module(module), name)(config, num_channels, num_codes, grid, cell)
