"""Teaching `Movement` from recordings: things are followed, and where they are a frame later is the answer.

Dimensions: k frames of history, n things.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequence
from ghostpad.objects.controllable import Known
from ghostpad.objects.detection import Thing, Tints, mostly, things_in
from ghostpad.objects.dynamics import AROUND, FAR, HIDES, SIDE, Movement, looked_at, number
from ghostpad.objects.rendering import bare
from ghostpad.objects.tracking import Tracks, follow, new_among, next_things, seen_again, steered_next
from ghostpad.progress import progress
from ghostpad.workers import map_in_order

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
LOOKED_AT_BARE, ALWAYS = 1024, 0.99
"""Recorded frames that are looked at for what never changes in them, and the share that must be the same."""
BARE = 0.9
"""Share of these in which nothing but what is followed must be where things only go by."""
NEAR = 4
"""Pixels around where what is steered goes in which that counts."""
FEWEST = 16
"""Things below which there is nothing to learn from."""
FEWEST_TINTS, SAME_TINT = 2, 0.9
"""Looks at a line below which nothing is said of its colour, and the share of them that must have it."""


@dataclass(frozen=True)
class Example:
    """A thing, the training transition before which it was followed, and what became of it.

    Attributes:
        row: of the transition.
        thing: that was followed, and is known; or a small one that is new in the frame after the transition.
        off: (2,) pixels that it went since it was last seen; None if it is not seen as it was, or is new.
        steered: what is steered, foreseen where it goes; None if it is not known or not there.
        is_new: whether the thing comes with the transition.
    """

    row: int
    thing: Thing
    off: np.ndarray | None
    steered: Thing | None = None
    is_new: bool = False

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
    examples = [
        each for each in followed if each.thing.is_sure and not (each.thing.is_steered or each.is_new)
    ]
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
        (Tracks(now, before, now, None if each.steered is None else [each.steered]), each.thing)
        for (before, now), each in zip(shown, examples, strict=True)
    ]
    sights, facts, straight = looked_at(things)
    for index in (rng.random(len(sights)) < CUT).nonzero()[0]:
        # Some pixels beyond what the thing covers at most.
        left = int(rng.integers(AROUND + FAR // 2, 2 * AROUND))
        sights[index] = _blackened(sights[index], left, int(rng.integers(4)))
    fates = torch.tensor([example.fate for example in examples])
    # What was seen once goes left or right as it does in the game.
    went = np.array([each.thing.step is not None for each in examples])
    for index in ((rng.random(len(sights)) < MIRRORED) & went).nonzero()[0]:
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
    transitions: Transitions,
    rows: np.ndarray,
    history: int,
    gray: bool,
    num_workers: int = 1,
    known: Known | None = None,
) -> list[Example]:
    """Follow what moves before the transitions `rows`, and see what became of it.

    Args:
        transitions: to read from.
        rows: which of them.
        history: k.
        gray: whether in gray.
        num_workers: processes.
        known: what is known of the game already.
    """
    work = partial(_examples, transitions, history, gray, known)
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


def small_looks(examples: Sequence[Example]) -> Thing | None:
    """How the small thing looks that is followed oftenest; None where there is none."""
    seen = [each.thing for each in examples if each.thing.is_sure and not each.is_new]
    counts = Counter(looks_of(thing) for thing in seen)
    return next((thing for thing in seen if looks_of(thing) == counts.most_common(1)[0][0]), None)


def looks_of(thing: Thing) -> tuple:
    """What things that look alike have in common."""
    color = None if thing.tints is not None else thing.colors[:, 0].tobytes()
    return thing.mask.shape, thing.mask.tobytes(), color


def find_tints(
    transitions: Transitions, rows: np.ndarray, small: Thing, gray: bool, num_workers: int = 1
) -> Tints:
    """The colour on each line of what has the shape of a small thing and appears in one of some frames.

    Args:
        transitions: to read from.
        rows: which of them.
        small: the thing.
        gray: whether in gray.
        num_workers: processes.
    """
    work = partial(_shapes, transitions, small.mask, gray)
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    done = map_in_order(work, chunks, num_workers)
    bar = progress(done, what="colours of what moves", unit="parts", total=len(chunks))
    height = transitions.store.height
    seen: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(height)]
    for part in bar:
        for line, color in part:
            seen[line][color] += 1
    colors = np.zeros((len(small.colors), height), np.int16)
    known = np.zeros(height, bool)
    for line, counts in enumerate(seen):
        if counts.total() >= FEWEST_TINTS:
            color, times = counts.most_common(1)[0]
            colors[:, line], known[line] = color, times >= SAME_TINT * counts.total()
    return Tints(small.mask, colors, known)


def _shapes(
    transitions: Transitions, mask: np.ndarray, gray: bool, rows: np.ndarray
) -> list[tuple[int, tuple[int, ...]]]:
    """Lines and colours of what has a shape and was not there a frame before."""
    found = []
    for row in rows:
        before, now = read_sequence(transitions, int(row), 2, 0, gray)
        for thing in things_in(now, before) or []:
            if thing.has_shape(mask):
                color = tuple(thing.colors[:, 0].tolist())
                found += [(int(thing.place[0]) + line, color) for line in range(len(mask))]
    return found


def stays_in(
    transitions: Transitions,
    known: Known,
    edges: tuple[np.ndarray, np.ndarray],
    passed_HW: np.ndarray,
    history: int,
    gray: bool,
    seed: int,
) -> np.ndarray:
    """Where nothing but what is followed changes what is usual: (H, W) bool.

    That is looked for around where the steered thing goes, and where things only go by, if all that do so are
    followed. Codes that speak of it there are wrong, as where the thing covered a wall of its colour.

    Args:
        transitions: to look at.
        known: what is known of the game.
        edges: lowest and highest line and column (2,) of the steered thing.
        passed_HW: bool, where things only go by, see `Scenery`.
        history: k.
        gray: whether in gray.
        seed: of the draw.
    """
    assert known.steered is not None and known.usual is not None
    rows = np.random.default_rng((seed, 1)).permutation(len(transitions))[:LOOKED_AT_BARE]
    counts, num_bare = np.zeros(known.usual.shape[1:], int), 0
    for row in progress(rows, what="what always stays", unit="frames"):
        followed = follow(read_sequence(transitions, int(row), history, 0, gray), known)
        things = [
            replace(thing, foreseen=thing.place) if thing.is_sure else thing
            for thing in followed.things or []
        ]
        usual = (bare(replace(followed, things=things)) == known.usual).all(0)
        counts += usual
        num_bare += bool(usual[passed_HW].all())
    (top, left), (bottom, right) = np.maximum(edges[0] - NEAR, 0), edges[1] + known.steered.mask.shape + NEAR
    around = np.zeros(counts.shape, bool)
    around[top:bottom, left:right] = True
    if num_bare >= BARE * len(rows):
        around |= passed_HW
    return around & (counts >= ALWAYS * len(rows))


def _examples(
    transitions: Transitions, history: int, gray: bool, known: Known | None, rows: np.ndarray
) -> list[Example]:
    return [
        each
        for row in rows
        for each in fates_in(int(row), read_sequence(transitions, int(row), history, 1, gray), known)
    ]


def fates_in(row: int, frames_TCHW: np.ndarray, known: Known | None = None) -> Iterator[Example]:
    """Each known thing in all frames but the last, and what becomes of it in that; and small ones that come.

    What is steered is known, whether it moves or not.
    """
    followed = follow(frames_TCHW[:-1], known)
    following = next_things(followed, frames_TCHW[-1])
    if following is None:
        return
    there = steered_next(followed, frames_TCHW[-1], following)
    if there is not None:
        followed = followed.led_to(there.place)
    steered = followed.steered
    for thing in new_among(following):
        if thing.is_small:
            yield Example(row, thing, None, steered, is_new=True)
    seen = seen_again(following)
    for index, thing in enumerate(followed.things or []):
        if thing.is_steered:
            yield Example(row, thing, None if there is None else there.place - thing.place, steered)
        elif thing.is_known:
            yield Example(row, thing, seen[index].place - thing.place if index in seen else None, steered)
