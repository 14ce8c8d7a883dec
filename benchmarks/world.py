"""Open-loop rollouts of a world: all its numbers beside the emulator, as a table.

    python benchmarks/world.py [WORLD] [--data STORE] [--starts 100] [--frames 500] [--film FILE]

WORLD is a folder of `ghostpad world`, a file, or the name of a shipped world. STORE holds recordings of
Breakout by `ghostpad record`; without it, 100 episodes are recorded with a seed that no world was trained on.
The test split counts. The buttons for the controls come from the world's own `controls.json`, else from
labels of the training episodes.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch loads

from ghostpad.buttons.control_map import ControlMap
from ghostpad.evaluation.rollouts.build import KEYS, measure, recorded_map
from ghostpad.evaluation.rollouts.film import write_rollout_film
from ghostpad.frames.ingest import open_data
from ghostpad.frames.store import FrameStore
from ghostpad.sources.recorder import RecordConfig, record
from ghostpad.world.world_model import WorldModel

FRESH_SEED, FRESH_EPISODES = 30_000, 100
# What it must reach: the number, whether more is better.
AIMS = {
    "paddle_error_px_100": (3.0, False),
    "single_ball_share_500": (0.95, True),
    "two_balls_frames": (0, False),
    "bricks_back": (0, False),
    "one_step_psnr_db": (35.0, True),
    "one_step_gain_over_copy_db": (3.0, True),
    "frames_per_s": (30.0, True),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("world", nargs="?", default="breakout-world")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--film", type=Path, help="write a film of one rollout, .gif or .mp4")
    parser.add_argument("--json", type=Path, help="write the numbers too")
    options = parser.parse_args()
    world = WorldModel.from_pretrained(options.world, options.device)
    with tempfile.TemporaryDirectory() as folder:
        store = open_data(options.data) if options.data else _fresh(Path(folder))
        control_map = (ControlMap.read(world.folder) if world.folder else None) or recorded_map(world, store)
        began = time.perf_counter()
        metrics = measure(world, control_map, store, options.starts, options.frames, options.seed)
        seconds = time.perf_counter() - began
        if options.film and control_map:
            write_rollout_film(world, control_map, store, options.film, seed=options.seed)
    if options.json:
        options.json.write_text(json.dumps(metrics, indent=1))
    print(f"{options.world}, {options.starts} held-out starts, {seconds:.0f} s\n")
    print(table(metrics))


def _fresh(folder: Path) -> FrameStore:
    """Recordings that nothing was trained on; one episode of ten is their test split."""
    videos = folder / "videos"
    record(RecordConfig(videos, episodes=FRESH_EPISODES, seed=FRESH_SEED))
    return open_data(videos)


def table(metrics: dict[str, Any]) -> str:
    """The numbers with their 95 % intervals and aims, as Markdown."""
    rows = ["| what | found | 95 % | aim | met | unit | meaning |", "|---|--:|---|--:|---|---|---|"]
    for name, (unit, meaning, *_) in KEYS.items():
        value, ends = metrics[name], metrics["intervals"].get(name)
        aim, more = AIMS.get(name, (None, True))
        met = (
            "" if aim is None or value is None else "yes" if (value >= aim) == more or value == aim else "no"
        )
        cells = [
            name,
            f"{value:.4g}" if value is not None else f"none: {metrics['absent'][name]}",
            f"{ends[0]:.4g} … {ends[1]:.4g}" if ends else "",
            f"{'≥' if more else '≤'} {aim:g}" if aim is not None else "",
            met,
            unit,
            meaning,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
