"""Where a steered thing goes by each button.

What its past foretells and what a button adds is one small network; what its past does not tell, as after it
stood at the edge of where it can go, the button that was held before does. Beyond the places where it was
ever seen it does not go: there a button may push as it likes, and nobody learns from it what it does.

Dimensions: n things, M buttons, R pixels that it goes at most along each axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.objects.detection import Thing

WENT = 7
"""Newest steps that its past is made of."""
PIXELS = 16
"""What steps are divided by."""
REACH = 32
"""Pixels that it goes in a frame, at most, along each axis."""
FEW = 1e-3
"""Share of looks at a thing that may lie beyond the edges of where it can go."""
FEWEST = 512
"""Looks at it below which nothing is learned."""
CHANCE = 1e-4
"""Least probability of anything."""
STEPS, BATCH, LEARNING_RATE = 2000, 256, 5e-3
FORGOTTEN = 0.5
"""Share of looks in training without some of the past, and of those without the button before."""


@dataclass(frozen=True)
class ControlState:
    """How the controllable objects of n worlds were driven last, which their frames do not show.

    Attributes:
        buttons: (n,) int64, −1 where unknown.
        overshoot: (n, 2) pixels by which they are beyond an edge of where they are seen.
    """

    buttons: Tensor
    overshoot: np.ndarray


class Pushes(nn.Module):
    """Predicts where a steered thing goes.

    Args:
        num_buttons: M.
        width: of the layers.
    """

    is_taught: Tensor
    lowest: Tensor
    highest: Tensor
    slack_low: Tensor
    slack_high: Tensor
    acts_as: Tensor
    resting: Tensor

    def __init__(self, num_buttons: int, width: int = 96) -> None:
        super().__init__()
        self.past = nn.Linear(3 * WENT, width)
        # The last entry stands for: nobody knows.
        self.before, self.held = nn.Embedding(num_buttons + 1, width), nn.Embedding(num_buttons, width)
        self.rest = nn.Sequential(
            nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * (2 * REACH + 1))
        )
        self.register_buffer("is_taught", torch.zeros((), dtype=torch.bool))
        # Lines and columns between which it can go.
        self.register_buffer("lowest", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("highest", torch.zeros(2, dtype=torch.int64))
        # Pixels by which it can be pushed beyond these, where nobody sees it.
        self.register_buffer("slack_low", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("slack_high", torch.zeros(2, dtype=torch.int64))
        # The button that does not push.
        self.register_buffer("resting", torch.zeros((), dtype=torch.int64))
        # The button that pushes as each does: one with which something comes does not push by itself.
        self.register_buffer("acts_as", torch.arange(num_buttons))

    @property
    def num_buttons(self) -> int:
        """M."""
        return self.held.num_embeddings

    def forward(self, pasts_nF: Tensor, before_n: Tensor, held_n: Tensor) -> Tensor:
        """Logits (n, 2, 2R + 1) of how far it goes along each axis.

        Args:
            pasts_nF: see `pasts`; all 0 where nobody knows.
            before_n: buttons that were held before, −1 where nobody knows.
            held_n: buttons.
        """
        before_n = torch.where(before_n < 0, self.num_buttons, self.acts_as[before_n.clamp_min(0)])
        known = self.past(pasts_nF) + self.before(before_n) + self.held(self.acts_as[held_n])
        return self.rest(known).unflatten(1, (2, 2 * REACH + 1))

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest line and column (2,) of its place."""
        return self.lowest.cpu().numpy(), self.highest.cpu().numpy()

    def at_edges(self, things: Sequence[Thing]) -> np.ndarray:
        """How far (n, 2) things in whole frames are beyond an edge if they were pushed on and on."""
        places, (lowest, highest) = np.stack([thing.place for thing in things]), self.edges()
        moves = lowest < highest
        low, high = (slack.cpu().numpy() for slack in (self.slack_low, self.slack_high))
        return np.where(moves & (places <= lowest), -low, np.where(moves & (places >= highest), high, 0))

    @torch.no_grad()
    def foresee(
        self,
        things: Sequence[Thing],
        corners_n2: np.ndarray,
        held_n: Tensor,
        before: "ControlState | None" = None,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[np.ndarray, "ControlState"]:
        """Places (n, 2) where things come to, and how they are pushed then.

        Args:
            things: as they are, in windows that begin at `corners_n2` (0 for whole frames).
            corners_n2: lines and columns.
            held_n: their buttons.
            before: how they were pushed; nothing is known when not given.
            temperature: 0 for the likeliest, else draws.
            generator: of the draws.
        """
        before = before or ControlState(torch.full_like(held_n, -1), np.zeros((len(things), 2), int))
        logits = self._logits(things, corners_n2, held_n, before.buttons)
        if temperature:
            chances = (logits / temperature).softmax(2).flatten(0, 1)
            gone = torch.multinomial(chances, 1, generator=generator).view(len(things), 2)
        else:
            gone = logits.argmax(2)
        lowest, highest = self.edges()
        places = np.stack([thing.place for thing in things]) + corners_n2
        there = places + before.overshoot + gone.cpu().numpy() - REACH
        farthest = lowest - self.slack_low.cpu().numpy(), highest + self.slack_high.cpu().numpy()
        stopped = ((there < farthest[0]) | (there > farthest[1])).any(1)
        there = there.clip(*farthest)
        seen = there.clip(lowest, highest)
        held_n = torch.where(torch.from_numpy(stopped).to(held_n.device), self.resting, held_n)
        return seen - corners_n2, ControlState(held_n, there - seen)

    @torch.no_grad()
    def surprise(self, things: Sequence[Thing], offsets_n2: np.ndarray, corners_n2: np.ndarray) -> Tensor:
        """Negative log-likelihood (n, M), nats, of going so far, under each button.

        What ends at an edge would have gone on: any way beyond it counts. What begins there may have been
        pushed on before: any way counts that leads there from as far beyond as may be, each as likely.
        """
        n, num = len(things), self.num_buttons
        again = [thing for thing in things for _ in range(num)]
        held_n = torch.arange(num, device=self.lowest.device).repeat(n)
        logits = self._logits(again, corners_n2.repeat(num, 0), held_n, torch.full_like(held_n, -1))
        chances = logits.softmax(2).view(n, num, 2, -1).cpu().numpy()
        (lowest, highest), ways = self.edges(), np.arange(-REACH, REACH + 1)
        places = np.stack([thing.place for thing in things]) + corners_n2
        ends, open_ = places + offsets_n2, lowest < highest
        way = offsets_n2.clip(-REACH, REACH)[:, :, None]
        counted = (ways == way).astype(np.float64)
        for edge, slacks, side in ((lowest, self.slack_low, -1), (highest, self.slack_high, 1)):
            ended = (open_ & ((ends - edge) * side >= 0))[:, :, None]
            begun = (open_ & ((places - edge) * side >= 0))[:, :, None]
            more = side * (ways - way)
            counted = np.where(ended, more >= 0, counted)
            # From `beyond` pixels beyond, it ends there or farther if it goes `beyond` less.
            slack = slacks.cpu().numpy()[None, :, None]
            stays = ((slack + 1 + np.minimum(more, 0)).clip(0) / (slack + 1)).clip(0, 1)
            leaves = ((more <= 0) & (more >= -slack)) / (slack + 1)
            counted = np.where(begun, np.where(ended, stays, leaves), counted)
        likely = (chances * counted[:, None]).sum(3)
        return torch.from_numpy(-np.log(likely + CHANCE).sum(2)).float()

    def _logits(
        self, things: Sequence[Thing], corners_n2: np.ndarray, held_n: Tensor, before_n: Tensor
    ) -> Tensor:
        device = self.lowest.device
        known = torch.from_numpy(pasts(things))
        # What it did at an edge says nothing of how it was pushed.
        places = np.stack([thing.place for thing in things]) + corners_n2
        known[torch.from_numpy(at_edge(places, *self.edges()))] = 0
        return self(known.to(device), before_n, held_n)

    def teach(
        self, things: Sequence[Thing], offsets_n2: np.ndarray, buttons_n: np.ndarray, before_n: np.ndarray
    ) -> None:
        """Learn from looks at a thing in whole frames, how far it went, and by which button.

        Args:
            things: as they were.
            offsets_n2: pixels.
            buttons_n: that were held, −1 where nobody knows.
            before_n: that were held before, −1 where nobody knows.
        """
        places = np.stack([thing.place for thing in things])
        ends = places + offsets_n2
        lowest, highest = edges_of(np.concatenate([places, ends]))
        self.lowest.copy_(torch.from_numpy(lowest))
        self.highest.copy_(torch.from_numpy(highest))
        free = (buttons_n >= 0) & ~at_edge(places, lowest, highest) & ~at_edge(ends, lowest, highest)
        if free.sum() < FEWEST:
            return
        device = self.lowest.device
        known = torch.from_numpy(pasts(things)[free]).to(device)
        ways = torch.from_numpy(offsets_n2[free].clip(-REACH, REACH) + REACH).to(device)
        held, before = (
            torch.from_numpy(part[free].astype(np.int64)).to(device) for part in (buttons_n, before_n)
        )
        parameters = list(self.requires_grad_(True).parameters())
        optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
        for _ in range(STEPS):
            drawn = torch.randint(len(held), (BATCH,), device=device)
            forgets, lost = (torch.rand(2, BATCH, device=device) < FORGOTTEN).unbind(0)
            told = (torch.randint(-WENT, WENT, (BATCH,), device=device)).clamp_min(0)
            told = torch.where(forgets, told, WENT)
            steps = torch.arange(3 * WENT, device=device) // 3
            past = known[drawn] * (steps < told[:, None])
            logits = self(past, before[drawn].masked_fill(lost, -1), held[drawn])
            loss = F.cross_entropy(logits.flatten(0, 1), ways[drawn].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        self.requires_grad_(False).is_taught.fill_(True)


def pasts(things: Sequence[Thing]) -> np.ndarray:
    """The past of each thing (n, 3 · WENT) float32, newest first: steps, and 1; 0 where it was not seen."""
    known = np.zeros((len(things), WENT, 3), np.float32)
    for row, thing in zip(known, things, strict=True):
        went = np.array(thing.went[: -WENT - 1 : -1], np.float32).reshape(-1, 2)
        row[: len(went), :2], row[: len(went), 2] = went / PIXELS, 1
    return known.reshape(len(things), -1)


def edges_of(places_n2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest line and column of nearly all places."""
    lowest = np.quantile(places_n2, FEW, 0, method="higher")
    return lowest, np.quantile(places_n2, 1 - FEW, 0, method="lower")


def at_edge(places_n2: np.ndarray, lowest_2: np.ndarray, highest_2: np.ndarray) -> np.ndarray:
    """Whether places (n,) are as far along an axis as a thing can go; where it never moves is no edge."""
    there = (places_n2 <= lowest_2) | (places_n2 >= highest_2)
    return np.any(there & (lowest_2 < highest_2), axis=1)
