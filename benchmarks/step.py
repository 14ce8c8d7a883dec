"""A training step on a CPU with and without what was done for its speed, alternating in one run.

    python benchmarks/step.py [--data FOLDER_OR_STORE] [--preset spec] [--steps 5] [--rounds 3]

Each measurement is a process of its own, since the allocator's settings hold for a whole process. CPU seconds
are those of all threads together; other work on the machine blurs them least. Without --data it records some
Breakout.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch loads

import torch

from ghostpad.frames.ingest import open_data
from ghostpad.machine import num_cores
from ghostpad.model import encoder
from ghostpad.presets import PRESETS
from ghostpad.training import loop as training_loop
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.latent_action import make_loop


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of episodes or frame store (default: record some)")
    parser.add_argument("--preset", default="spec")
    parser.add_argument(
        "--steps", type=int, default=5, help="of a measurement, after two that are not counted"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=("plain", "fast"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or _record(Path(scratch))
        command = [sys.executable, __file__, f"--data={data}", f"--preset={options.preset}"]
        command += [f"--steps={options.steps}"]
        found: dict[str, list[tuple[float, float, int]]] = {"plain": [], "fast": []}
        for _ in range(options.rounds):
            for kind, results in found.items():
                done = subprocess.run([*command, f"--measure={kind}"], check=True, capture_output=True)
                results.append(json.loads(done.stdout.splitlines()[-1]))
    medians = {kind: [statistics.median(c) for c in zip(*rows, strict=True)] for kind, rows in found.items()}
    print(f"{options.preset} in RGB, bf16, {os.environ.get('OMP_NUM_THREADS', num_cores())} threads")
    for kind, (seconds, cpu_seconds, batch) in medians.items():
        print(
            f"{kind:6} {seconds:.3f} s a step, {batch / seconds:.1f} pairs a second, {cpu_seconds:.3f} CPU s"
        )
    ratios = [plain / fast for plain, fast in zip(*medians.values(), strict=True)]
    print(f"faster by {ratios[0]:.2f} in time, {ratios[1]:.2f} in CPU time")


def measure(options: argparse.Namespace) -> tuple[float, float, int]:
    """Seconds and CPU seconds of a step, and its pairs."""
    if options.measure == "plain":
        encoder.SHORT_ROW = 0
        training_loop.keep_freed_memory = lambda: None
    own = PRESETS[options.preset]()
    quantizer = dataclasses.replace(own.model.quantizer, warmup_steps=0)
    model = dataclasses.replace(own.model, quantizer=quantizer)
    config = dataclasses.replace(own, data=options.data, grayscale=False, precision="bf16", model=model)
    loop = make_loop(config, open_data(options.data), ProcessGroup(torch.device("cpu")))
    loop.model.train()
    for _ in range(2):
        loop.train_step()
    began, cpu_began = time.perf_counter(), time.process_time()
    for _ in range(options.steps):
        loop.train_step()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return seconds / options.steps, cpu_seconds / options.steps, config.batch_size


def _record(scratch: Path) -> Path:
    from ghostpad.sources.recorder import RecordConfig, record

    record(RecordConfig(out=scratch / "bulk_videos", episodes=6, max_frames=300))
    return scratch / "bulk_videos"


if __name__ == "__main__":
    main()
