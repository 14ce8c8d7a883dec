"""What happens in each frame: from what was recorded, else from the pictures; and how far the two agree.

Dimensions: N frames, T transitions.
"""

from dataclasses import dataclass

import numpy as np

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.games import Game, GameState

_CHUNK = 64
Known = dict[int, tuple[GameState, str]]
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


@dataclass(frozen=True)
class Seen:
    """What a detector finds in the true frames of some transitions; each frame is looked at once.

    Attributes:
        game: whose detector it is.
        episode_index: (N,) episode of each frame, ascending.
        frame_index: (N,) its number there, ascending within the episode.
        columns: what was found, N rows.
        current: (T,) the row of each transition's frame.
        next: (T,) the row of its next frame.
    """

    game: Game
    episode_index: np.ndarray
    frame_index: np.ndarray
    columns: GameState
    current: np.ndarray
    next: np.ndarray

    def rows(self, places: np.ndarray) -> GameState:
        """The columns at `places` in the list of frames."""
        return {name: column[places] for name, column in self.columns.items()}


def look(transitions: Transitions, rows: np.ndarray, game: Game, grayscale: bool) -> Seen:
    """Run a game's detector over the frames and next frames of the transitions `rows`."""
    episodes = transitions.episode_index[rows].astype(np.int64)
    frames = transitions.frame_index[rows].astype(np.int64)
    longest = max(episode.num_frames for episode in transitions.store.episodes)
    keys = np.concatenate([episodes * longest + frames, episodes * longest + frames + transitions.stride])
    unique, places = np.unique(keys, return_inverse=True)
    owners, numbers = unique // longest, unique % longest
    parts = [
        detect_frames(transitions.store, int(owner), numbers[owners == owner], game, grayscale)
        for owner in np.unique(owners)
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Seen(game, owners, numbers, columns, *np.split(places, 2))


def detect_frames(
    store: FrameStore, episode: int, frames: np.ndarray, game: Game, grayscale: bool
) -> GameState:
    """Run a game's detector over frames of an episode."""
    parts = [
        game.detect(store.read(episode, frames[start : start + _CHUNK], grayscale))
        for start in range(0, len(frames), _CHUNK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def detector_error(known: Known, seen: Seen, most: int, seed: int) -> dict[str, float]:
    """Hold the detector against recorded truth, on at most `most` of the frames it saw, drawn by the seed.

    Returns:
        `num_frames` and the metrics of `Game.detector_metrics`. Empty without truth.
    """
    recorded = {episode: table for episode, (table, source) in known.items() if source == "truth"}
    places = np.flatnonzero(np.isin(seen.episode_index, list(recorded)))
    if not len(places):
        return {}
    chosen = np.sort(np.random.default_rng(seed).permutation(places)[:most])
    truth = []
    for episode in np.unique(seen.episode_index[chosen]):
        frames = seen.frame_index[chosen][seen.episode_index[chosen] == episode]
        truth.append({name: column[frames] for name, column in recorded[int(episode)].items()})
    true = {name: np.concatenate([part[name] for part in truth]) for name in truth[0]}
    return {"num_frames": len(chosen), **seen.game.detector_metrics(seen.rows(chosen), true)}
