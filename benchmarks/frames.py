"""How fast frames go into a store and come out of it, beside the plain ways of doing the same.

Everything is timed in one run, the candidates alternating, and medians are compared:

    python benchmarks/frames.py [--data FOLDER_OF_EPISODES] [--rounds 7]

Without --data it records Breakout first.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ghostpad.frames.store import open_data

PAIRS = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of PNG episodes (default: record some Breakout)")
    parser.add_argument(
        "--rounds", type=int, default=7, help="how often each candidate is timed (default: 7)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        random_pairs(options.data or _record(Path(scratch)), options.rounds)


def alternate(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate, timed in turn, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(rounds + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if round_number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _record(scratch: Path) -> Path:
    from ghostpad.frames.atari import RecordConfig, record

    record(RecordConfig(out=scratch / "bulk_videos", episodes=6, max_frames=600))
    return scratch / "bulk_videos"


def random_pairs(folder: Path, rounds: int) -> None:
    """Random pairs (grayscale, float32, [0, 1]) from the store and from the PNGs."""
    import torch
    from torch.utils.data import Dataset

    from ghostpad.frames.pairs import FramePairDataset

    class PlainDataset(Dataset):
        """What one would write in ten lines: two PNGs per pair, opened when asked for."""

        def __init__(self) -> None:
            self.pairs = [
                (episode / f"{number}.png", episode / f"{number + 1}.png")
                for episode in sorted(folder.iterdir())
                for number in range(len(list(episode.glob("*.png"))) - 1)
            ]

        def __len__(self) -> int:
            return len(self.pairs)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            frame, next_frame = (
                torch.from_numpy(np.array(Image.open(path).convert("L"))).float()[None] / 255
                for path in self.pairs[index]
            )
            return frame, next_frame

    plain, stored = PlainDataset(), FramePairDataset(open_data(folder), split=None)
    assert len(plain) == len(stored)
    rng = np.random.default_rng(0)

    def read(dataset: Dataset) -> Callable[[], None]:
        def run() -> None:
            for index in rng.integers(0, len(plain), PAIRS):
                dataset[int(index)]

        return run

    for index in rng.integers(0, len(plain), 16):
        assert all(torch.equal(a, b) for a, b in zip(plain[index], stored[index], strict=True))
    transitions = stored.transitions
    candidates = {
        "PIL Dataset over PNGs": read(plain),
        "store, FramePairDataset": read(stored),
        "store, Transitions.read of 64": lambda: transitions.read(
            rng.integers(0, len(plain), PAIRS), grayscale=True
        ),
    }
    medians = alternate(candidates, rounds)
    baseline = medians["PIL Dataset over PNGs"]
    print(f"random pairs, {len(plain):,} in all, grayscale (median of {rounds} rounds of {PAIRS})")
    for name, seconds in medians.items():
        print(f"  {name:32} {PAIRS / seconds:10,.0f} pairs/s   x{baseline / seconds:.1f}")


if __name__ == "__main__":
    main()
