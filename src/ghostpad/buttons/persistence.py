"""Buttons from motion on any game, without labels: what lasts for a few frames, and not for many.

A player holds a control for some frames, while a scene, a room or a slow object stays for much longer. So the
button of a transition is a class of its motion that tells much about the next transition and little about
later ones. Three steps:

1. Keep the features of motion of which this is true one by one (`memory.py`).
2. Train a small network to maximize the mutual information of its classes with those of the next transition,
   less that with those of later ones, as in invariant information clustering (Ji et al., 2019,
   https://arxiv.org/abs/1807.06653); the pairs here are neighbours in time.
3. Smooth each posterior by those before and after it.

The lags are in transitions and fit controls that are held for up to about ten, as the recorder holds them.

Dimensions: T transitions, F features of motion, M buttons, B batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.buttons.memory import mutual_information, short_memory, transitions_left
from ghostpad.errors import UserError
from ghostpad.motion import Motion
from ghostpad.training.fit import fit

STEPS, BATCH_SIZE, RESTARTS, LEARNING_RATE, WIDTH = 1000, 1024, 3, 3e-3, 64
LATER_LAGS = 10, 50
"""First and last lag at which a control has mostly changed; the recorder holds one for up to 10."""
LATER_WEIGHT = 6
"""Weight of the information about a later transition in the objective of the network."""
ENTROPY_WEIGHT = 0.5
"""Weight of the entropy of the buttons, which keeps all of them in use at first."""
EVIDENCE = 0.5
"""Exponent of the evidence of a transition in smoothing; below 1, since neighbours share noise."""
_INITIAL_SCALE = 8
"""Factor of the last layer's initial weights: from uniform posteriors there is no gradient."""


@dataclass(frozen=True)
class PersistenceConfig:
    """Options of `fit_button_classifier`."""

    num_buttons: int = 12
    """M"""
    seed: int = 0
    """of initial weights and batches"""


class PersistentButtons(nn.Module):
    """Posterior over M buttons from the motion of a transition.

    Mean and deviation of the features of training transitions, `motion_TF`, standardize the input.
    """

    def __init__(self, config: PersistenceConfig, motion_TF: Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", motion_TF.mean(0))
        self.register_buffer("scale", motion_TF.std(0).clamp_min(0.05))
        last = nn.Linear(WIDTH, config.num_buttons)
        with torch.no_grad():
            last.weight.mul_(_INITIAL_SCALE)
        self.layers = nn.Sequential(
            nn.Linear(motion_TF.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), last
        )

    def forward(self, motion_BF: Tensor) -> Tensor:
        """P(button | motion), (B, M)."""
        return self.layers((motion_BF - self.mean) / self.scale).softmax(1)


def persistence(now_BM: Tensor, next_BM: Tensor, later_BM: Tensor) -> Tensor:
    """Information about the next transition less the weighted information about a later one, in nats."""
    return mutual_information(now_BM, next_BM) - LATER_WEIGHT * mutual_information(now_BM, later_BM)


@dataclass(frozen=True)
class ButtonClassifier:
    """The network that was kept, and the features that it sees."""

    network: PersistentButtons
    kept_F: np.ndarray
    """Mask of the features of motion."""

    def posterior(self, features_TF: np.ndarray) -> np.ndarray:
        """P(button | motion of this transition alone), (T, M) float32, from all features of motion."""
        with torch.no_grad():
            return self.network(torch.from_numpy(features_TF[:, self.kept_F])).numpy()


def fit_button_classifier(
    motion: Motion, episode_index: np.ndarray, train: np.ndarray, config: PersistenceConfig
) -> ButtonClassifier:
    """Find buttons without labels: of several networks, keep that with the most persistent buttons.

    `motion` and `episode_index` are those of all transitions; `train` (T,) marks those that are fitted to.

    Raises:
        UserError: no training episode is longer than `LATER_LAGS[0]` transitions.
    """
    left_T = transitions_left(episode_index)
    left_T[~train] = 0
    if left_T.max(initial=0) < LATER_LAGS[0]:
        raise UserError(
            f"buttons need training episodes of more than {LATER_LAGS[0] + 1} frames; record longer ones"
        )
    kept_F = short_memory(motion, left_T)
    features = torch.from_numpy(motion.features_TF[:, kept_F])
    left = torch.from_numpy(left_T)
    lags = range(LATER_LAGS[0], min(LATER_LAGS[1], int(left_T.max())) + 1)

    def score(network: PersistentButtons, lag: int, size: int | None) -> tuple[Tensor, Tensor]:
        rows = torch.nonzero(left >= lag)[:, 0]
        if size:
            rows = rows[torch.randint(len(rows), (size,))]
        now, after, later = network(features[torch.cat([rows, rows + 1, rows + lag])]).chunk(3)
        return persistence(now, after, later), now.mean(0)

    best: PersistentButtons | None = None
    most = -np.inf
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for number in range(RESTARTS):
            network = PersistentButtons(config, features[torch.from_numpy(train)])

            def loss(_: int, network: PersistentButtons = network) -> Tensor:
                lag = lags[int(torch.randint(len(lags), ()))]
                persistent, share_M = score(network, lag, BATCH_SIZE)
                entropy = -(share_M * share_M.clamp_min(1e-8).log()).sum()
                return -persistent - ENTROPY_WEIGHT * entropy

            fit(network, loss, STEPS, LEARNING_RATE, what=f"buttons, {number + 1} of {RESTARTS}")
            with torch.no_grad():
                some = sorted({lags[0], lags[len(lags) // 2], lags[-1]})
                persistent = float(np.mean([float(score(network, lag, None)[0]) for lag in some]))
                if persistent > most:
                    best, most = network, persistent
    assert best is not None
    return ButtonClassifier(best, kept_F)


def smoothed(posterior_TM: np.ndarray, episode_index: np.ndarray) -> np.ndarray:
    """Posterior (T, M) of each transition given those around it, by the forward-backward algorithm.

    The transition matrix of the hidden Markov model is estimated from the posteriors. The evidence of a
    transition, its posterior over the prior, enters to the power `EVIDENCE`.
    """
    prior_M = posterior_TM.mean(0)
    evidence_TM = ((posterior_TM + 1e-4) / (prior_M + 1e-4)) ** EVIDENCE
    follows_T = np.concatenate([[False], episode_index[1:] == episode_index[:-1]])
    joint_MM = posterior_TM[:-1][follows_T[1:]].T @ posterior_TM[1:][follows_T[1:]] + 1e-8
    moves_MM = joint_MM / joint_MM.sum(1, keepdims=True)
    forward_TM, backward_TM = np.empty_like(evidence_TM), np.ones_like(evidence_TM)
    for t in range(len(evidence_TM)):
        forward_M = (forward_TM[t - 1] @ moves_MM if follows_T[t] else prior_M) * evidence_TM[t]
        forward_TM[t] = forward_M / forward_M.sum()
    for t in range(len(evidence_TM) - 1, 0, -1):
        if follows_T[t]:
            backward_M = moves_MM @ (backward_TM[t] * evidence_TM[t])
            backward_TM[t - 1] = backward_M / backward_M.sum()
    both_TM = forward_TM * backward_TM
    return (both_TM / both_TM.sum(1, keepdims=True)).astype(np.float32)
