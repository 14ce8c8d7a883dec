"""Most memory that training takes, against the text's budget of 12 GB.

    python benchmarks/memory.py [--preset spec] [--batch-size 32] [--gray] [--device auto]

A few training steps in a process for each setting: fp32 and mixed precision, with activations kept and
computed again. On a GPU it is what PyTorch takes there; on a CPU how far the process grows while it builds
the model and trains. Frames are synthetic, of Breakout's size: memory does not depend on what they show.
"""

import argparse
import dataclasses
import os
import tempfile
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads

from ghostpad.bench import synthetic_episodes
from ghostpad.frames.ingest import open_data
from ghostpad.machine import resolve_device
from ghostpad.presets import PRESETS
from ghostpad.training.speed import measure_apart

BUDGET_GB = 12


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="spec")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--gray", action="store_true", help="grayscale instead of RGB")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    mixed = ("bf16", "fp16") if resolve_device(options.device).type == "cuda" else ("bf16",)
    with tempfile.TemporaryDirectory() as scratch:
        store = open_data(synthetic_episodes(Path(scratch) / "videos"))
        color = "grayscale" if options.gray else "RGB"
        print(f"{options.preset}, batch {options.batch_size}, {store.width} by {store.height} {color}")
        print("| precision | activations | peak memory | within 12 GB |\n|---|---|--:|---|")
        for precision in ("fp32", *mixed):
            for checkpointing in (False, True):
                config = dataclasses.replace(
                    PRESETS[options.preset](),
                    data=store.path,
                    batch_size=options.batch_size,
                    accumulate=1,
                    grayscale=options.gray,
                    precision=precision,
                    checkpointing=checkpointing,
                    compile="no",
                    device=options.device,
                )
                speed = measure_apart(config, seconds=0)
                kept = "computed again" if checkpointing else "kept"
                within = speed.failure or ("yes" if speed.memory_gb <= BUDGET_GB else "no")
                print(f"| {precision} | {kept} | {speed.memory_gb:.2f} GB | {within} |", flush=True)


if __name__ == "__main__":
    main()
