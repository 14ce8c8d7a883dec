"""What watching a training costs: logging, and the small validation of each step.

    python benchmarks/training.py [--data FOLDER_OR_STORE] [--preset tiny] [--steps 40] [--rounds 5] [--wandb]

Blocks of steps with and without are timed in one run, in turn, and medians are compared; beside it the time
spent inside the tracker's calls, which other work on the machine cannot blur. Without --data it records
Breakout first. The aim for logging is less than 2 %. wandb writes offline, into a temporary folder.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads

import torch

from ghostpad.frames.ingest import open_data
from ghostpad.frames.store import FrameStore
from ghostpad.machine import num_cores, resolve_device
from ghostpad.presets import PRESETS
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.latent_action import make_loop
from ghostpad.training.loop import Loop
from ghostpad.training.tracking import NullTracker, Throughput, Tracker


class Stopwatch:
    """A tracker whose calls are timed."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker, self.seconds = tracker, 0.0

    def _timed(self, work: Callable[..., Any], *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return work(*arguments)
        finally:
            self.seconds += time.perf_counter() - started

    def log(self, step: int, values: dict) -> None:
        """Time `log`."""
        self._timed(self.tracker.log, step, values)

    def flush(self) -> list:
        """Time `flush`."""
        return self._timed(self.tracker.flush)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of episodes or frame store (default: record some)")
    parser.add_argument("--preset", default="tiny", help="whose model (default: tiny)")
    parser.add_argument("--steps", type=int, default=40, help="steps of a block (default: 40)")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each kind (default: 5)")
    parser.add_argument("--wandb", action="store_true", help="log to wandb too, offline")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options = parser.parse_args()
    os.environ["WANDB_MODE"] = "offline"
    with tempfile.TemporaryDirectory() as scratch:
        store = open_data(options.data or _record(Path(scratch)))
        device = resolve_device(options.device)
        measure(store, options, device, Path(scratch))


def _record(scratch: Path) -> Path:
    from ghostpad.sources.recorder import RecordConfig, record

    record(RecordConfig(out=scratch / "bulk_videos", episodes=6, max_frames=300))
    return scratch / "bulk_videos"


def measure(store: FrameStore, options: argparse.Namespace, device: torch.device, scratch: Path) -> None:
    """Blocks with everything, without the small validation, and without logging, in turn."""
    config = dataclasses.replace(
        PRESETS[options.preset](), data=store.path, out=scratch / "run", device=options.device
    )
    loop = make_loop(config, store, ProcessGroup(device))
    loop.model.train()
    config.out.mkdir()
    tracker = Tracker(config.out, "wandb" if options.wandb else "none", loop.about(), 0, "benchmark")
    block(loop, NullTracker(), 3, 4)
    inside, seconds = 0.0, {"all": [], "no small validation": [], "no logging": []}
    for _ in range(options.rounds):
        watch = Stopwatch(tracker)
        seconds["all"].append(block(loop, watch, options.steps, 4))
        inside += watch.seconds
        seconds["no small validation"].append(block(loop, tracker, options.steps, 0))
        seconds["no logging"].append(block(loop, NullTracker(), options.steps, 4))
    tracker.close()
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{num_cores()} CPU cores"
    kind = "metrics.jsonl and wandb offline" if options.wandb else "metrics.jsonl"
    steps = options.steps * options.rounds
    print(f"{options.preset} on {where}, batch {config.batch_size}, {kind}, {steps} steps of each kind")
    print(f"a step                              {1000 * medians['all'] / options.steps:9.2f} ms")
    share = 100 * inside / sum(seconds["all"])
    print(f"inside the tracker                  {1000 * inside / steps:9.3f} ms a step, {share:.2f} % of it")
    for name, what in (("no logging", "logging"), ("no small validation", "validation of 4 pairs a step")):
        print(f"{what:35} {100 * (medians['all'] / medians[name] - 1):9.1f} % more time than without")


def block(loop: Loop, tracker: Any, steps: int, validation_pairs: int) -> float:
    """Seconds for `steps` steps as the loop does them."""
    loop.config = dataclasses.replace(loop.config, validation_micro_batch=validation_pairs)
    bar = type("Bar", (), {"update": lambda *_: None, "set_postfix_str": lambda *_, **__: None})()
    throughput = Throughput(loop.config.batch_size, loop.step, loop.group.device)
    throughput.metrics(loop.step)
    started, end = time.perf_counter(), loop.step + steps
    for _ in range(steps):
        loop._tracked_step(tracker, bar, throughput, end)
    throughput.metrics(loop.step)  # waits for the device
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
