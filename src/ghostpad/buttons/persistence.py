"""Buttons from motion on any game, without labels: what lasts for a few frames, and not for many.

A player holds a control for some frames, while a scene, a room or a slow object stays for much longer. So the
button of a transition is a class of its motion that tells much about the next transition and little about a
later one. A small network is trained to maximize the mutual information with the first less that with the
second, as in invariant information clustering (Ji et al., 2019, https://arxiv.org/abs/1807.06653); the pairs
here are neighbours in time.

Dimensions: T transitions, F features of motion, M buttons, B batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.errors import UserError
from ghostpad.training.fit import fit

STEPS, BATCH_SIZE, RESTARTS, LEARNING_RATE, WIDTH = 1000, 1024, 3, 3e-3, 64
LATER = 25
"""Transitions after which a control has mostly changed; the recorder holds one for up to 10."""
ENTROPY_WEIGHT = 0.1
"""Weight of the entropy of the buttons, which keeps all of them in use at first."""
_INITIAL_SCALE = 8
"""Of the last layer: a network whose answers are uniform at first has no gradient."""


@dataclass(frozen=True)
class PersistenceConfig:
    """Number of buttons, and where chance comes in."""

    num_buttons: int = 12
    """Buttons M."""
    seed: int = 0
    """Of weights and batches."""


class PersistentButtons(nn.Module):
    """Posterior over M buttons from the motion of a transition.

    Args:
        config: see there.
        motion_TF: features that scale the input: mean and standard deviation of training transitions.
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


def mutual_information(one_BM: Tensor, other_BM: Tensor) -> Tensor:
    """Mutual information () in nats of two buttons, from posteriors of B pairs; the order does not matter."""
    joint_MM = one_BM.T @ other_BM / len(one_BM)
    joint_MM = ((joint_MM + joint_MM.T) / 2).clamp_min(1e-8)
    joint_MM = joint_MM / joint_MM.sum()
    marginal_M = joint_MM.sum(0)
    return (joint_MM * (joint_MM.log() - marginal_M.log()[:, None] - marginal_M.log())).sum()


def persistence(now_BM: Tensor, next_BM: Tensor, later_BM: Tensor) -> Tensor:
    """What buttons tell about the next transition, less what they tell about a later one: () in nats."""
    return mutual_information(now_BM, next_BM) - mutual_information(now_BM, later_BM)


def infer_persistent_buttons(
    motion_TF: np.ndarray, episode_index: np.ndarray, train: np.ndarray, config: PersistenceConfig
) -> np.ndarray:
    """Infer P(button | transition), (T, M) float32, without labels.

    Several networks are trained, and that with the most persistent buttons is kept.

    Args:
        motion_TF: motion of all transitions, in the order of frames; see `motion_features`.
        episode_index: (T,) episode of each.
        train: (T,) bool, the transitions that the networks are fitted to.
        config: number of buttons, and the seed.

    Raises:
        UserError: no episode is longer than `LATER` transitions.
    """
    motion = torch.from_numpy(motion_TF)
    rows = np.arange(len(motion_TF) - LATER)
    rows = rows[train[: len(rows)] & (episode_index[: len(rows)] == episode_index[LATER:])]
    if not len(rows):
        raise UserError(f"buttons need training episodes of more than {LATER + 1} frames; record longer ones")
    starts = torch.from_numpy(rows)

    def score(network: PersistentButtons, rows_B: Tensor) -> tuple[Tensor, Tensor]:
        now, after, later = network(motion[torch.cat([rows_B, rows_B + 1, rows_B + LATER])]).chunk(3)
        return persistence(now, after, later), now.mean(0)

    best, most = None, -np.inf
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for number in range(RESTARTS):
            network = PersistentButtons(config, motion[torch.from_numpy(np.flatnonzero(train))])

            def loss(_: int, network: PersistentButtons = network) -> Tensor:
                persistent, share_M = score(network, starts[torch.randint(len(starts), (BATCH_SIZE,))])
                entropy = -(share_M * share_M.clamp_min(1e-8).log()).sum()
                return -persistent - ENTROPY_WEIGHT * entropy

            fit(network, loss, STEPS, LEARNING_RATE, what=f"buttons, {number + 1} of {RESTARTS}")
            with torch.no_grad():
                persistent = float(score(network, starts)[0])
                if persistent > most:
                    best, most = network(motion), persistent
    assert best is not None
    return best.numpy()
