"""Finding buttons: which one explains a transition, by what follows from it and by what it looks like.

Dimensions: B batch, M buttons, C colour channels, H W frame.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.world.buttons import buttons_needed
from ghostpad.world.dynamics import Dynamics

REMEMBERED = 2048
ERRS = 0.05
"""How often recognition is taken to be wrong, so that its say has a bound."""
MOST_CONTROLS, ENOUGH_VOTES = 32, 256
"""Votes of labelled transitions for a button, after which it stands for the control."""
CERTAIN = 1e-3
"""Temperature at which a transition belongs to one button alone."""


class Recognition(nn.Module):
    """Tells the button from what a transition looks like, wherever in the picture: → (B, M) logits."""

    def __init__(self, num_channels: int, num_buttons: int) -> None:
        super().__init__()
        widths = (2 * num_channels, 16, 32, 32)
        self.stages = nn.Sequential(
            *(
                part
                for before, after in itertools.pairwise(widths)
                for part in (nn.Conv2d(before, after, 5, stride=2, padding=2), nn.ReLU())
            )
        )
        self.buttons = nn.Linear(2 * widths[-1], num_buttons)

    def forward(self, frames_BCHW: Tensor, next_frames_BCHW: Tensor) -> Tensor:
        """Return logits of the buttons."""
        features = self.stages(torch.cat([frames_BCHW, next_frames_BCHW - frames_BCHW], 1))
        return self.buttons(torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1))


class ButtonFinder(nn.Module):
    """Gives each transition to the buttons, the E step of expectation maximization.

    Surprise alone would let a button mean one thing in the open and another at a wall: no transition compares
    the two. So a small network learns to recognize the buttons in what a transition looks like, wherever it
    happens, and has a say where it is sure.

    Args:
        num_channels: C.
        num_buttons: M.
        say: weight of the recognition's log-probability beside the surprise, which counts every cell.
    """

    recent: Tensor
    num_seen: Tensor
    votes: Tensor

    def __init__(self, num_channels: int, num_buttons: int, say: float) -> None:
        super().__init__()
        self.say = say
        self.recognition = Recognition(num_channels, num_buttons)
        # Surprises of the last transitions that buttons were found from, to count how many are needed.
        self.register_buffer("recent", torch.zeros(REMEMBERED, num_buttons))
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.int64))
        # How often each control was held with each button, as the surprise says.
        self.register_buffer("votes", torch.zeros(MOST_CONTROLS, num_buttons))

    def forward(
        self, surprise_BM: Tensor, frames_BCHW: Tensor, next_frames_BCHW: Tensor, temperature: float | None
    ) -> tuple[Tensor, Tensor]:
        """Share (B, M) of each transition that belongs to each button, and the recognition's loss ().

        Args:
            surprise_BM: nats, see `Dynamics.surprise`.
            frames_BCHW: at the size that the model works at.
            next_frames_BCHW: the same.
            temperature: softness of the shares; None when each transition belongs to one button.
        """
        logits = self.recognition(frames_BCHW, next_frames_BCHW).float()
        recognized = (1 - ERRS) * logits.detach().softmax(1) + ERRS / logits.shape[1]
        doubt = surprise_BM.detach() - self.say * recognized.log()
        shares = (-doubt / (temperature or CERTAIN)).softmax(1)
        if temperature is not None:
            places = (self.num_seen + torch.arange(len(shares), device=shares.device)) % REMEMBERED
            self.recent[places] = surprise_BM.detach().float()
            self.num_seen += len(shares)
        return shares, F.cross_entropy(logits, shares)

    def button_for(self, controls_B: Tensor, surprise_BM: Tensor) -> Tensor:
        """The button (B,) that stands for each control; until there are enough votes the likeliest one.

        Args:
            controls_B: numbers of the controls that were held.
            surprise_BM: of the transitions, each of which votes.
        """
        likeliest = surprise_BM.argmin(1)
        enough = self.votes.sum() >= ENOUGH_VOTES
        if not enough:
            self.votes.index_put_((controls_B, likeliest), torch.ones(()), accumulate=True)
        return torch.where(enough, self.votes.argmax(1)[controls_B], likeliest)

    def settle(self, dynamics: Dynamics) -> None:
        """Drop the buttons that are not needed, once, when they have been found."""
        seen = min(int(self.num_seen), REMEMBERED)
        if seen:
            found = buttons_needed(self.recent[:seen].cpu().numpy())
            kept = torch.tensor(found["order"][: found["needed"]], device=dynamics.active.device)
            dynamics.active.fill_(False)
            dynamics.active[kept] = True
            self.num_seen.zero_()
