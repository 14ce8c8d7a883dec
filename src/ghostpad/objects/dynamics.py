"""Where what moves goes next: on, back from what it meets, or out of sight.

Each small thing that is followed is looked at by itself: what is around it now, what was there a frame ago,
and how it went. So a bounce is learned from every bounce, wherever it was, and what goes somewhere goes there
as a whole; predicted cell by cell, half of it would go one way and half the other. After object-centric
dynamics as the interaction networks of Battaglia et al. 2016 (https://arxiv.org/abs/1612.00222).

Dimensions: n things, C colour channels, V pixels of a sight's side.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.objects.action_motion import ControlState, Pushes
from ghostpad.objects.controllable import Known
from ghostpad.objects.detection import REMINDED, Thing, Tints, pixels
from ghostpad.objects.tracking import Tracks

AROUND = 28
"""Pixels that are seen from the middle of a thing to each side."""
FAR = 16
"""Pixels that a thing goes at most, along each axis, since it was last seen."""
SIDE = 2 * FAR + 1
HIDES = SIDE * SIDE
"""Stands for: it is not seen as it is."""
SURELY = 0.98
"""Probability above which a thing is left out of the likeliest picture: one that comes to light again a frame
later does less harm than one that is lost."""
TRUST = 5.0
"""What going on as it did has ahead of all else before training, in nats."""
LARGEST = 64
"""Pixels of each side up to which the looks of what is steered are kept."""
FACTS = 3 + REMINDED + 1
STRIDES = 3


class Looks(nn.Module):
    """How a thing of one colour looks, and where it is; kept in the world's file.

    Args:
        num_channels: C.
    """

    mask: Tensor
    color: Tensor
    place: Tensor

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.register_buffer("mask", torch.zeros(LARGEST, LARGEST, dtype=torch.bool))
        self.register_buffer("color", torch.zeros(num_channels, dtype=torch.uint8))
        self.register_buffer("place", torch.zeros(2, dtype=torch.int64))

    def keep(self, thing: Thing) -> None:
        """Keep those of a thing, unless it is too large."""
        height, width = thing.mask.shape
        if max(height, width) <= LARGEST:
            self.mask.zero_()
            self.mask[:height, :width] = torch.from_numpy(thing.mask)
            self.color.copy_(torch.from_numpy(thing.colors[:, 0].astype(np.uint8)))
            self.place.copy_(torch.from_numpy(thing.place))

    def forget(self) -> None:
        """Keep none."""
        self.mask.zero_()

    @property
    def thing(self) -> Thing | None:
        """A thing that looks so; None where nothing was kept."""
        mask = self.mask.cpu().numpy()
        if not mask.any():
            return None
        height, width = (int(np.flatnonzero(mask.any(axis))[-1]) + 1 for axis in (1, 0))
        mask, color = mask[:height, :width], self.color.cpu().numpy().astype(np.int16)
        return Thing(self.place.cpu().numpy(), mask, np.repeat(color[:, None], mask.sum(), 1))


class Movement(nn.Module):
    """Predicts where followed things go.

    Args:
        num_channels: C.
        size: H and W of whole frames.
        num_buttons: M.
        widths: channels after each convolution of stride 2.
        width: of the layer before the last.
    """

    is_taught: Tensor
    coming_button: Tensor
    usual_frame: Tensor
    usual_known: Tensor
    stays: Tensor
    covers: Tensor
    parts: Tensor
    tints: Tensor
    tints_known: Tensor

    def __init__(
        self,
        num_channels: int,
        size: tuple[int, int] = (0, 0),
        num_buttons: int = 2,
        widths: tuple[int, int, int] = (24, 48, 32),
        width: int = 160,
    ) -> None:
        super().__init__()
        self.num_channels = num_channels
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(zip((2 * num_channels + 2, *widths), widths, strict=False)):
            kernel = 4 if index == 0 else 3
            layers += [nn.Conv2d(before, after, kernel, stride=2, padding=1), nn.ReLU(inplace=True)]
        self.around = nn.Sequential(*layers, nn.Flatten())
        self.seen = nn.Linear(widths[-1] * (2 * AROUND // 2**STRIDES) ** 2, width)
        self.facts = nn.Linear(FACTS, width)
        self.straight = nn.Embedding(HIDES + 1, width)
        nn.init.normal_(self.straight.weight, std=0.1)
        self.out = nn.Linear(width, HIDES + 1)
        self.trust = nn.Linear(width, 1)
        nn.init.constant_(self.trust.bias, TRUST)
        self.register_buffer("is_taught", torch.zeros((), dtype=torch.bool))
        self.steered, self.coming, self.tinted = (Looks(num_channels) for _ in range(3))
        self.pushes = Pushes(num_buttons)
        # The colours of what looks like `tinted` on each line.
        self.register_buffer("tints", torch.zeros(num_channels, size[0], dtype=torch.int16))
        self.register_buffer("tints_known", torch.zeros(size[0], dtype=torch.bool))
        # What recordings mostly show, and where most of them do; nothing where nobody looked.
        self.register_buffer("usual_frame", torch.zeros(num_channels, *size, dtype=torch.uint8))
        self.register_buffer("usual_known", torch.zeros(*size, dtype=torch.bool))
        # Where nothing but what is followed ever changes it.
        self.register_buffer("stays", torch.zeros(*size, dtype=torch.bool))
        # What stands before and behind what moves, see `Scenery`.
        self.register_buffer("covers", torch.zeros(*size, dtype=torch.bool))
        self.register_buffer("parts", torch.zeros(*size, dtype=torch.int32))
        # The button with which something comes; negative where there is none.
        self.register_buffer("coming_button", torch.full((), -1, dtype=torch.int64))

    @property
    def known(self) -> Known:
        """What recordings have told of the things in a game."""
        tinted, tints = self.tinted.thing, None
        if tinted is not None:
            tints = Tints(tinted.mask, self.tints.cpu().numpy(), self.tints_known.cpu().numpy())
        stands = (self.usual_frame, self.usual_known, self.stays, self.covers, self.parts)
        return Known(tints, self.steered.thing, *(part.cpu().numpy() for part in stands))

    def keep_tints(self, tinted: Thing, tints: Tints) -> None:
        """Keep the colours of things that look like one."""
        self.tinted.keep(tinted)
        self.tints.copy_(torch.from_numpy(tints.colors))
        self.tints_known.copy_(torch.from_numpy(tints.known))

    def forward(self, sights_nCVV: Tensor, facts_n: Tensor, straight_n: Tensor) -> Tensor:
        """Logits (n, SIDE² + 1) of where things go since they were last seen, line by line, and of `HIDES`.

        Args:
            sights_nCVV: (n, 2C + 2, V, V) in [0, 1], see `sight`.
            facts_n: (n, FACTS), see `facts`.
            straight_n: (n,) where each would be if it went on as it did, as a number of a logit.
        """
        known = self.seen(self.around(sights_nCVV)) + self.facts(facts_n) + self.straight(straight_n)
        hidden = F.relu(known)
        return self.out(hidden) + self.trust(hidden) * F.one_hot(straight_n, HIDES + 1)

    @torch.no_grad()
    def foresee(
        self,
        followed: Sequence[Tracks],
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
        held_N: Tensor | None = None,
        before: ControlState | None = None,
    ) -> list[Tracks]:
        """Say of what is steered and of all small things that were followed where they will be.

        Args:
            followed: of N worlds.
            temperature: 0 for the likeliest, else draws.
            generator: of the draws.
            held_N: their buttons; what is steered is left as it is when not given.
            before: how it was pushed before; nobody knows when not given.

        Returns:
            The same, with `foreseen` and `hides`; unchanged before training.
        """
        if held_N is not None and bool(self.pushes.is_taught):
            followed = self._pushed(followed, temperature, generator, held_N, before)
        things = [
            (each, thing)
            for each in followed
            for thing in each.things or []
            if thing.is_sure and not thing.is_steered
        ]
        if not things or not bool(self.is_taught):
            return list(followed)
        device = self.out.weight.device
        logits = self(*(part.to(device) for part in looked_at(things)))
        hides, places = _fates(logits, temperature, generator)
        fates = {
            id(thing): (bool(hide), thing.place + place)
            for (_, thing), hide, place in zip(things, hides, places, strict=True)
        }
        return [replace(each, things=_told(each.things, fates)) for each in followed]

    def _pushed(
        self,
        followed: Sequence[Tracks],
        temperature: float,
        generator: torch.Generator | None,
        held_N: Tensor,
        before: ControlState | None,
    ) -> list[Tracks]:
        """The same with what is steered where its button sends it."""
        steered = {number: each.steered for number, each in enumerate(followed) if each.steered is not None}
        if not steered:
            return list(followed)
        rows = list(steered)
        corners = np.stack([followed[number].corner for number in rows])
        before = None if before is None else ControlState(before.buttons[rows], before.overshoot[rows])
        things = [thing for thing in steered.values() if thing is not None]
        places, pushed = self.pushes.foresee(things, corners, held_N[rows], before, temperature, generator)
        led = list(followed)
        after = zip(rows, places, pushed.buttons.tolist(), pushed.overshoot, strict=True)
        for row, place, held, beyond in after:
            led[row] = replace(led[row].led_to(place), pushed=(held, beyond))
        return led


def _fates(
    logits: Tensor, temperature: float, generator: torch.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each thing hides, and how far (n, 2) it goes otherwise."""
    chances = (logits.float() / (temperature or 1.0)).softmax(1)
    if temperature:
        hides = torch.rand(len(chances), generator=generator, device=chances.device) < chances[:, HIDES]
        where = torch.multinomial(chances[:, :HIDES] + 1e-12, 1, generator=generator)[:, 0]
    else:
        hides, where = chances[:, HIDES] > SURELY, chances[:, :HIDES].argmax(1)
    return hides.cpu().numpy(), offsets(where.cpu().numpy())


def _told(things: list[Thing] | None, fates: dict[int, tuple[bool, np.ndarray]]) -> list[Thing] | None:
    if things is None:
        return None
    return [
        replace(thing, hides=fates[id(thing)][0], foreseen=fates[id(thing)][1])
        if id(thing) in fates
        else thing
        for thing in things
    ]


def looked_at(things: Sequence[tuple[Tracks, Thing]]) -> tuple[Tensor, Tensor, Tensor]:
    """What `Movement` is to know of things."""
    sights = np.stack([sight(each.newest, each.before, thing, each.steered) for each, thing in things])
    told = np.stack([facts(thing) for _, thing in things])
    straight = np.array([number(thing.next_place - thing.place) for _, thing in things])
    return torch.from_numpy(sights).float() / 255, torch.from_numpy(told).float(), torch.from_numpy(straight)


def sight(
    newest_CHW: np.ndarray, before_CHW: np.ndarray, thing: Thing, steered: Thing | None = None
) -> np.ndarray:
    """What is around a thing: (2C + 2, V, V) uint8; black outside.

    Now, a frame ago, where what is steered will be, and the mask of the thing itself.
    """
    top, left = thing.place + np.array(thing.mask.shape) // 2 - AROUND
    lines, columns = slice(max(0, top), top + 2 * AROUND), slice(max(0, left), left + 2 * AROUND)
    channels = len(newest_CHW)
    seen = np.zeros((2 * channels + 2, 2 * AROUND, 2 * AROUND), np.uint8)
    part = newest_CHW[:, lines, columns]
    inside = (
        slice(max(0, -top), max(0, -top) + part.shape[1]),
        slice(max(0, -left), max(0, -left) + part.shape[2]),
    )
    seen[:channels, *inside] = part
    seen[channels:-2, *inside] = before_CHW[:, lines, columns]
    if steered is not None:
        place = steered.next_place if steered.foreseen is None else steered.foreseen
        there, across, _ = pixels(steered, place - (top, left), (2 * AROUND, 2 * AROUND))
        seen[-2, there, across] = 255
    (down, right), (tall, wide) = thing.place - (top, left), thing.mask.shape
    seen[-1, down : down + tall, right : right + wide] = 255 * thing.mask
    return seen


def facts(thing: Thing) -> np.ndarray:
    """How a thing went, if that is known, and how long ago it was seen: (FACTS,) float32."""
    step = np.zeros(2) if thing.step is None else thing.step
    age = np.eye(REMINDED + 1)[min(thing.age, REMINDED + 1) - 1]
    return np.concatenate([step / 8, [thing.step is None], age]).astype(np.float32)


def number(offset_2: np.ndarray) -> int:
    """Which logit stands for going so far; the nearest for what is farther."""
    down, right = np.clip(offset_2, -FAR, FAR) + FAR
    return int(down * SIDE + right)


def offsets(numbers_n: np.ndarray) -> np.ndarray:
    """How far (n, 2) these logits stand for."""
    return np.stack(np.divmod(numbers_n, SIDE), 1) - FAR
