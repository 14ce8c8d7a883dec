"""Discovery of the controllable object and of its buttons, from the motion of tracked objects alone.

The controllable object moves by what its past predicts plus a displacement that depends on the button alone:
without labels, a mixture with one component for each button. It is fitted by maximum likelihood, whose
gradient weights the components by their posteriors, as in expectation maximization (Dempster et al., 1977;
mixture density networks, Bishop, 1994). Displacements do not depend on the past, or else buttons could be
permuted from one past to another. As few buttons are used as explain held-out motion.

Dimensions: n observations, M buttons, F features of the past.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mode

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.objects.action_motion import PAST, at_edge, past_displacements, range_of
from ghostpad.objects.detection import Object
from ghostpad.objects.prior import ObjectPrior
from ghostpad.objects.recordings import TrackedObject, appearance_key
from ghostpad.progress import progress
from ghostpad.training.fit import fit

MIN_OBSERVATIONS = 512  # displacements of an object, to infer anything from it
MIN_SPAWNS = 32  # transitions with a spawn, for a button of its own
STEPS, BATCH_SIZE, RESTARTS, LEARNING_RATE = 1500, 512, 2, 2e-2
POSITION_SCALE = 100  # pixels
MIN_SCALE = 1.0  # pixels, of the mixture: positions are whole pixels
HELD_OUT = 5  # one of how many observations is held out
MIN_GAIN = 0.5  # nats per held-out displacement that buttons save if an object is controllable
MIN_KNOWN_GAIN = 0.1  # the same where the button of each observation is known
TOLERANCE = 0.1  # nats that fewer buttons may lose against the best number
MIN_POSTERIOR = 0.9  # of a button, to count as known
MOST_DISPLACEMENTS = 5  # buttons of the mixture; more stand for the velocities of an object with momentum


class DisplacementMixture(nn.Module):
    """Laplace mixture over displacements: what F features of the past predict, plus that of one of M buttons.

    The buttons start evenly between −`spread_2` and `spread_2` pixels along each axis.
    """

    def __init__(
        self, num_buttons: int, spread_2: Tensor, num_features: int = 3 * PAST + 2, width: int = 64
    ) -> None:
        super().__init__()
        self.past = nn.Sequential(
            nn.Linear(num_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )
        starts = torch.linspace(-1, 1, num_buttons) if num_buttons > 1 else torch.zeros(1)
        self.displacements = nn.Parameter(starts[:, None] * spread_2)
        self.prior_logits = nn.Parameter(torch.zeros(num_buttons))
        self.log_scale = nn.Parameter((spread_2.norm() / 2).clamp_min(MIN_SCALE).log())

    def forward(self, pasts_nF: Tensor, displacements_n2: Tensor) -> Tensor:
        """Log-likelihood (n, M) of each button together with the observed displacement (pixels)."""
        error_nM2 = (displacements_n2 - self.past(pasts_nF))[:, None] - self.displacements
        scale = self.log_scale.exp().clamp_min(MIN_SCALE)
        log_likelihood_nM = -error_nM2.abs().sum(2) / scale - 2 * (2 * scale).log()
        return log_likelihood_nM + self.prior_logits.log_softmax(0)

    def nll(self, pasts_nF: Tensor, displacements_n2: Tensor) -> Tensor:
        """Mean negative log-likelihood () in nats, whichever button was held."""
        return -self(pasts_nF, displacements_n2).logsumexp(1).mean()


@dataclass(frozen=True)
class Controllable:
    """The controllable object, as it was seen once, and the mixture over its displacements."""

    object: Object
    mixture: DisplacementMixture

    @property
    def displacements(self) -> np.ndarray:
        """Pixels (M, 2), rows and columns, that each button adds."""
        return self.mixture.displacements.detach().numpy()


@dataclass(frozen=True)
class InferredButtons:
    """Buttons of training transitions.

    Attributes:
        rows: (n,) transitions whose button is known, ascending.
        buttons: (n,) their buttons.
        moving: buttons that differ by how they move the controllable object.
        noop: the button of these that lets it rest.
        spawn_rows: (m,) transitions in which an object spawns.
        spawn_button: the button that stands for spawns; None where none does.
        spawned: the spawned object, where it spawns most often.
    """

    rows: np.ndarray
    buttons: np.ndarray
    moving: Sequence[int]
    noop: int
    spawn_rows: np.ndarray
    spawn_button: int | None = None
    spawned: Object | None = None

    @property
    def in_use(self) -> list[int]:
        """All buttons."""
        return [*self.moving] + ([] if self.spawn_button is None else [self.spawn_button])


def find_controllable(tracked: Sequence[TrackedObject], max_buttons: int, seed: int) -> Controllable | None:
    """Find the object whose motion buttons explain best, and how many buttons there are.

    Tracked objects that look alike are taken for one. None where no object is seen often enough, or buttons
    explain none of them.
    """
    best, best_gain = None, 0.0
    max_buttons = min(max_buttons, MOST_DISPLACEMENTS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for group in progress(_groups(tracked), what="finding the controllable object", unit="objects"):
            data = _features(group)
            (_, past_nll), most = (_best_fit(*data, number) for number in (1, max_buttons))
            gain = past_nll - most[1]
            if gain >= MIN_GAIN and gain * len(group) > best_gain:
                fits = [_best_fit(*data, number) for number in range(2, max_buttons)] + [most]
                least = min(nll for _, nll in fits)
                mixture, nll = next(pair for pair in fits if pair[1] <= least + TOLERANCE)
                best, best_gain = Controllable(group[0].object, mixture), (past_nll - nll) * len(group)
    return best


def find_controllable_of_buttons(
    tracked: Sequence[TrackedObject], buttons_T: np.ndarray, seed: int
) -> Object | None:
    """Find the object whose motion known buttons explain best beyond its past; None where they explain none.

    The buttons are those of all training transitions, −1 where unknown.
    """
    best, most = None, 0.0
    known = [each for each in tracked if buttons_T[each.row] >= 0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for group in progress(_groups(known), what="finding the controllable object", unit="objects"):
            pasts, displacements = _features(group)
            held = torch.from_numpy(buttons_T[_rows(group)].astype(np.int64))
            with_buttons = torch.cat([pasts, nn.functional.one_hot(held).float()], 1)
            (_, past_nll), (_, nll) = (_best_fit(part, displacements, 1) for part in (pasts, with_buttons))
            gain = past_nll - nll
            if gain >= MIN_KNOWN_GAIN and gain * len(group) > most:
                best, most = group[0].object, gain * len(group)
    return best


def infer_buttons(
    controllable: Controllable, tracked: Sequence[TrackedObject], max_buttons: int
) -> InferredButtons:
    """Infer the buttons of transitions by Bayes' rule from the mixture that was found.

    `tracked` are observations of the controllable and of other objects. One of at most `max_buttons` stands
    for spawns, where the mixture leaves room for it.
    """
    num_buttons, seen = len(controllable.displacements), _inside(_displaced(tracked))
    pasts, displacements = _features(seen)
    with torch.no_grad():
        chosen, buttons = _confident(controllable.mixture(pasts, displacements).softmax(1), seen)
    stands = (displacements.numpy()[chosen] == 0).all(1)
    rests = stands & [not any(map(any, seen[index].object.displacements[-2:])) for index in chosen]
    still = rests if rests.any() else stands if stands.any() else np.ones_like(stands)
    noop = int(np.bincount(buttons[still], minlength=num_buttons).argmax())
    spawns = _spawns(tracked)
    spawn_button = num_buttons if spawns and num_buttons < max_buttons else None
    rows, spawn_rows, spawned = _rows(seen)[chosen], np.unique(_rows(spawns)), _commonest(spawns)
    return InferredButtons(rows, buttons, range(num_buttons), noop, spawn_rows, spawn_button, spawned)


def is_seen_inside(tracked: Sequence[TrackedObject]) -> bool:
    """Whether the controllable object is seen inside its range, where its motion shows the button."""
    return bool((displaced := _displaced(tracked)) and _inside(displaced))


def recognize_buttons(
    prior: ObjectPrior, in_use: Sequence[int], tracked: Sequence[TrackedObject]
) -> InferredButtons:
    """Infer the buttons of transitions by Bayes' rule from the motion that a trained world has learned.

    `tracked` are observations of the controllable and of other objects, `in_use` the buttons of the world.
    """
    spawn_button, spawned = int(prior.scene.spawn_button), prior.scene.object("spawn")
    moving = [button for button in in_use if button != spawn_button]
    spawns = [each for each in tracked if each.is_new and spawned and each.object.matches(spawned)]
    rows, buttons = np.zeros((2, 0), np.int64)
    seen = _displaced(tracked)
    if seen:
        nll = prior.action_motion.nll([each.object for each in seen], _displacements(seen))
        chosen, likeliest = _confident((-nll[:, moving]).softmax(1), seen)
        rows, buttons = _rows(seen)[chosen], np.array(moving)[likeliest]
    noop, spawn = int(prior.action_motion.rest_button), spawn_button if spawn_button in in_use else None
    return InferredButtons(rows, buttons, moving, noop, np.unique(_rows(spawns)), spawn, spawned)


def _groups(tracked: Sequence[TrackedObject]) -> list[list[TrackedObject]]:
    """Observations inside their range of objects that look alike and are seen often."""
    by_appearance: dict[tuple, list[TrackedObject]] = defaultdict(list)
    for each in tracked:
        if each.displacement is not None and each.object.is_seen_whole:
            by_appearance[appearance_key(each.object)].append(each)
    return [group for group in map(_inside, by_appearance.values()) if len(group) >= MIN_OBSERVATIONS]


def _rows(observations: Sequence[TrackedObject]) -> np.ndarray:
    return np.array([each.row for each in observations], np.int64)


def _displacements(observations: Sequence[TrackedObject]) -> np.ndarray:
    return np.array([each.displacement for each in observations])


def _displaced(tracked: Sequence[TrackedObject]) -> list[TrackedObject]:
    """Observations of the controllable object whose displacement is known."""
    return [each for each in tracked if each.object.is_controllable and each.displacement is not None]


def _inside(seen: list[TrackedObject]) -> list[TrackedObject]:
    """Those that neither start nor end at an edge of the object's range, where buttons may have no effect."""
    starts = np.stack([each.object.position for each in seen])
    ends = starts + _displacements(seen)
    edges = range_of(np.concatenate([starts, ends]))
    return [seen[index] for index in np.flatnonzero(~at_edge(starts, *edges) & ~at_edge(ends, *edges))]


def _features(seen: list[TrackedObject]) -> tuple[Tensor, Tensor]:
    """Past displacements and position, scaled (n, F); and displacements (n, 2) in pixels."""
    objects = [each.object for each in seen]
    positions = np.array([each.position for each in objects], np.float32) / POSITION_SCALE
    pasts = np.concatenate([past_displacements(objects), positions], 1)
    return torch.from_numpy(pasts), torch.from_numpy(_displacements(seen).astype(np.float32))


def _fit(pasts: Tensor, displacements: Tensor, num_buttons: int) -> tuple[DisplacementMixture, float]:
    """A fitted mixture, and its negative log-likelihood (nats) of held-out displacements."""
    held_out = torch.arange(len(pasts)) % HELD_OUT == 0
    train = (~held_out).nonzero()[:, 0]
    centered = displacements[train] - displacements[train].mean(0)
    axis = torch.linalg.svd(centered, full_matrices=False).Vh[0]  # first principal component
    mixture = DisplacementMixture(num_buttons, axis * (centered @ axis).std(), pasts.shape[1])

    def loss(_: int) -> Tensor:
        rows = train[torch.randint(len(train), (BATCH_SIZE,))]
        return mixture.nll(pasts[rows], displacements[rows])

    fit(mixture, loss, STEPS, LEARNING_RATE)
    return mixture, float(mixture.nll(pasts[held_out], displacements[held_out]))


def _best_fit(pasts: Tensor, displacements: Tensor, num_buttons: int) -> tuple[DisplacementMixture, float]:
    fits = (_fit(pasts, displacements, num_buttons) for _ in range(RESTARTS))
    return min(fits, key=lambda pair: pair[1])


def _confident(posterior_nM: Tensor, seen: Sequence[TrackedObject]) -> tuple[np.ndarray, np.ndarray]:
    """Observations whose button is nearly certain, one for each transition, ascending; and their buttons."""
    probabilities, buttons = posterior_nM.max(1)
    sure = np.flatnonzero(probabilities >= MIN_POSTERIOR)
    chosen = sure[np.unique(_rows(seen)[sure], return_index=True)[1]]
    return chosen, buttons.numpy()[chosen]


def _spawns(tracked: Sequence[TrackedObject]) -> list[TrackedObject]:
    """New small objects that are seen often, where there was no small object before; none if they are few."""
    counts = Counter(appearance_key(each.object) for each in tracked)
    small = [each for each in tracked if each.object.is_small and not each.object.is_controllable]
    occupied = {each.row for each in small if not each.is_new}
    new = [each for each in small if each.is_new and each.row not in occupied]
    common = [each for each in new if counts[appearance_key(each.object)] >= MIN_OBSERVATIONS]
    return common if len({each.row for each in common}) >= MIN_SPAWNS else []


def _commonest(spawns: list[TrackedObject]) -> Object | None:
    """The spawned object of the commonest appearance and position."""
    keys = [(*appearance_key(each.object), *each.object.position.tolist()) for each in spawns]
    return spawns[keys.index(mode(keys))].object if keys else None
