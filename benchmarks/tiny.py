"""How far `tiny` comes in minutes on this machine: record with the defaults, train, evaluate, print.

    python benchmarks/tiny.py [FOLDER] [--steps N]

Every part is kept in FOLDER (default: tiny_benchmark) and reused by the next run. The wall time of training
stands beside the numbers: the aim is at most six minutes on two cores.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads

from ghostpad.evaluation.config import EvaluateConfig
from ghostpad.evaluation.report.evaluate import evaluate
from ghostpad.frames.ingest import open_data
from ghostpad.presets import tiny
from ghostpad.sources.recorder import RecordConfig, record
from ghostpad.training.latent_action import train

# name, where it stands in metrics.json, the aim, whether more is better
AIMS = (
    ("gain over copy (dB)", ("reconstruction", "gain_over_copy_db"), 10, True),
    ("ball within 2 px", ("elements", "ball", "within_2px"), 0.60, True),
    ("false balls", ("elements", "ball", "false_share"), 0.05, False),
    ("paddle within 2 px", ("elements", "paddle", "within_2px"), 0.95, True),
    ("codebook usage", ("codebook", "usage"), 0.60, True),
    ("perplexity", ("codebook", "perplexity"), 25, True),
)


def main() -> None:
    """Record, train, evaluate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("tiny_benchmark"))
    parser.add_argument("--steps", type=int, default=tiny().steps)
    options = parser.parse_args()
    videos, model = options.folder / "bulk_videos", options.folder / "checkpoint"
    record(RecordConfig(out=videos))
    open_data(videos)
    began, timing = time.monotonic(), options.folder / "seconds.json"
    config = dataclasses.replace(
        tiny(), data=videos, out=model, steps=options.steps, tracker="none", resume=True
    )
    fresh = not (model / "last.pt").exists()
    train(config)
    if fresh:
        timing.write_text(json.dumps(time.monotonic() - began))
    metrics = evaluate(EvaluateConfig(model=model, data=videos, out=options.folder / "report"))
    minutes = "time not measured"
    if timing.exists():
        minutes = f"{json.loads(timing.read_text()) / 60:.1f} minutes"
    print(
        f"tiny, {options.steps} steps of {config.batch_size} pairs, {minutes}, "
        f"{metrics['num_transitions']} transitions of {metrics['num_episodes']} held-out episodes\n"
    )
    print("| | found | aim | met |\n|---|---|---|---|")
    for name, keys, aim, more in AIMS:
        value = metrics
        for key in keys:
            value = value[key]
        met = value >= aim if more else value <= aim
        print(f"| {name} | {value:.3f} | {'≥' if more else '≤'} {aim} | {'yes' if met else 'no'} |")


if __name__ == "__main__":
    sys.exit(main())
