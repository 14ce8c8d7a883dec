"""Button inference while a world model trains: expectation maximization, the button being latent.

The E step shares each transition among the buttons by Bayes' rule with a uniform prior, from the negative
log-likelihood of its codes under each button. The M step is an optimizer step of the world model on these
responsibilities (generalized EM, Neal and Hinton, 1998). Then unneeded buttons are pruned, and labelled
transitions vote for the button of their control.

Dimensions: B batch, M buttons, C controls.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ghostpad.buttons.discovery import InferredButtons
from ghostpad.buttons.selection import UNUSED_NLL, buttons_needed

NUM_NEWEST = 2048  # transitions whose likelihoods decide which buttons are needed
MAX_CONTROLS = 32
NO_EFFECT_RATE = 0.02  # weight of one labelled transition in the moving average `no_effect`
ENOUGH_VOTES = 256  # labelled transitions after which the button of each control is settled


class ButtonFinder(nn.Module):
    """State of the inference of M buttons for `num_rows` transitions; part of a world in training."""

    buttons: Tensor
    """(num_rows,) int8, the button of each training transition, -1 where its motion does not show it"""
    noop: Tensor
    """() the no-op among these buttons"""
    newest_nll: Tensor
    """(NUM_NEWEST, M) nats, a ring buffer"""
    num_seen: Tensor
    """() transitions that went into it"""
    votes: Tensor
    """(MAX_CONTROLS, M) labelled transitions by control and likeliest button"""
    is_initialized: Tensor
    no_effect: Tensor
    """(M,) moving share of the labelled transitions of each button that the no-op explains as well"""

    def __init__(self, num_buttons: int, num_rows: int = 0) -> None:
        super().__init__()
        self.register_buffer("buttons", torch.full((num_rows,), -1, dtype=torch.int8))
        self.register_buffer("noop", torch.zeros((), dtype=torch.int64))
        self.register_buffer("newest_nll", torch.zeros(NUM_NEWEST, num_buttons))
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("votes", torch.zeros(MAX_CONTROLS, num_buttons))
        self.register_buffer("is_initialized", torch.zeros((), dtype=torch.bool))
        self.register_buffer("no_effect", torch.zeros(num_buttons))

    def initialize(self, embedding_ME: Tensor) -> None:
        """Add the first button, which learned what happens whatever is held, to the random others; once."""
        if not self.is_initialized:
            embedding_ME.data[1:] += embedding_ME.data[:1]
            self.is_initialized.fill_(True)

    def responsibilities(self, nll_BM: Tensor, temperature: float) -> Tensor:
        """The E step: the share (B, M) of each transition that each button explains, from its nll in nats.

        Temperature 1 gives the posterior; higher is softer (deterministic annealing: Ueda, 1998).
        """
        nll_BM = nll_BM.detach().float()
        places = (self.num_seen + torch.arange(len(nll_BM), device=nll_BM.device)) % NUM_NEWEST
        self.newest_nll[places] = nll_BM
        self.num_seen += len(nll_BM)
        return (-nll_BM / temperature).softmax(1)

    def prune(self, active_M: Tensor, min_buttons: int = 2) -> None:
        """Drop the buttons that the newest transitions do not need, in place; once, after the inference."""
        seen = min(int(self.num_seen), NUM_NEWEST)
        if seen:
            selection = buttons_needed(self.newest_nll[:seen].cpu().numpy())
            _activate(active_M, selection["order"][: max(min_buttons, selection["needed"])])
            self.num_seen.zero_()

    def use_labels(self, active_M: Tensor, buttons: Sequence[int]) -> None:
        """Use these buttons alone, each for the control of the same number."""
        _activate(active_M, buttons)
        self.votes[buttons, buttons] = ENOUGH_VOTES

    def adopt(self, active_M: Tensor, inferred: InferredButtons) -> None:
        """Use buttons inferred from motion as labels of the training transitions.

        The spawn button gets a share of the no-op transitions too: where nothing can spawn, it does nothing.
        """
        buttons = np.full(len(self.buttons), -1, np.int8)
        buttons[inferred.rows] = inferred.buttons
        spawns = inferred.spawn_rows
        if inferred.spawn_button is not None and len(spawns):
            noops = np.setdiff1d(inferred.rows[inferred.buttons == inferred.noop], spawns)
            buttons[spawns] = inferred.spawn_button
            buttons[noops[:: max(2, len(noops) // len(spawns))]] = inferred.spawn_button
        self.buttons.copy_(torch.from_numpy(buttons))
        self.noop.fill_(inferred.noop)
        self.use_labels(active_M, inferred.in_use)

    def buttons_of(self, controls_B: Tensor, nll_BM: Tensor) -> Tensor:
        """The button (B,) of each labelled transition, by its control and its nll in nats.

        Until there are enough votes it is the likeliest one, and gets a vote.
        """
        settled = self.button_for_control(nll_BM[0] < UNUSED_NLL)
        if settled is not None:
            return settled[controls_B]
        likeliest, one = nll_BM.argmin(1), torch.ones((), device=self.votes.device)
        self.votes.index_put_((controls_B, likeliest), one, accumulate=True)
        return likeliest

    def button_for_control(self, active_M: Tensor) -> Tensor | None:
        """The button of each control, (MAX_CONTROLS,) int64; None until there are enough votes.

        Controls get different buttons by linear assignment over the shares of their votes; those that are
        left over, where there are more controls than buttons, get the button with most of their votes.
        """
        if self.votes.sum() < ENOUGH_VOTES:
            return None
        in_use, controls = active_M.nonzero()[:, 0], self.votes.sum(1).nonzero()[:, 0]
        shares = self.votes[controls][:, in_use] / self.votes[controls].sum(1, keepdim=True)
        settled = torch.zeros(MAX_CONTROLS, dtype=torch.int64, device=self.votes.device)
        settled[controls] = in_use[shares.argmax(1)]
        rows, columns = linear_sum_assignment(shares.cpu().numpy(), maximize=True)
        settled[controls[rows]] = in_use[columns]
        return settled

    def update_no_effect(self, buttons_B: Tensor, has_no_effect_B: Tensor) -> None:
        """Update how often buttons do nothing, from labelled transitions that the no-op explains, or not."""
        for button, has_none in zip(buttons_B.tolist(), has_no_effect_B.tolist(), strict=True):
            self.no_effect[button].lerp_(self.no_effect.new_tensor(float(has_none)), NO_EFFECT_RATE)


def _activate(active_M: Tensor, buttons: Sequence[int]) -> None:
    active_M.fill_(False)
    active_M[list(buttons)] = True
