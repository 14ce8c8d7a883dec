"""Teaching `Movement` from recordings: things are followed, and where they are a frame later is the answer.

Dimensions: k frames of history, n things.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.workers import map_in_order
from ghostpad.progress import progress
from ghostpad.world.following import Followed, follow, new_among, next_things, seen_again
from ghostpad.world.movement import AROUND, FAR, HIDES, SIDE, Movement, looked_at, number
from ghostpad.world.sequences import read_sequence
from ghostpad.world.things import Thing, mostly

BATCH, HARD = 64, 24
"""Things of a step, and how many of them went another way than on."""
TRANSITIONS = 24
"""Transitions in which things are followed, for each step of the training, at most."""
CHUNK = 256
CUT = 0.5
"""Share of sights of which a side is cut off, as at the edge of a frame or window."""
MIRRORED = 0.5
"""Share of sights that are shown with left and right exchanged."""
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-2
LOOKED_AT, USUALLY = 256, 0.5
"""Recorded frames that are looked at for what they mostly show, and the share that must show it."""
FEWEST = 16
"""Things below which there is nothing to learn from."""


@dataclass(frozen=True)
class Example:
    """A thing, the training transition before which it was followed, and what became of it.

    Attributes:
        row: of the transition.
        thing: that was followed, and is known; or a small one that is new in the frame after the transition.
        off: (2,) pixels that it went since it was last seen; None if it is not seen as it was, or is new.
    """

    row: int
    thing: Thing
    off: np.ndarray | None

    @property
    def is_new(self) -> bool:
        """Whether the thing comes with the transition."""
        return self.thing.step is None

    @property
    def fate(self) -> int:
        """Which logit of `Movement` stands for it."""
        return HIDES if self.off is None or np.abs(self.off).max() > FAR else number(self.off)


def teach(
    movement: Movement, transitions: Transitions, followed: Sequence[Example], num_steps: int, seed: int
) -> int:
    """Train on small things of the recordings; nothing is changed where nothing small moves.

    Args:
        movement: trained in place.
        transitions: of the training episodes.
        followed: things that were followed in them.
        num_steps: optimizer steps.
        seed: of the draws.

    Returns:
        How many looks at small things there were.
    """
    rng = np.random.default_rng((seed, num_steps))
    gray = movement.num_channels == 1
    examples = [example for example in followed if example.thing.is_sure]
    if len(examples) < FEWEST:
        return len(examples)
    straight = np.array([number(example.thing.next_place - example.thing.place) for example in examples])
    hard = np.flatnonzero(straight != [example.fate for example in examples])
    parameters = list(movement.requires_grad_(True).parameters())
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=num_steps + 1)
    for _ in progress(range(num_steps), what="how things move", unit="steps"):
        drawn = rng.integers(len(examples), size=BATCH)
        if len(hard):
            drawn[:HARD] = rng.choice(hard, HARD)
        loss = _loss(movement, transitions, [examples[index] for index in drawn], gray, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    movement.requires_grad_(False).is_taught.fill_(True)
    return len(examples)


def _loss(
    movement: Movement,
    transitions: Transitions,
    examples: list[Example],
    gray: bool,
    rng: np.random.Generator,
) -> torch.Tensor:
    device = movement.out.weight.device
    shown = [read_sequence(transitions, example.row, 2, 0, gray) for example in examples]
    things = [
        (Followed(now, before, now, None), example.thing)
        for (before, now), example in zip(shown, examples, strict=True)
    ]
    sights, facts, straight = looked_at(things)
    for index in (rng.random(len(sights)) < CUT).nonzero()[0]:
        # Some pixels beyond what the thing covers at most.
        left = int(rng.integers(AROUND + FAR // 2, 2 * AROUND))
        sights[index] = _blackened(sights[index], left, int(rng.integers(4)))
    fates = torch.tensor([example.fate for example in examples])
    for index in (rng.random(len(sights)) < MIRRORED).nonzero()[0]:
        sights[index] = sights[index].flip(2)
        facts[index, 1] *= -1
        straight[index], fates[index] = _mirrored(straight[index]), _mirrored(fates[index])
    logits = movement(*(part.to(device) for part in (sights, facts, straight)))
    return F.cross_entropy(logits.float(), fates.to(device))


def _mirrored(number_of_fate: torch.Tensor) -> torch.Tensor:
    """What stands for the same, left and right exchanged."""
    line, column = number_of_fate // SIDE, number_of_fate % SIDE
    return torch.where(number_of_fate == HIDES, number_of_fate, line * SIDE + SIDE - 1 - column)


def _blackened(sight_CVV: torch.Tensor, kept: int, side: int) -> torch.Tensor:
    """A sight of which only so many lines or columns are kept, from one of four sides."""
    turned = sight_CVV.rot90(side, (1, 2)).clone()
    turned[:, kept:] = 0
    return turned.rot90(-side, (1, 2))


def some_rows(transitions: Transitions, num_steps: int, seed: int) -> np.ndarray:
    """Which transitions things are followed in for a training of so many steps."""
    rng = np.random.default_rng((seed, num_steps))
    return np.sort(rng.permutation(len(transitions))[: TRANSITIONS * num_steps])


def followed_in(
    transitions: Transitions, rows: np.ndarray, history: int, gray: bool, num_workers: int = 1
) -> list[Example]:
    """Follow what moves before the transitions `rows`, and see what became of it.

    Args:
        transitions: to read from.
        rows: which of them.
        history: k.
        gray: whether in gray.
        num_workers: processes.
    """
    work = partial(_examples, transitions, history, gray)
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    done = map_in_order(work, chunks, num_workers)
    bar = progress(done, what="following things", unit="parts", total=len(chunks))
    return [example for part in bar for example in part]


def usual_frame(transitions: Transitions, gray: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What recordings mostly show (C, H, W) uint8, and where most of them do (H, W), bool."""
    rows = np.random.default_rng(seed).permutation(len(transitions))[:LOOKED_AT]
    frames = np.stack([read_sequence(transitions, int(row), 1, 0, gray)[0] for row in rows])
    usual = mostly(frames)
    return usual, (frames == usual).all(1).mean(0) >= USUALLY


def _examples(transitions: Transitions, history: int, gray: bool, rows: np.ndarray) -> list[Example]:
    return [
        Example(int(row), thing, off)
        for row in rows
        for thing, off in fates_in(read_sequence(transitions, int(row), history, 1, gray))
    ]


def fates_in(frames_TCHW: np.ndarray) -> Iterator[tuple[Thing, np.ndarray | None]]:
    """Each known thing that moves in all frames but the last, and how far (2,) it goes in that.

    None for what is not seen there as it was, and with small things that are new there.
    """
    followed = follow(frames_TCHW[:-1])
    following = next_things(followed, frames_TCHW[-1])
    if following is None:
        return
    yield from ((thing, None) for thing in new_among(following) if thing.is_small)
    seen = seen_again(following)
    for index, thing in enumerate(followed.things or []):
        if thing.is_known:
            yield thing, seen[index].place - thing.place if index in seen else None
