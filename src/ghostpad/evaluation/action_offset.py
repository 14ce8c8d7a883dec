"""Which recorded action belongs to a transition: the action offset of a recording, measured from its motion.

Some recordings store with a frame the action taken in it, others the one that led to it. A new control cannot
show in the motion before it takes effect; where it begins to show is the offset. Every episode votes on it.

Dimensions: N control changes, P places around a change, S shifts of an episode against all others.
"""

from dataclasses import dataclass

import numpy as np

from ghostpad.evaluation.doctor.motion import control_forest, motion_of
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore

CLEAR_JUMP = 0.1
"""Rise of the accuracy where a new control begins to show: 0.18 to 0.6 in Pong, Breakout, Doom, Crafter and
CoinRun, 0.05 in Ms. Pac-Man, who turns at junctions only."""
_FIRST_SHARE = 0.9
"""The offset is at the first rise of at least this share of the largest. In Pong, inertia raises the accuracy
again a frame later, by up to 0.96 of the first rise. In short recordings of a player who reacts to what is
seen, it rises a frame before by up to 0.82. Over four seeds, in four games."""
OFFSETS = range(-2, 3)  # offsets that can be found
_PLACES = range(5, -6, -1)  # offsets at which motion is looked at, from before a change to after it
_FITTED = range(3, -4, -1)
"""Offsets with a classifier of their own. The outer ones let each episode be shifted by up to two places."""
_AFTER = 3  # places from the offset on that show a new control
_MOST_EPISODES, _CHANGES_PER_EPISODE, _FEWEST_CHANGES = 20, 100, 8
_FOLDS = 5
_LEAST_LIKELY = 0.02  # one surprising transition must not outvote an episode
_SURE = 0.8  # share of the episodes that must agree


@dataclass(frozen=True)
class MeasuredOffset:
    """What was found."""

    offset: int | None
    """The control of the transition from frame t is action t + offset; None if the motion does not say."""
    agree: int
    """Episodes that name this offset by themselves."""
    episodes: int
    accuracies: dict[int, float]
    """How often new controls are named from the motion, by offset."""

    @property
    def is_sure(self) -> bool:
        """Whether enough episodes agree."""
        return self.offset is not None and self.agree >= _SURE * self.episodes

    def __str__(self) -> str:
        if not self.episodes:
            return "not measured: too few changes of the control are recorded"
        listed = ", ".join(f"{offset:+d}: {value:.0%}" for offset, value in self.accuracies.items())
        found = f"new controls named from the motion, by offset: {listed}"
        if self.offset is None:
            return f"not measured: no offset from {OFFSETS[0]:+d} to {OFFSETS[-1]:+d} stands out; {found}"
        return f"{self.offset:+d} measured, {self.agree} of {self.episodes} episodes agree ({found})"


def measure_action_offset(store: FrameStore, seed: int = 0) -> MeasuredOffset:
    """Measure the offset of a store, relative to the one that it applies.

    A classifier for each place around a change of the control names the new control from the motion there. It
    is fitted to other episodes than those it is asked about (to other changes, if there are few episodes). An
    episode votes for the shift at which its motion fits the classifiers of the other episodes best.
    """
    rng, transitions = np.random.default_rng(seed), Transitions(store, None)
    drawn = np.sort(rng.permutation(len(store.episodes))[:_MOST_EPISODES])
    parts = [_changes(transitions, int(episode), rng) for episode in drawn]
    parts = [part for part in parts if part is not None and len(part[1]) >= _FEWEST_CHANGES]
    if not parts or len(np.unique(np.concatenate([controls for _, controls in parts]))) < 2:
        return MeasuredOffset(None, 0, 0, {})
    features, controls = (np.concatenate(part) for part in zip(*parts, strict=True))
    owner = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    groups = owner if len(parts) >= _FOLDS else np.arange(len(owner))
    right_NP, likelihood_NPS = _cross_validate(features, controls, groups, seed)
    accuracies = dict(zip(_FITTED, right_NP.mean(0).tolist(), strict=True))
    jumps = np.diff(right_NP.mean(0))
    if jumps.max() < CLEAR_JUMP:
        return MeasuredOffset(None, 0, len(parts), accuracies)
    # Not simply the largest rise: objects with inertia show a control as much the frame after.
    place = int((jumps >= _FIRST_SHARE * jumps.max()).argmax()) + 1
    offset = _FITTED[place]
    likelihood_NS = likelihood_NPS[:, place : place + _AFTER].sum(1)
    shifts = [OFFSETS[int(likelihood_NS[owner == index].sum(0).argmax())] for index in range(len(parts))]
    return MeasuredOffset(offset if offset in OFFSETS else None, shifts.count(0), len(parts), accuracies)


def _changes(
    transitions: Transitions, episode: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Motion (N, P, F) around control changes of an episode, and the new controls (N,); None without any."""
    rows = np.flatnonzero(transitions.episode_index == episode)
    read = read_controls(transitions, rows) if len(rows) else None
    if read is None:
        return None
    controls = read[0]
    changes = np.flatnonzero((controls[1:] != controls[:-1]) & (controls[1:] >= 0) & (controls[:-1] >= 0)) + 1
    # The motion at t - offset is paired with the control that begins at t.
    changes = changes[(changes >= _PLACES[0]) & (changes - _PLACES[-1] < len(controls))]
    changes = np.sort(rng.permutation(changes)[:_CHANGES_PER_EPISODE])
    if not len(changes):
        return None
    wanted, places = np.unique(changes[:, None] - np.array(_PLACES), return_inverse=True)
    return motion_of(transitions, rows[wanted])[places.reshape(len(changes), -1)], controls[changes]


def _cross_validate(
    features: np.ndarray, controls: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a classifier for each place to some groups, and predict the others.

    Returns:
        Whether it names the new control, (N, P); and the log-likelihood that it gives to the new control
        from the motion there or up to two places away, (N, P, S).
    """
    right_NP = np.zeros((len(controls), len(_FITTED)))
    likelihood_NPS = np.zeros((len(controls), len(_FITTED), len(OFFSETS)))
    for fold in range(_FOLDS):
        held_out = groups % _FOLDS == fold
        if not held_out.any() or held_out.all():
            continue
        for place, fitted in enumerate(_FITTED):
            forest = control_forest(seed).fit(features[~held_out, _PLACES.index(fitted)], controls[~held_out])
            known = np.searchsorted(forest.classes_, controls[held_out]).clip(max=len(forest.classes_) - 1)
            is_known = forest.classes_[known] == controls[held_out]
            for number, shift in enumerate(OFFSETS):
                answers = forest.predict_proba(features[held_out, _PLACES.index(fitted + shift)])
                given = np.where(is_known, answers[np.arange(len(known)), known], 0)
                likelihood_NPS[held_out, place, number] = np.log(given.clip(_LEAST_LIKELY))
                if shift == 0:
                    right_NP[held_out, place] = (answers.argmax(1) == known) & is_known
    return right_NP, likelihood_NPS
