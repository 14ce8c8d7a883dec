"""What happens in each frame: from what was recorded, else from the pictures; and how far the two agree.

Dimensions: N frames.
"""

import numpy as np

from ghostpad.evaluation.elements import Game
from ghostpad.evaluation.intervals import total
from ghostpad.evaluation.parts import Ball, Found
from ghostpad.evaluation.reconstruction import ratio
from ghostpad.frames.store import FrameStore

_CHUNK = 64
Known = dict[int, tuple[Found, str]]
"""Columns of an episode's frames by episode, and whence they are known: "truth" or "detector"."""


def tables(store: FrameStore, episodes: np.ndarray, game: Game | None) -> Known:
    """What happens in each frame of some episodes; those of which nothing is known are left out."""
    known: Known = {}
    for episode in map(int, episodes):
        truth = store.truth(episode)
        if truth is not None and (game is None or game.columns <= set(truth)):
            known[episode] = (truth, "truth")
        elif game is not None:
            frames = np.arange(store.episodes[episode].num_frames)
            known[episode] = (detect_frames(store, episode, frames, game, grayscale=True), "detector")
    return known


def detect_frames(store: FrameStore, episode: int, frames: np.ndarray, game: Game, grayscale: bool) -> Found:
    """Run a game's detector over frames of an episode."""
    parts = [
        game.detect(store.read(episode, frames[start : start + _CHUNK], grayscale))
        for start in range(0, len(frames), _CHUNK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def detector_error(
    store: FrameStore, known: Known, game: Game, grayscale: bool, most: int, seed: int
) -> dict[str, float]:
    """Hold the detector against recorded truth, on at most `most` frames drawn by the seed.

    Returns:
        `num_frames`; `ball_visible`, frames in which at least half of the ball is in the open by that truth,
        and `ball_within_1px` of those; `paddle_within_1px` (and so for other bars); `brick_states`, share of
        the states that are right. Empty without truth.
    """
    recorded = {episode: table for episode, (table, source) in known.items() if source == "truth"}
    places = [
        (episode, frame) for episode, table in recorded.items() for frame in range(len(table["ball_x"]))
    ]
    if not places:
        return {}
    drawn = np.random.default_rng(seed).permutation(len(places))[:most]
    chosen = np.array(places)[np.sort(drawn)]
    found, truth = [], []
    for episode, table in recorded.items():
        frames = chosen[chosen[:, 0] == episode, 1]
        if len(frames):
            found.append(detect_frames(store, episode, frames, game, grayscale))
            truth.append({name: column[frames] for name, column in table.items()})
    seen, true = (
        {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} for parts in (found, truth)
    )
    return {"num_frames": len(chosen), **_compare(game, seen, true)}


def _compare(game: Game, seen: Found, true: Found) -> dict[str, float]:
    numbers = {}
    for name, part in game.parts.items():
        if isinstance(part, Ball):
            visible = game.visible(true)
            away = [np.abs(seen[column].astype(int) - true[column]) <= 1 for column in (part.x, part.y)]
            near = (seen[part.x] >= 0) & away[0] & away[1]
            numbers[f"{name}_visible"] = int(visible.sum())
            numbers[f"{name}_within_1px"] = float(ratio(near[visible].sum(), visible.sum()))
        else:
            metrics = part.summarize(total(part.score(seen, true, true)))
            wall = "state_accuracy" in metrics
            key = "brick_states" if wall else f"{name}_within_1px"
            numbers[key] = float(metrics["state_accuracy" if wall else "within_1px"])
    return numbers
