"""Selects the features of motion whose autocorrelation is as short as that of a held control.

What a held control moves shares much information with the next transition, and almost none with those ten and
more transitions later. Bouncing objects, patrolling enemies and scrolling backgrounds correlate for longer.

Dimensions: T transitions, F features, M classes, B batch.
"""

import numpy as np
import torch
from torch import Tensor

from ghostpad.motion import Motion

_LATER_LAGS = 10, 12, 15, 20, 25, 35, 50
"""Transitions after which a control has mostly changed, as in `persistence.py`."""
_MEMORY_WEIGHT = 10
"""Weight of the mean information about later transitions in the score of a feature."""
_LEAST_SHARE_FIXED, _LEAST_SHARE_MOVING = 0.5, 0.1
"""A feature is kept if its score is at least this share of the best one's, under a fixed or a moving camera.
Under a fixed one most features show other objects; if the camera follows the player, all regions show it."""
_LEAST_SHARE_COLOR = 0.5
"""The same for colours; most cells that keep their place show a display and not the player."""
_NUM_CLASSES = 5  # into which the values of a feature are divided to measure its information
_LEAST_SHIFT, _LEAST_SHARE_SHIFTED = 0.05, 0.02
"""Smallest shift that counts, and the share of transitions that must have one."""
_LARGE = 1.3  # times the median shift, from which a shift counts as large


def mutual_information(one_BM: Tensor, other_BM: Tensor) -> Tensor:
    """Mutual information of two buttons in nats, from posteriors of B pairs; the joint is made symmetric."""
    joint_MM = one_BM.T @ other_BM / len(one_BM)
    joint_MM = ((joint_MM + joint_MM.T) / 2).clamp_min(1e-8)
    joint_MM = joint_MM / joint_MM.sum()
    marginal_M = joint_MM.sum(0)
    return (joint_MM * (joint_MM.log() - marginal_M.log()[:, None] - marginal_M.log())).sum()


def short_memory(motion: Motion, left_T: np.ndarray) -> np.ndarray:
    """Mask (F,) of the features that tell much about the next transition and little about later ones.

    All shifts are kept where none scores above 0. Colours compete with colours alone. `left_T` says how many
    transitions may be used after each.
    """
    lags = [lag for lag in _LATER_LAGS if (left_T >= lag).any()]
    shifts_FT, colors_FT = np.split(motion.features_TF.T, [motion.num_shifts])
    shifts_F = np.array([_score(_classes_of_shift(shift_T), left_T, lags) for shift_T in shifts_FT])
    colors_F = np.array([_score(_classes_of_color(color_T), left_T, lags) for color_T in colors_FT])
    share = _LEAST_SHARE_FIXED if motion.fixed_camera else _LEAST_SHARE_MOVING
    kept_F = (shifts_F > 0) & (shifts_F >= share * shifts_F.max(initial=0))
    if not kept_F.any():
        kept_F = np.ones_like(kept_F)
    return np.concatenate(
        [kept_F, (colors_F > 0) & (colors_F >= _LEAST_SHARE_COLOR * colors_F.max(initial=0))]
    )


def _score(classes_T: np.ndarray, left_T: np.ndarray, lags: list[int]) -> float:
    """Information about the next transition less the weighted information about later ones, in nats."""
    one_hot_TM = torch.eye(_NUM_CLASSES)[torch.from_numpy(classes_T)]

    def information(lag: int) -> float:
        rows = np.flatnonzero(left_T >= lag)
        return float(mutual_information(one_hot_TM[rows], one_hot_TM[rows + lag]))

    later = float(np.mean([information(lag) for lag in lags])) if lags else 0.0
    return information(1) - _MEMORY_WEIGHT * later


def _classes_of_shift(shift_T: np.ndarray) -> np.ndarray:
    """Large or small, to one side or the other, or none; one class for all where shifts are rare."""
    size_T = np.abs(shift_T)
    shifted_T = size_T > _LEAST_SHIFT
    if shifted_T.mean() < _LEAST_SHARE_SHIFTED:
        return np.zeros(len(shift_T), np.int64)
    large_T = size_T > _LARGE * np.median(size_T[shifted_T])
    return np.where(shifted_T, np.sign(shift_T) * (1 + large_T), 0).astype(np.int64) + 2


def _classes_of_color(color_T: np.ndarray) -> np.ndarray:
    """Quintiles of the colour."""
    bounds = np.quantile(color_T, np.arange(1, _NUM_CLASSES) / _NUM_CLASSES)
    return np.searchsorted(bounds, color_T).astype(np.int64)


def transitions_left(episode_index: np.ndarray) -> np.ndarray:
    """(T,) int64: how many transitions of the same episode follow each."""
    _, counts_E = np.unique(episode_index, return_counts=True)
    return np.concatenate([np.arange(count)[::-1] for count in counts_E])
