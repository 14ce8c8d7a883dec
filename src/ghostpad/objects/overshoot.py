"""How far the controllable object can be driven beyond its visible range, as a knob that is turned too far.

It rests at the edge meanwhile, and returns only after it was driven back as far. The likeliest maximum is
found from the lengths of these rests and the positions of the returns, which a hidden Markov model explains
by the buttons that may have been held (Rabiner 1989, https://doi.org/10.1109/5.18626).

Dimensions: M buttons, S overshoots of 0 pixels and more, R returns.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from scipy.stats import norm

from ghostpad.objects.action_motion import MAX_STEP, ActionMotion
from ghostpad.objects.detection import Object
from ghostpad.objects.recordings import Recordings
from ghostpad.objects.tracking import locate_controllable

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
    positions = []
    for frame in range(0, store.episodes[episode].num_frames, stride):
        (frame_CHW,) = store.read(episode, np.array([frame]), recordings.gray)
        found = locate_controllable(frame_CHW, [], template)
        positions.append((-1, -1) if found is None else found.position)
    return np.array(positions)


def button_transition_counts(previous_T: np.ndarray, buttons_T: np.ndarray, num_buttons: int) -> np.ndarray:
    """How often each button (row) precedes each other (column), where both are known: (M, M)."""
    counts, known = np.zeros((num_buttons, num_buttons)), (previous_T >= 0) & (buttons_T >= 0)
    np.add.at(counts, (previous_T[known], buttons_T[known]), 1)
    return counts


def fit_overshoot(motion: ActionMotion, paths: Sequence[np.ndarray], button_counts_MM: np.ndarray) -> None:
    """Set the overshoot of each edge to the likeliest one, in place; `paths` are `trajectories`."""
    used = np.flatnonzero(button_counts_MM.sum(1))
    moves_MM2 = _displacements(motion)[np.ix_(used, used)]
    chances_MM = button_counts_MM[np.ix_(used, used)] + PSEUDO_COUNT
    chances_MM = chances_MM / chances_MM.sum(1, keepdims=True)
    mixed = [(1 - held) * chances_MM + held * np.eye(len(used)) for held in PERSISTENCE]
    (lowest, highest), low, high = motion.edges, motion.overshoot_low, motion.overshoot_high
    for axis in np.flatnonzero(lowest < highest):
        for edge, inward, buffer in ((lowest[axis], 1, low), (highest[axis], -1, high)):
            rests = Rests(rest for path in paths for rest in _rests(path[:, axis], int(edge), inward))
            if sum(rests.values()) >= MIN_RESTS:
                outward_MM = -inward * moves_MM2[..., axis]
                likelihoods = [
                    max(_log_likelihood(rests, outward_MM, chances, farthest) for chances in mixed)
                    for farthest in range(MAX_OVERSHOOT + 1)
                ]
                buffer[axis] = int(np.argmax(likelihoods))


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
    """Log-likelihood of rests at an edge if the object can be so many pixels beyond it: forward algorithm."""
    num, returns, overshoots = len(outward_MM), np.arange(-1, 2 * MAX_OVERSHOOT), np.arange(farthest + 1)
    rest_button, outward_button = np.abs(outward_MM.diagonal()).argmin(), outward_MM.diagonal().argmax()
    reached_SMM = overshoots[:, None, None] + outward_MM
    is_visible = reached_SMM < -0.5
    density_RSMM = norm.pdf(returns[:, None, None, None] + reached_SMM, scale=POSITION_STD) * is_visible
    landing_SMM = np.round(reached_SMM).clip(0, farthest).astype(int)
    # At the farthest point it stops, as if no button had been held.
    held_SMM = np.where(reached_SMM > farthest, rest_button, np.arange(num))
    # It arrives by the button that drives it outward, anywhere within one displacement.
    state_SM = np.zeros((farthest + 1, num))
    state_SM[: round(float(outward_MM.max())) + 1, outward_button] = 1
    state_SM /= state_SM.sum()
    total = 0.0
    for frame in range(1, max(frames for frames, _ in rests) + 1):
        weights_SMM = state_SM[:, :, None] * chances_MM
        density_R = np.tensordot(density_RSMM, weights_SMM, 3)
        for (frames, moved), count in rests.items():
            if frames == frame:
                total += count * float(np.log(density_R[moved + 1] + MIN_DENSITY))
        state_SM = np.zeros_like(state_SM)
        np.add.at(state_SM, (landing_SMM, held_SMM), weights_SMM * ~is_visible)
    return total
