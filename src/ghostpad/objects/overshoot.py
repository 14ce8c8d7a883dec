"""How far a steered thing is pushed beyond the edges of where it is seen to go, as a knob that is turned on.

Nobody sees it there: it stands at the edge, and comes back only when it was pushed back as far as it was
pushed on. How far that can be at most is found from how long it stands there and how far it comes when it
leaves: the likelihood of these is summed over all that may have been held meanwhile, as in a hidden Markov
model (Rabiner 1989, https://doi.org/10.1109/5.18626). At the farthest point a push is spent: it adds nothing
later.

Dimensions: M buttons, S pixels of slack.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects.action_motion import REACH, Pushes
from ghostpad.objects.controllable import located
from ghostpad.objects.detection import Thing
from ghostpad.progress import progress
from ghostpad.workers import map_in_order

MOST = 64
"""Pixels of slack, at most."""
FRAMES = 20_000
"""Recorded frames that are looked at."""
LONGEST = 60
"""Frames of the longest stay at an edge that is looked at."""
LONGER = (0.0, 0.4, 0.6, 0.8)
"""By how much more of all that is left buttons may be held on at an edge than elsewhere."""
FEWEST = 16
"""Times that it must leave an edge, or nothing is said of it."""
OFF = 1.0
"""Pixels by which it comes elsewhere, as a standard deviation."""
UNLIKELY = 1e-9
"""Least density of coming anywhere."""
HABIT = 1.0
"""What is added to counts of how buttons follow one another."""


def tracks_in(transitions: Transitions, looks: Thing, gray: bool, num_workers: int = 1) -> list[np.ndarray]:
    """Where a steered thing is in recorded episodes: (n, 2) lines and columns, −1 where it is not seen."""
    store = transitions.store
    episodes, lengths = np.unique(transitions.episode_index, return_counts=True)
    some = episodes[: int(np.searchsorted(lengths.cumsum(), FRAMES)) + 1]
    work = partial(_track, store, transitions.stride, looks, gray)
    done = map_in_order(work, some.tolist(), num_workers)
    return list(progress(done, what="where it is steered to", unit="episodes", total=len(some)))


def _track(store: FrameStore, stride: int, looks: Thing, gray: bool, episode: int) -> np.ndarray:
    places = []
    for frame in range(0, store.episodes[episode].num_frames, stride):
        seen = located(store.read(episode, np.array([frame]), gray)[0], [], looks)
        places.append((-1, -1) if seen is None else tuple(seen.place.tolist()))
    return np.array(places)


def find_slack(pushes: Pushes, tracks: Sequence[np.ndarray], habits_MM: np.ndarray) -> None:
    """Set the slack of each edge to what explains best how a thing stands there and leaves.

    Args:
        pushes: trained; changed in place.
        tracks: see `tracks_in`.
        habits_MM: how often each button follows another (row).
    """
    lowest, highest = pushes.edges()
    used = np.flatnonzero(habits_MM.sum(1))
    ways = _ways(pushes)[np.ix_(used, used)]
    chances = habits_MM[np.ix_(used, used)] + HABIT
    chances = chances / chances.sum(1, keepdims=True)
    held = np.eye(len(used))
    for axis in np.flatnonzero(lowest < highest):
        for edge, inward, slack in (
            (lowest[axis], 1, pushes.slack_low),
            (highest[axis], -1, pushes.slack_high),
        ):
            stays: Counter[tuple[int, int]] = Counter()
            for track in tracks:
                stays.update(_stays(track[:, axis], int(edge), inward))
            if sum(stays.values()) >= FEWEST:
                outward = -inward * ways[..., axis]
                likely = [
                    [
                        _likelihood(stays, outward, (1 - longer) * chances + longer * held, most)
                        for longer in LONGER
                    ]
                    for most in range(MOST + 1)
                ]
                slack[axis] = int(np.argmax(np.max(likely, 1)))


@torch.no_grad()
def _ways(pushes: Pushes) -> np.ndarray:
    """How far (M, M, 2) it goes where button i was held before and j is held, most likely."""
    num = pushes.num_buttons
    before, held = (part.flatten() for part in torch.meshgrid([torch.arange(num)] * 2, indexing="ij"))
    device = pushes.lowest.device
    pasts = torch.zeros(num * num, pushes.past.in_features, device=device)
    gone = pushes(pasts, before.to(device), held.to(device)).argmax(2).cpu().numpy() - REACH
    return gone.reshape(num, num, 2).astype(np.float64)


def _stays(places_n: np.ndarray, edge: int, inward: int) -> list[tuple[int, int]]:
    """How many frames a thing came to an edge or stood there, and how far it went when it left."""
    beyond = (places_n - edge) * inward <= 0
    found, stood = [], None
    for index in range(1, len(places_n)):
        if places_n[index] < 0:
            stood = None
        elif not beyond[index]:
            if stood is not None:
                found.append((stood, int((places_n[index] - edge) * inward)))
            stood = 0
        elif stood is not None:
            stood += 1
    return [(frames, gone) for frames, gone in found if 0 < frames <= LONGEST]


def _likelihood(
    stays: Counter[tuple[int, int]], outward_MM: np.ndarray, chances_MM: np.ndarray, most: int
) -> float:
    """Log-likelihood of these stays, if it can be pushed so far beyond."""
    num = len(outward_MM)
    rests = int(np.abs(outward_MM.diagonal()).argmin())
    pushed = int(outward_MM.diagonal().argmax())
    far = np.arange(most + 1)
    # It comes with the button that pushes to the edge, any part of a step beyond.
    state = np.zeros((most + 1, num))
    state[: min(most, round(float(outward_MM.max()))) + 1, pushed] = 1
    state /= state.sum()
    needed = sorted({frames for frames, _ in stays})
    total, gone = 0.0, np.arange(-1, 2 * MOST)
    for frame in range(1, needed[-1] + 1):
        leaves, after = np.zeros(len(gone)), np.zeros_like(state)
        for before in range(num):
            for held in range(num):
                weight = state[:, before] * chances_MM[before, held]
                there = far + outward_MM[before, held]
                out = there < -0.5
                if out.any():
                    off = (gone[:, None] + there[out]) / OFF
                    leaves += (np.exp(-(off**2) / 2) * weight[out]).sum(1) / (OFF * np.sqrt(2 * np.pi))
                stopped = there > most
                np.add.at(
                    after[:, held],
                    np.round(there[~out & ~stopped]).clip(0).astype(int),
                    weight[~out & ~stopped],
                )
                after[most, rests] += weight[stopped].sum()
        for (frames, way), times in stays.items():
            if frames == frame:
                total += times * np.log(leaves[way + 1] + UNLIKELY)
        state = after
    return total
