"""Buttons from how things go: what is steered goes on by its past, and by a step that its button alone says.

Which of several buttons explains a transition can be named otherwise in each situation, and all these names
are as likely: nothing but the network's own bias says that what is "left" when the paddle rests is "left"
too when it moves. Here it is said: a button adds the same step everywhere, as a push does. So where a thing
goes is a mixture of as many steps as there are buttons around what its past foretells, fitted as one by
maximum likelihood, and the number of buttons is the least that explains other recordings as well.

Dimensions: n transitions, M buttons.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.frames.pairs import Transitions
from ghostpad.objects.action_motion import PIXELS, WENT, Pushes, at_edge, edges_of
from ghostpad.objects.detection import Thing
from ghostpad.objects.training import Example, looks_of
from ghostpad.progress import progress

FEWEST = 512
"""Looks at a thing below which nothing is said of what steers it."""
FEWEST_COMES = 32
"""Times that something comes below which no button is made of it."""
STEPS, BATCH, TRIES = 1500, 512, 2
LEARNING_RATE = 2e-2
PLACES = 100
"""What places are divided by."""
CLOSEST = 1.0
"""Mean distance from where it was to be, in pixels, below which nearer is no better."""
HELD_OUT = 0.2
ENOUGH = 0.1
"""Nats by which more buttons must explain other looks better."""
WORTH = 0.5
"""Nats by which buttons must explain a thing better than its past alone, or nobody steers it."""
SURELY = 0.9


@dataclass(frozen=True)
class Steering:
    """What steers a thing, as it was found.

    Attributes:
        push: where it goes by each button.
        thing: that is steered, as it was seen once.
    """

    push: "Push"
    thing: Thing

    @property
    def num_buttons(self) -> int:
        """How many there are."""
        return len(self.push.steps)

    @property
    def steps(self) -> np.ndarray:
        """Pixels (num_buttons, 2), lines and columns, that each adds."""
        return self.push.steps.detach().numpy()


@dataclass(frozen=True)
class Steered:
    """The buttons that were held in transitions.

    Attributes:
        rows: (n,) training transitions, ascending.
        buttons: (n,) the button of each.
        num_buttons: how many there are.
        rest: the one with which what stands stays.
        comes: (m,) transitions with which something small comes that is seen often, as a ball that is served.
        coming: what that is, where it mostly comes; None where nothing does.
    """

    rows: np.ndarray
    buttons: np.ndarray
    num_buttons: int
    rest: int
    comes: np.ndarray
    coming: Thing | None = None


class Push(nn.Module):
    """Where a thing goes: what its past foretells, and the step of one of M buttons.

    Args:
        num_buttons: M.
        spread_2: pixels along the axis on which the steps of the buttons are laid out at first.
        width: of the layers that look at the past.
    """

    def __init__(self, num_buttons: int, spread_2: Tensor, width: int = 64) -> None:
        super().__init__()
        self.past = nn.Sequential(
            nn.Linear(2 * WENT + 2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )
        self.steps = nn.Parameter(torch.linspace(-1, 1, num_buttons)[:, None] * spread_2)
        if num_buttons == 1:
            nn.init.zeros_(self.steps)
        self.chances = nn.Parameter(torch.zeros(num_buttons))
        self.distance = nn.Parameter((spread_2.norm() / 2).clamp_min(CLOSEST).log())

    def forward(self, pasts_nF: Tensor, offsets_n2: Tensor) -> Tensor:
        """Log-likelihoods (n, M) of going `offsets_n2`, in pixels, by each button."""
        off = (offsets_n2 - self.past(pasts_nF))[:, None] - self.steps
        scale = self.distance.exp().clamp_min(CLOSEST)
        return -off.abs().sum(2) / scale - 2 * (2 * scale).log() + self.chances.log_softmax(0)


def find_steered(examples: Sequence[Example], most_buttons: int, seed: int) -> Steering | None:
    """Find the thing that is steered, and the steps that buttons add.

    Args:
        examples: things that were followed, and what became of them.
        most_buttons: that there may be.
        seed: of the fits.

    Returns:
        None where nothing is seen often enough, or nothing is explained by buttons.
    """
    groups: dict[tuple, list[Example]] = {}
    for each in examples:
        if each.off is not None and each.thing.age == 1 and each.thing.bent is None:
            groups.setdefault(looks_of(each.thing), []).append(each)
    groups = {looks: _free_of(seen) for looks, seen in groups.items() if len(seen) >= FEWEST}
    groups = {looks: seen for looks, seen in groups.items() if len(seen) >= FEWEST}
    best: Steering | None = None
    gained = 0.0
    bar = progress(total=len(groups), what="what steers what moves", unit="things")
    with torch.random.fork_rng(devices=[]), bar:
        torch.manual_seed(seed)
        for seen in groups.values():
            pasts, offsets = _pasts(seen)
            alone, most = (_fitted(pasts, offsets, number) for number in (1, most_buttons))
            if (alone[1] - most[1]) * len(seen) > gained and alone[1] - most[1] >= WORTH:
                fits = [_fitted(pasts, offsets, number) for number in range(2, most_buttons)] + [most]
                least = min(surprise for _, surprise in fits)
                push, surprise = next(fit for fit in fits if fit[1] <= least + ENOUGH)
                best, gained = Steering(push, seen[0].thing), (alone[1] - surprise) * len(seen)
            bar.update()
    return best


def _free_of(seen: list[Example]) -> list[Example]:
    """Those looks at a thing of which neither begins or ends at an edge of where it can go."""
    places = np.stack([each.thing.place for each in seen])
    ends = places + np.stack([each.off for each in seen if each.off is not None])
    edges = edges_of(np.concatenate([places, ends]))
    return [seen[index] for index in np.flatnonzero(~at_edge(places, *edges) & ~at_edge(ends, *edges))]


def name_buttons(steering: Steering, examples: Sequence[Example]) -> Steered:
    """The buttons that were held, as far as where the thing went says so.

    Args:
        steering: what steers it.
        examples: looks at what is steered (`Thing.is_steered`), and at what comes.
    """
    seen = _free_of([each for each in examples if each.thing.is_steered and each.off is not None])
    pasts, offsets = _pasts(seen)
    with torch.no_grad():
        chances, buttons = steering.push(pasts, offsets).softmax(1).max(1)
    sure = (chances >= SURELY).numpy()
    rows, first = np.unique(np.array([each.row for each in seen])[sure], return_index=True)
    found = buttons.numpy()[sure][first]
    stays = (offsets.numpy()[sure] == 0).all(1)
    stood = np.array([not any(map(any, each.thing.went[-2:])) for each in seen])[sure]
    at_rest = buttons.numpy()[sure][stays & stood if (stays & stood).any() else stays]
    rest = int(np.bincount(at_rest if len(at_rest) else found, minlength=steering.num_buttons).argmax())
    coming = _coming(examples)
    comes = np.unique(np.array([each.row for each in coming], np.int64))
    return Steered(rows, found, steering.num_buttons, rest, comes, _mostly(coming))


def recognize_buttons(
    pushes: Pushes, in_use: Sequence[int], coming: Thing | None, examples: Sequence[Example]
) -> Steered:
    """The buttons that were held, as far as a world says so that was trained before.

    Args:
        pushes: how far each button sends what is steered.
        in_use: the buttons that do.
        coming: what comes with one more; None where nothing does.
        examples: looks at what is steered (`Thing.is_steered`), and at what comes.
    """
    seen = [each for each in examples if each.thing.is_steered and each.off is not None]
    comes = [each.row for each in examples if each.is_new and coming and each.thing.looks_like(coming)]
    rows, buttons = np.zeros((2, 0), np.int64)
    if seen:
        offsets = np.stack([each.off for each in seen if each.off is not None])
        nats = pushes.surprise([each.thing for each in seen], offsets, np.zeros_like(offsets))[:, in_use]
        chances, likeliest = (-nats).softmax(1).max(1)
        sure = (chances >= SURELY).numpy()
        rows, first = np.unique(np.array([each.row for each in seen])[sure], return_index=True)
        buttons = np.array(in_use)[likeliest.numpy()[sure][first]]
    return Steered(rows, buttons, len(in_use), int(pushes.resting), np.unique(np.array(comes, np.int64)))


def teach_pushes(
    pushes: Pushes, examples: Sequence[Example], transitions: Transitions, buttons: np.ndarray, seed: int
) -> None:
    """Learn where what is steered goes by each button.

    Args:
        pushes: trained in place.
        examples: looks at it, among others.
        transitions: in which these were.
        buttons: of every training transition, −1 where it is not known.
        seed: of the draws.
    """
    seen = [each for each in examples if each.thing.is_steered and each.off is not None]
    if not seen:
        return
    rows, stride = np.array([each.row for each in seen]), transitions.stride
    before = np.where(transitions.frame_index[rows] >= stride, buttons[rows - stride], -1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        offsets = np.stack([each.off for each in seen if each.off is not None])
        pushes.teach([each.thing for each in seen], offsets, buttons[rows], before)


def habits(transitions: Transitions, buttons: np.ndarray, num_buttons: int) -> np.ndarray:
    """How often each button (row) is followed by each other, as far as both are known: (M, M).

    Args:
        transitions: of the training episodes.
        buttons: of each, −1 where it is not known.
        num_buttons: M.
    """
    rows = np.flatnonzero((transitions.frame_index >= transitions.stride) & (buttons >= 0))
    before = buttons[rows - transitions.stride]
    counts = np.zeros((num_buttons, num_buttons))
    np.add.at(counts, (before[before >= 0], buttons[rows][before >= 0]), 1)
    return counts


def _coming(examples: Sequence[Example]) -> list[Example]:
    """Looks at something that comes and is seen often, where nothing small was."""
    counts = Counter(looks_of(each.thing) for each in examples)
    small = [each for each in examples if each.thing.is_small and not each.thing.is_steered]
    there = {each.row for each in small if not each.is_new}
    new = [each for each in small if each.is_new and each.row not in there]
    coming = [each for each in new if counts[looks_of(each.thing)] >= FEWEST]
    return coming if len({each.row for each in coming}) >= FEWEST_COMES else []


def _mostly(coming: list[Example]) -> Thing | None:
    """What comes, as it looks and where it is most often."""
    things = [((*looks_of(each.thing), *each.thing.place.tolist()), each.thing) for each in coming]
    counts = Counter(key for key, _ in things).most_common(1)
    return dict(things)[counts[0][0]] if counts else None


def _pasts(examples: list[Example]) -> tuple[Tensor, Tensor]:
    """What is known of the past of each thing (n, F), and how far it goes (n, 2)."""
    known = np.zeros((len(examples), 2 * WENT + 2), np.float32)
    for row, each in zip(known, examples, strict=True):
        went = np.array(each.thing.went[-WENT:], np.float32).ravel() / PIXELS
        row[len(row) - 2 - len(went) : -2] = went
        row[-2:] = each.thing.place / PLACES
    offsets = np.array([each.off for each in examples], np.float32)
    return torch.from_numpy(known), torch.from_numpy(offsets)


def _fitted(pasts: Tensor, offsets: Tensor, num_buttons: int) -> tuple[Push, float]:
    """The best of some fits, as each begins with other weights."""
    return min((_fit(pasts, offsets, num_buttons) for _ in range(TRIES)), key=lambda fit: fit[1])


def _fit(pasts: Tensor, offsets: Tensor, num_buttons: int) -> tuple[Push, float]:
    """Fit by maximum likelihood; with the surprise, nats, at what was held out."""
    held_out = torch.arange(len(pasts)) % round(1 / HELD_OUT) == 0
    known = (~held_out).nonzero()[:, 0]
    away = offsets[known] - offsets[known].mean(0)
    axis = torch.linalg.svd(away, full_matrices=False).Vh[0]
    push = Push(num_buttons, axis * (away @ axis).std())
    optimizer = torch.optim.Adam(push.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    for _ in range(STEPS):
        drawn = known[torch.randint(len(known), (BATCH,))]
        loss = -push(pasts[drawn], offsets[drawn]).logsumexp(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return push, -float(push(pasts[held_out], offsets[held_out]).logsumexp(1).mean())
