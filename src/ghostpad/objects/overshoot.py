"""How far the controllable object can be driven beyond its visible range, as a knob that is turned on.

It rests at the edge meanwhile, and returns only after it was driven back as far. The maximum is found from
how long it rests there and how far it comes when it leaves: the likelihood of both is summed over all buttons
that may have been held, as in a hidden Markov model (Rabiner 1989, https://doi.org/10.1109/5.18626).

Dimensions: M buttons, S overshoots of 0 pixels and more, R returns.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ghostpad.objects.action_motion import MAX_STEP, ActionMotion
from ghostpad.objects.contact import locate_controllable
from ghostpad.objects.detection import Object
from ghostpad.objects.recordings import Recordings

MAX_OVERSHOOT = 64  # pixels
MAX_FRAMES = 20_000  # recorded frames in which the object is located, about
MAX_REST = 60  # frames of the longest rest at an edge that counts
MIN_RESTS = 16  # at an edge, below which its overshoot stays as it is
PERSISTENCE = (0.0, 0.4, 0.6, 0.8)  # by how much more buttons may be held on at an edge; the best is taken
POSITION_STD = 1.0  # pixels, of the position at which it returns
MIN_DENSITY = 1e-9
PSEUDO_COUNT = 1.0  # of successive buttons

Rests = Counter[tuple[int, int]]  # how often it rested for so many frames and returned by so many pixels


def trajectories(recordings: Recordings, template: Object) -> list[np.ndarray]:
    """Positions (n, 2) of the controllable object in recorded episodes, −1 where it is not visible."""
    episodes, lengths = np.unique(recordings.transitions.episode_index, return_counts=True)
    episodes = episodes[: int(np.searchsorted(lengths.cumsum(), MAX_FRAMES)) + 1].tolist()
    work, what = partial(_trajectory, recordings, template), "locating the controllable object"
    return recordings.in_processes(work, episodes, what, "episodes")


def _trajectory(recordings: Recordings, template: Object, episode: int) -> np.ndarray:
    store, stride = recordings.transitions.store, recordings.transitions.stride
    frames = np.arange(0, store.episodes[episode].num_frames, stride)[:, None]
    found = (
        locate_controllable(store.read(episode, frame, recordings.gray)[0], [], template) for frame in frames
    )
    return np.array([(-1, -1) if each is None else each.position for each in found])


def fit_overshoot(motion: ActionMotion, paths: Sequence[np.ndarray], button_counts_MM: np.ndarray) -> None:
    """Set the overshoot of each edge to the likeliest one.

    Args:
        motion: trained; changed in place.
        paths: see `trajectories`.
        button_counts_MM: how often each button (row) is followed by each other.
    """
    used = np.flatnonzero(button_counts_MM.sum(1))
    moves = _displacements(motion)[np.ix_(used, used)]
    chances = button_counts_MM[np.ix_(used, used)] + PSEUDO_COUNT
    chances = chances / chances.sum(1, keepdims=True)
    transitions = [(1 - held) * chances + held * np.eye(len(used)) for held in PERSISTENCE]
    lowest, highest = motion.edges
    for axis in np.flatnonzero(lowest < highest):
        for edge, inward, buffer in (
            (lowest[axis], 1, motion.overshoot_low),
            (highest[axis], -1, motion.overshoot_high),
        ):
            rests = Rests()
            for path in paths:
                rests.update(_rests(path[:, axis], int(edge), inward))
            if sum(rests.values()) >= MIN_RESTS:
                outward = -inward * moves[..., axis]
                buffer[axis] = max(
                    range(MAX_OVERSHOOT + 1),
                    key=lambda farthest, rests=rests, outward=outward: max(
                        _log_likelihood(rests, outward, chances, farthest) for chances in transitions
                    ),
                )


@torch.no_grad()
def _displacements(motion: ActionMotion) -> np.ndarray:
    """The likeliest displacement (M, M, 2) where button i was held before and j is held."""
    num, device = motion.num_buttons, motion.lowest.device
    buttons = torch.arange(num, device=device)
    pasts = torch.zeros(num * num, motion.past.in_features, device=device)
    logits = motion(pasts, buttons.repeat_interleave(num), buttons.repeat(num))
    return (logits.argmax(2).cpu().numpy() - MAX_STEP).reshape(num, num, 2).astype(np.float64)


def _rests(positions_n: np.ndarray, edge: int, inward: int) -> list[tuple[int, int]]:
    """For how many frames it rested at an edge, and how far it came when it left."""
    away, rests, rested = (positions_n - edge) * inward, [], None
    for index in range(1, len(positions_n)):
        if positions_n[index] < 0:
            rested = None
        elif away[index] > 0:
            if rested is not None and 0 < rested <= MAX_REST:
                rests.append((rested, int(away[index])))
            rested = 0
        elif rested is not None:
            rested += 1
    return rests


def _log_likelihood(rests: Rests, outward_MM: np.ndarray, chances_MM: np.ndarray, farthest: int) -> float:
    """Log-likelihood of rests at an edge if the object can be so many pixels beyond it.

    The forward algorithm over states of overshoot and button.
    """
    num, returns, overshoots = len(outward_MM), np.arange(-1, 2 * MAX_OVERSHOOT), np.arange(farthest + 1)
    rest_button, outward_button = np.abs(outward_MM.diagonal()).argmin(), outward_MM.diagonal().argmax()
    reached_SMM = overshoots[:, None, None] + outward_MM
    away_RSMM = (returns[:, None, None, None] + reached_SMM) / POSITION_STD
    density_RSMM = np.exp(-(away_RSMM**2) / 2) / (POSITION_STD * np.sqrt(2 * np.pi)) * (reached_SMM < -0.5)
    inside_SMM = (reached_SMM >= -0.5) & (reached_SMM <= farthest)
    held_SMM = np.broadcast_to(np.arange(num), reached_SMM.shape)
    landing_SMM = np.where(inside_SMM, np.round(reached_SMM).clip(0, farthest), farthest).astype(int)
    # At the farthest point a push has no effect, and none later.
    held_SMM = np.where(inside_SMM, held_SMM, rest_button)
    # It arrives by the button that drives it outward, anywhere within one displacement.
    state_SM = np.zeros((farthest + 1, num))
    state_SM[: min(farthest, round(float(outward_MM.max()))) + 1, outward_button] = 1
    state_SM /= state_SM.sum()
    total = 0.0
    for frame in range(1, max(frames for frames, _ in rests) + 1):
        weights_SMM = state_SM[:, :, None] * chances_MM
        density_R = density_RSMM.reshape(len(returns), -1) @ weights_SMM.ravel()
        total += sum(
            count * float(np.log(density_R[moved + 1] + MIN_DENSITY))
            for (frames, moved), count in rests.items()
            if frames == frame
        )
        state_SM = np.zeros_like(state_SM)
        np.add.at(state_SM, (landing_SMM, held_SMM), weights_SMM * (reached_SMM >= -0.5))
    return total
