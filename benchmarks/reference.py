"""The reference numbers of `spec` and `sharp`: record, train, evaluate and print one table.

    python benchmarks/reference.py [FOLDER] [--steps N …] [--presets spec sharp] [--device auto] [--write]

Trains in RGB at full size, with the presets' own steps on a GPU and fewer on a CPU (--steps, default 300),
which the table states. `--write` also writes it to `docs/reference.md`. Every part is kept in FOLDER
(default: reference_benchmark), so the same command resumes an interrupted run. It needs no network.
"""

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch loads

import torch

from ghostpad.evaluation.config import EvaluateConfig
from ghostpad.evaluation.report.evaluate import evaluate
from ghostpad.frames.ingest import open_data
from ghostpad.frames.store import FrameStore
from ghostpad.machine import resolve_device
from ghostpad.presets import PRESETS
from ghostpad.sources.recorder import RecordConfig, record
from ghostpad.training.latent_action import train

CPU_STEPS = 300
PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
HEAD = """\
# Reference numbers of `spec` and `sharp`

Written by `python benchmarks/reference.py{steps} --write`. [metrics.md](metrics.md) explains each number.
The targets are those of the full training of 100,000 steps, which takes a GPU. A training that was cut
short says so under *steps*; its numbers show how far it had come by then.

"""
# title, key in metrics.json, whether it is a share, targets by preset
ROWS: tuple[tuple[str, str, bool, dict[str, float]], ...] = (
    ("PSNR (dB)", "reconstruction.psnr_db", False, {"spec": 45, "sharp": 50}),
    ("PSNR of copying (dB)", "reconstruction.copy_psnr_db", False, {}),
    ("gain over copying (dB)", "reconstruction.gain_over_copy_db", False, {"spec": 6}),
    ("PSNR on moving pixels (dB)", "reconstruction.moving_psnr_db", False, {}),
    ("SSIM", "reconstruction.ssim", False, {}),
    ("ΔPSNR (dB)", "reconstruction.delta_psnr_db", False, {}),
    ("ball within 1 pixel", "elements.ball.within_1px", True, {"sharp": 0.99}),
    ("more balls than true", "elements.ball.false_share", True, {}),
    ("paddle within 1 pixel", "elements.paddle.within_1px", True, {"sharp": 0.995}),
    ("brick states correct", "elements.bricks.state_accuracy", True, {"sharp": 0.999}),
    ("codes used", "codebook.usage", True, {"spec": 0.9}),
    ("codes actively used", "codebook.active", True, {}),
    ("perplexity", "codebook.perplexity", False, {}),
)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("reference_benchmark"))
    parser.add_argument(
        "--steps", type=int, nargs="+", help="of all presets or of each (default: their own; 300 on a CPU)"
    )
    parser.add_argument("--presets", nargs="*", default=["spec", "sharp"])
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--max-frames", type=int, default=1000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    device = resolve_device(options.device)
    steps = options.steps or [None if device.type == "cuda" else CPU_STEPS]
    if len(steps) not in (1, len(options.presets)):
        parser.error("--steps: give one number for all presets, or one for each")
    each = dict(zip(options.presets, steps * len(options.presets), strict=False))
    videos = options.folder / "bulk_videos"
    record(RecordConfig(out=videos, episodes=options.episodes, max_frames=options.max_frames))
    store = open_data(videos)
    runs = {name: run(name, each[name], videos, options) for name in options.presets}
    page = table(runs, store, _name_of(device))
    print(page)
    if options.write:
        asked = f" --steps {' '.join(map(str, options.steps))}" if options.steps else ""
        PAGE.write_text(HEAD.format(steps=asked) + page + "\n", encoding="utf-8")


def run(name: str, steps: int | None, videos: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate one preset, or resume it; returns the numbers for the table."""
    folder = options.folder / f"{name}_{steps or 'full'}"
    own = PRESETS[name]()
    config = dataclasses.replace(
        own,
        data=videos,
        out=folder / "checkpoint",
        steps=steps or own.steps,
        validate_every=min(own.validate_every, steps or own.steps),
        save_every=min(own.save_every, steps or own.steps),
        grayscale=False,
        tracker="none",
        resume=True,
        device=options.device,
    )
    about = folder / "about.json"
    if not about.exists():
        fresh, began = not (config.out / "last.pt").exists(), time.monotonic()
        train(config)
        minutes = (time.monotonic() - began) / 60 if fresh else None
        facts = {
            "steps": config.steps,
            "own_steps": own.steps,
            "minutes": minutes,
            "batch": config.batch_size,
        }
        about.write_text(json.dumps(facts | _from_log(config.out, config.batch_size)))
    done = json.loads(about.read_text())
    report = folder / "report"
    metrics = report / "metrics.json"
    if not metrics.exists():
        evaluate(EvaluateConfig(config.out, videos, out=report, device=options.device))
    done["metrics"] = json.loads(metrics.read_text())
    # Checkpoints of one step are one file with several names.
    sizes = {path.stat().st_ino: path.stat().st_size for path in config.out.rglob("*.pt")}
    done["gigabytes"] = sum(sizes.values()) / 1e9
    return done


def _from_log(folder: Path, batch_size: int) -> dict[str, float]:
    """Speed and memory over all attempts, from the training log."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    looks = [line for line in lines if "pairs_per_second" in line]
    speeds = sorted(look["pairs_per_second"] for look in looks)
    median = speeds[len(speeds) // 2]
    memory = max(look.get("gpu_memory_gb", look.get("memory_gb", 0)) for look in looks)
    steps = max(line["step"] for line in lines)
    return {
        "pairs_per_second": median,
        "memory_gb": memory,
        "training_minutes": steps * batch_size / median / 60,
    }


def table(runs: dict[str, dict[str, Any]], store: FrameStore, machine: str) -> str:
    """Markdown with a column for each preset; numbers with a target name it."""
    frames = sum(episode.num_frames for episode in store.episodes)
    bytes_per_frame = sum(store.array(i).nbytes for i in range(len(store.episodes))) / frames
    counts = ", ".join(f"{count:,}" for count in {run["metrics"]["num_transitions"] for run in runs.values()})
    head = [
        f"RGB, {store.width} by {store.height} pixels, {len(store.episodes)} episodes ({frames:,} frames); "
        f"trained on {machine}, evaluated on {counts} held-out transitions.",
        "",
        "| | " + " | ".join(runs) + " |",
        "|---|" + "--:|" * len(runs),
    ]
    rows = [("steps", [_steps(run) for run in runs.values()])]
    rows.append(("minutes of training", [_minutes(run) for run in runs.values()]))
    rows.append(("pairs per second", [f"{run['pairs_per_second']:,.0f}" for run in runs.values()]))
    rows.append(("peak memory (GB)", [f"{run['memory_gb']:.1f}" for run in runs.values()]))
    for title, key, is_share, targets in ROWS:
        cells = [_cell(run["metrics"], key, is_share, targets.get(name)) for name, run in runs.items()]
        rows.append((title, cells))
    rows.append(("checkpoints, total (GB)", [f"{run['gigabytes']:.2f}" for run in runs.values()]))
    store_gb = bytes_per_frame * 100_000 / 1e9
    tail = f"\nA store of 100,000 such frames takes {store_gb:.1f} GB."
    return "\n".join([*head, *(f"| {title} | {' | '.join(cells)} |" for title, cells in rows), tail])


def _steps(run: dict[str, Any]) -> str:
    short = run["steps"] < run["own_steps"]
    return f"{run['steps']:,}" + (f", cut short (full: {run['own_steps']:,})" if short else "")


def _minutes(run: dict[str, Any]) -> str:
    return f"{run['minutes']:.1f}" if run["minutes"] is not None else f"about {run['training_minutes']:.1f}"


def _cell(metrics: dict[str, Any], key: str, is_share: bool, target: float | None) -> str:
    value: Any = metrics
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "none"

    def shown(number: float) -> str:
        return f"{100 * number:.2f} %" if is_share else f"{number:.4g}"

    if target is None:
        return shown(value)
    return f"{shown(value)} (target {shown(target)}: {'met' if value >= target else 'missed'})"


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} CPU core{'s' if threads > 1 else ''}"


if __name__ == "__main__":
    main()
