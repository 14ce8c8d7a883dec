"""The true state of frames and events of transitions: recorded from memory, else detected in the frames.

Dimensions: N frames, T transitions.
"""

from dataclasses import dataclass

import numpy as np

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.games import Game, GameState

_CHUNK = 64


@dataclass(frozen=True)
class GroundTruth:
    """State and events of T transitions, independent of any model; empty for an unknown game.

    Attributes:
        game: whose elements and events these are, None for an unknown game.
        states: state of all frames of an episode, by episode.
        recorded: episodes whose state was recorded; the others were detected.
        events: (T,) bool by event.
    """

    game: Game | None
    states: dict[int, GameState]
    recorded: frozenset[int]
    events: dict[str, np.ndarray]

    @property
    def source(self) -> str:
        """Where the states come from: "truth", "detector", or both."""
        sources = {"truth" if episode in self.recorded else "detector" for episode in self.states}
        return " and ".join(sorted(sources))


def read_ground_truth(transitions: Transitions, rows: np.ndarray, game: Game | None) -> GroundTruth:
    """Ground truth of the transitions `rows`, detecting what was not recorded."""
    if game is None:
        return GroundTruth(None, {}, frozenset(), {})
    store, stride = transitions.store, transitions.stride
    episode_index, frame_index = transitions.episode_index[rows], transitions.frame_index[rows]
    states: dict[int, GameState] = {}
    recorded = set()
    events: dict[str, np.ndarray] = {}
    for episode in map(int, np.unique(episode_index)):
        state = store.truth(episode)
        if state is not None and game.columns <= set(state):
            recorded.add(episode)
        else:
            frames = np.arange(store.episodes[episode].num_frames)
            state = detect(store, episode, frames, game, grayscale=True)
        states[episode] = state
        here = episode_index == episode
        for name, happens in game.events(state, stride).items():
            events.setdefault(name, np.zeros(len(rows), bool))[here] = happens[frame_index[here]]
    return GroundTruth(game, states, frozenset(recorded), events)


@dataclass(frozen=True)
class Detections:
    """States detected in the true frames of T transitions, each of the N frames once.

    Attributes:
        game: whose detector it is.
        episode_index: (N,) episode of each frame, ascending.
        frame_index: (N,) its number there, ascending within the episode.
        state: N rows.
        current: (T,) the row of each transition's frame.
        next: (T,) the row of its next frame.
    """

    game: Game
    episode_index: np.ndarray
    frame_index: np.ndarray
    state: GameState
    current: np.ndarray
    next: np.ndarray

    def of(self, rows: np.ndarray) -> GameState:
        """The state of some of the frames."""
        return {name: column[rows] for name, column in self.state.items()}


def detect_all(transitions: Transitions, rows: np.ndarray, game: Game, grayscale: bool) -> Detections:
    """Run a game's detector on the frames and next frames of the transitions `rows`."""
    episodes = transitions.episode_index[rows].astype(np.int64)
    frames = transitions.frame_index[rows].astype(np.int64)
    longest = max(episode.num_frames for episode in transitions.store.episodes)
    keys = np.concatenate([episodes * longest + frames, episodes * longest + frames + transitions.stride])
    unique, places = np.unique(keys, return_inverse=True)
    owners, numbers = unique // longest, unique % longest
    states = [
        detect(transitions.store, int(owner), numbers[owners == owner], game, grayscale)
        for owner in np.unique(owners)
    ]
    return Detections(game, owners, numbers, _concatenate(states), *np.split(places, 2))


def detect(store: FrameStore, episode: int, frames: np.ndarray, game: Game, grayscale: bool) -> GameState:
    """Run a game's detector on frames of one episode."""
    starts = range(0, len(frames), _CHUNK)
    return _concatenate(
        [game.detect(store.read(episode, frames[start : start + _CHUNK], grayscale)) for start in starts]
    )


def detector_accuracy(truth: GroundTruth, detections: Detections, most: int, seed: int) -> dict[str, float]:
    """Agreement of the detector with recorded truth, on at most `most` frames drawn by the seed.

    Returns:
        `num_frames` and the numbers of `Game.detector_metrics`; empty without recorded truth.
    """
    places = np.flatnonzero(np.isin(detections.episode_index, list(truth.recorded)))
    if not len(places):
        return {}
    chosen = np.sort(np.random.default_rng(seed).permutation(places)[:most])
    states = []
    for episode in np.unique(detections.episode_index[chosen]):
        frames = detections.frame_index[chosen][detections.episode_index[chosen] == episode]
        states.append({name: column[frames] for name, column in truth.states[int(episode)].items()})
    metrics = detections.game.detector_metrics(detections.of(chosen), _concatenate(states))
    return {"num_frames": len(chosen), **metrics}


def _concatenate(states: list[GameState]) -> GameState:
    return {name: np.concatenate([state[name] for state in states]) for name in states[0]}
