"""How far the detectors agree with the emulator's memory, on frames recorded afresh.

    python benchmarks/detector.py [--frames N] [--seed S]

Records N frames (default 5,000) of each registered game, from which nothing was tuned, and prints how often
its elements are found where memory has them, on gray and on RGB pictures.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from ghostpad.evaluation.ground_truth import detect_all, detector_accuracy, read_ground_truth
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.games import GAMES
from ghostpad.sources.recorder import RecordConfig, record

NEEDED = {"breakout": {"ball_within_1px": 0.99, "paddle_within_1px": 0.999, "brick_states": 0.9995}}
EPISODE_FRAMES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=20_000)
    options = parser.parse_args()
    print("| game | pictures | frames | what | right | needed |\n|---|---|--:|---|--:|--:|")
    for game in GAMES:
        with tempfile.TemporaryDirectory() as folder:
            videos = Path(folder) / "videos"
            # Random play loses its lives soon: three times the episodes are enough.
            episodes = -(-3 * options.frames // EPISODE_FRAMES)
            record(
                RecordConfig(
                    videos, game.name, max(3, episodes), EPISODE_FRAMES, seed=options.seed, policy="mixed"
                )
            )
            store = open_data(videos)
            transitions = Transitions(store, None)
            rows = np.arange(len(transitions))
            truth = read_ground_truth(transitions, rows, game)
            for grayscale in (True, False):
                detections = detect_all(transitions, rows, game, grayscale)
                numbers = detector_accuracy(truth, detections, options.frames, options.seed)
                _print(game.name, "gray" if grayscale else "RGB", numbers)


def _print(game: str, color: str, numbers: dict[str, float]) -> None:
    head = f"{game} | {color} | {numbers['num_frames']}"
    for key, value in numbers.items():
        if isinstance(value, float):  # the others are numbers of frames
            needed = NEEDED.get(game, {}).get(key)
            print(f"| {head} | {key.replace('_', ' ')} | {value:.3%} | {f'{needed:.2%}' if needed else ''} |")


if __name__ == "__main__":
    main()
