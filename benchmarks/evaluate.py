"""How long an evaluation takes beyond the model's own forward passes.

    python benchmarks/evaluate.py [--transitions 2000] [--rgb]

Records Breakout, evaluates a stand-in model that costs next to nothing on 2,000 held-out transitions with
everything but t-SNE, and prints the seconds of each part and the peak memory.
"""

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch loads

import numpy as np

from ghostpad.evaluation.assess import assess
from ghostpad.evaluation.config import Amounts
from ghostpad.evaluation.report.render import render
from ghostpad.frames.ingest import open_data
from ghostpad.machine import num_cores, peak_memory_mb
from ghostpad.sources.recorder import RecordConfig, record

PARTS = {
    "SSIM": "structural_similarity",
    "detector": "detect",
    "reconstruction": "pair_sums",
    "codes of others": "counterfactual_sums",
    "events": "associate",
    "agreement": "agreement",
    "report": "render",
}


class StandIn:
    """Codes from coarse sums of what changes; draws the current frame."""

    codebook_size, grid, stride = 256, (14, 10), 1

    def __init__(self, grayscale: bool) -> None:
        self.grayscale = grayscale
        self.seconds = 0.0

    def encode(self, frames: np.ndarray, next_frames: np.ndarray) -> np.ndarray:
        """Codes (N, 14, 10)."""
        began = time.perf_counter()
        changed = (frames != next_frames).any(1).reshape(len(frames), 14, 15, 10, 16)
        codes = (changed.sum((2, 4)) * 7 + changed.argmax(2).sum(3)) % self.codebook_size
        self.seconds += time.perf_counter() - began
        return codes

    def decode(self, frames: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """The frames themselves."""
        began = time.perf_counter()
        drawn = frames.astype(np.float32) / 255
        self.seconds += time.perf_counter() - began
        return drawn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transitions", type=int, default=2000)
    parser.add_argument("--rgb", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder) / "videos"
        record(RecordConfig(videos, episodes=40, max_frames=1000, seed=1))
        store = open_data(videos)
        model = StandIn(grayscale=not options.rgb)
        profile = cProfile.Profile()
        began, cpu = time.perf_counter(), time.process_time()
        profile.enable()
        amounts = Amounts(options.transitions, tsne=0)
        assessment = assess(model, store, "test", amounts, seed=0)
        render([assessment], amounts, seed=0)
        profile.disable()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    metrics = assessment.metrics
    print(
        f"{metrics['num_transitions']} transitions in {metrics['color']}, {num_cores()} cores: "
        f"{seconds - model.seconds:.1f} s beyond the model ({cpu:.1f} s of CPU in all), "
        f"peak {peak_memory_mb():.0f} MiB"
    )
    for title, name in PARTS.items():
        print(f"  {title:16} {_cumulative(profile, name):6.1f} s")


def _cumulative(profile: cProfile.Profile, name: str) -> float:
    """Seconds in functions of that name and all that they call."""
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return sum(
        row[3] for (file, _, function), row in stats.items() if function == name and "ghostpad" in file
    )


if __name__ == "__main__":
    main()
