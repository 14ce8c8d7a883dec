"""Finding buttons: which one explains a transition, which are needed, and what labels say they stand for.

Dimensions: B batch, M buttons.
"""

from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ghostpad.buttons.discovery import Steered
from ghostpad.buttons.selection import NEVER, buttons_needed

REMEMBERED = 2048
MOST_CONTROLS = 32
IDLE_RATE = 0.02
"""Weight of one labelled transition in the running share of those in which its button does nothing."""
ENOUGH_VOTES = 256
"""Votes of labelled transitions, after which each control has its button."""


class ButtonFinder(nn.Module):
    """Keeps what is known of the buttons while a world learns.

    Args:
        num_buttons: M.
        num_rows: training transitions.
    """

    recent: Tensor
    pushed: Tensor
    rest: Tensor
    num_seen: Tensor
    votes: Tensor
    begun: Tensor
    idle: Tensor

    def __init__(self, num_buttons: int, num_rows: int = 0) -> None:
        super().__init__()
        # The button of each training transition from what is steered in it, −1 where that says nothing.
        self.register_buffer("pushed", torch.full((num_rows,), -1, dtype=torch.int8))
        self.register_buffer("rest", torch.zeros((), dtype=torch.int64))
        # Surprises of the last transitions that buttons were found from, to count how many are needed.
        self.register_buffer("recent", torch.zeros(REMEMBERED, num_buttons))
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        # How often each control was held with each button, as the surprise says.
        self.register_buffer("votes", torch.zeros(MOST_CONTROLS, num_buttons))
        # Share of the labelled transitions of each button, of late, that resting explains as well.
        self.register_buffer("idle", torch.zeros(num_buttons))

    def shares(self, surprise_BM: Tensor, temperature: float) -> Tensor:
        """Share (B, M) of each transition that each button explains: the E step of expectation maximization.

        Args:
            surprise_BM: nats, see `Dynamics.surprise`.
            temperature: softness of the shares; at 1 they are the buttons' probabilities by Bayes' rule.
        """
        surprise_BM = surprise_BM.detach().float()
        places = (self.num_seen + torch.arange(len(surprise_BM), device=surprise_BM.device)) % REMEMBERED
        self.recent[places] = surprise_BM
        self.num_seen += len(surprise_BM)
        return (-surprise_BM / temperature).softmax(1)

    def settle(self, dynamics: Any, least: int = 2) -> None:
        """Drop the buttons that are not needed, once, when they have been found.

        Args:
            dynamics: whose buttons.
            least: how many stay at least, in the order of what they explain.
        """
        seen = min(int(self.num_seen), REMEMBERED)
        if seen:
            found = buttons_needed(self.recent[:seen].cpu().numpy())
            kept = torch.tensor(found["order"][: max(least, found["needed"])], device=dynamics.active.device)
            dynamics.active.fill_(False)
            dynamics.active[kept] = True
            self.num_seen.zero_()

    def begin(self, dynamics: Any) -> None:
        """Let all buttons begin as what the first one learned, which stood for whatever was held; once.

        Each keeps the difference that it was born with, or none would ever explain more than another.
        """
        if not self.begun:
            with torch.no_grad():
                dynamics.buttons.weight[1:] += dynamics.buttons.weight[:1]
            self.begun.fill_(True)

    def teach(self, dynamics: Any, controls: list[int]) -> None:
        """Let each control have the button of its own number, and drop the other buttons.

        Args:
            dynamics: whose buttons.
            controls: numbers of the controls that there are, each below `num_buttons`.
        """
        dynamics.active.fill_(False)
        dynamics.active[controls] = True
        self.votes[controls, controls] = ENOUGH_VOTES

    def take(self, dynamics: Any, steered: Steered) -> int | None:
        """Let the buttons be those that steer a thing, and one more with which something comes.

        The latter does nothing else: it stands for some transitions of the resting button too.

        Returns:
            The latter; None where nothing comes, or no button is left for it.
        """
        in_use, comes = list(range(steered.num_buttons)), None
        if len(steered.comes) and len(in_use) < len(self.idle):
            comes = len(in_use)
            in_use.append(comes)
        self.keep(dynamics, steered, comes, in_use)
        return comes

    def keep(self, dynamics: Any, steered: Steered, comes: int | None, in_use: list[int]) -> None:
        """Let the buttons of transitions be known, and these buttons be in use.

        Args:
            dynamics: whose buttons.
            steered: what was found.
            comes: the button with which something comes; None where there is none.
            in_use: all buttons that there are.
        """
        pushed = np.full(len(self.pushed), -1, np.int8)
        pushed[steered.rows] = steered.buttons
        if comes is not None and len(steered.comes):
            rests = np.setdiff1d(steered.rows[steered.buttons == steered.rest], steered.comes)
            pushed[steered.comes] = pushed[rests[:: max(2, len(rests) // len(steered.comes))]] = comes
        self.pushed.copy_(torch.from_numpy(pushed))
        self.rest.fill_(steered.rest)
        self.teach(dynamics, in_use)

    def button_for(self, controls_B: Tensor, surprise_BM: Tensor) -> Tensor:
        """The button (B,) that stands for each control; until there are enough votes the likeliest one.

        Args:
            controls_B: numbers of the controls that were held.
            surprise_BM: of the transitions, each of which votes.
        """
        stands = self.stands(surprise_BM[0] < NEVER)
        if stands is not None:
            return stands[controls_B]
        likeliest, one = surprise_BM.argmin(1), torch.ones((), device=self.votes.device)
        self.votes.index_put_((controls_B, likeliest), one, accumulate=True)
        return likeliest

    def watch_idle(self, held_B: Tensor, rests_B: Tensor) -> None:
        """Keep count of how often a button does nothing.

        Args:
            held_B: buttons that labelled controls stand for.
            rests_B: whether what happened is what happens under the resting button.
        """
        for button, rests in zip(held_B.tolist(), rests_B.tolist(), strict=True):
            self.idle[button].lerp_(self.idle.new_tensor(float(rests)), IDLE_RATE)

    def stands(self, active_M: Tensor) -> Tensor | None:
        """The button that stands for each control (`MOST_CONTROLS`,); None until there are enough votes.

        As far as there are buttons in use, each control has its own.
        """
        if self.votes.sum() < ENOUGH_VOTES:
            return None
        in_use = active_M.nonzero()[:, 0]
        heard = self.votes.sum(1).nonzero()[:, 0]
        shares = self.votes[heard][:, in_use] / self.votes[heard].sum(1, keepdim=True)
        stands = torch.zeros(MOST_CONTROLS, dtype=torch.int64, device=self.votes.device)
        stands[heard] = in_use[shares.argmax(1)]
        for control, button in zip(*linear_sum_assignment(shares.cpu().numpy(), maximize=True), strict=True):
            stands[heard[control]] = in_use[button]
        return stands
