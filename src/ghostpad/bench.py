"""Which batch size, precision and compile mode train fastest on this machine, and what is the limit."""

import dataclasses
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ghostpad.frames.ingest import open_data
from ghostpad.io import whole_file, write_json
from ghostpad.machine import num_cores, resolve_device, resolve_precision
from ghostpad.presets import preset
from ghostpad.training.latent_action import TrainConfig
from ghostpad.training.speed import Speed, measure_apart
from ghostpad.training.verdict import conclusions, options_of

# A doubled batch that gains less is not worth its memory.
LEAST_GAIN = 1.05


@dataclass(frozen=True)
class BenchConfig:
    """What to try."""

    preset: str = "spec"
    """whose model to train"""
    data: Path | None = None
    """folder of episodes, or a frame store; made-up frames of Breakout's size when not given"""
    out: Path = Path("reports/bench")
    """folder for bench.json and bench.png"""
    batch_sizes: tuple[int, ...] = ()
    """batch sizes to try; from the preset's, halved and doubled while it gains, when not given"""
    precisions: tuple[Literal["fp32", "bf16", "fp16"], ...] = ()
    """precisions to try; those that are fast here when not given"""
    compiles: tuple[Literal["no", "yes", "graphs"], ...] = ()
    """compile modes to try; all on a GPU and none on a CPU when not given"""
    grayscale: bool = True
    """train on one channel instead of three"""
    checkpointing: bool = False
    """compute activations again in the backward pass: less memory, more time"""
    seconds: float = 3.0
    """time for each measurement; each setting takes three"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: int | None = None
    """processes for reading episodes; all cores when not given"""


def bench(config: BenchConfig) -> list[Speed]:
    """Try settings one after another, print a table and a verdict, and draw a picture.

    Raises:
        UserError: there is no such preset, or the data cannot be read.
    """
    device, chosen = resolve_device(config.device), preset(config.preset)
    with tempfile.TemporaryDirectory() as scratch:
        store = open_data(config.data or made_up_frames(Path(scratch) / "videos"), config.workers)
        base = dataclasses.replace(
            chosen,
            data=store.path,
            out=Path(scratch) / "run",
            grayscale=config.grayscale,
            checkpointing=config.checkpointing,
            device=config.device,
            tracker="none",
        )
        color = "grayscale" if config.grayscale else "RGB"
        print(f"{config.preset} on {_machine(device)}, {store.width} by {store.height} {color}\n")
        print(_HEAD)
        speeds = _explore(config, base, device)
    worked = [speed for speed in speeds if not speed.failure]
    if worked:
        best = max(worked, key=lambda speed: speed.pairs_per_second)
        own = [speed for speed in worked if speed.batch_size == base.batch_size] or [best]
        own_best = max(own, key=lambda speed: speed.pairs_per_second)
        lines = conclusions(best, own_best, worked, base.steps, device.type == "cuda")
        print("\n" + "\n".join(lines))
        write_json(config.out / "bench.json", _as_json(speeds, lines, config, device))
        _draw(worked, best, f"{config.preset} on {_machine(device)}", config.out / "bench.png")
        print(f"{config.out / 'bench.png'}: the same as a picture")
    return speeds


def _explore(config: BenchConfig, base: TrainConfig, device: torch.device) -> list[Speed]:
    """First the precision, then how to compile with the best of them, then the batch size with both."""
    on_gpu = device.type == "cuda"
    auto = resolve_precision("auto", device)
    precisions = config.precisions or (("fp32", "bf16", "fp16") if on_gpu else tuple({"fp32", auto}))
    compiles = config.compiles or (("no", "yes", "graphs") if on_gpu else ("no",))
    sizes = config.batch_sizes or (base.batch_size,)
    speeds: list[Speed] = []

    def attempt(size: int, precision: str, compiling: str) -> Speed:
        known = [s for s in speeds if (s.batch_size, s.precision, s.compile) == (size, precision, compiling)]
        if not known:
            changed = {"batch_size": size, "precision": precision, "compile": compiling, "accumulate": 1}
            speeds.append(measure_apart(dataclasses.replace(base, **changed), config.seconds))
            print(_row(speeds[-1]), flush=True)
        return (known or speeds[-1:])[0]

    precision = _fastest([attempt(sizes[0], p, compiles[0]) for p in precisions]).precision
    compiling = _fastest([attempt(sizes[0], precision, c) for c in compiles]).compile
    for size in sizes[1:]:
        attempt(size, precision, compiling)
    if not config.batch_sizes:
        attempt(max(1, base.batch_size // 2), precision, compiling)
        size, before = base.batch_size, attempt(base.batch_size, precision, compiling)
        while not before.failure:
            size *= 2
            after = attempt(size, precision, compiling)
            if after.failure or after.pairs_per_second < LEAST_GAIN * before.pairs_per_second:
                break
            before = after
    return speeds


def _fastest(speeds: list[Speed]) -> Speed:
    return max(speeds, key=lambda speed: -math.inf if speed.failure else speed.pairs_per_second)


_HEAD = (
    "batch  precision  compile   pairs/s   ms a step   resident   data alone   memory   busy\n"
    "-----  ---------  -------  --------  ----------  ---------  -----------  -------  -----"
)


def _row(speed: Speed) -> str:
    head = f"{speed.batch_size:5}  {speed.precision:9}  {speed.compile:7}"
    if speed.failure:
        return f"{head}  {speed.failure}"
    times = [1000 * seconds for seconds in (speed.step_seconds, speed.resident_seconds, speed.data_seconds)]
    busy = "    ?" if speed.busy is None else f"{100 * speed.busy:3.0f} %"
    return (
        f"{head}  {speed.pairs_per_second:8.1f}  {times[0]:10.1f}  {times[1]:9.1f}  {times[2]:11.2f}  "
        f"{speed.memory_gb:4.2f} GB  {busy}"
    )


def _machine(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{num_cores()} CPU cores"


def _as_json(speeds: list[Speed], lines: list[str], config: BenchConfig, device: torch.device) -> dict:
    rows = [dataclasses.asdict(speed) | {"pairs_per_second": speed.pairs_per_second} for speed in speeds]
    plain = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows
    ]
    about = {"preset": config.preset, "machine": _machine(device), "torch": torch.__version__}
    return {**about, "settings": plain, "conclusions": lines}


def made_up_frames(folder: Path) -> Path:
    """Three episodes of a square that moves over stripes, 160×210, in nine colours."""
    from PIL import Image

    rows, columns = np.mgrid[:210, :160]
    palette = np.linspace(0, 255, 27).astype(np.uint8).reshape(9, 3)
    for episode in range(3):
        (folder / f"episode_{episode}").mkdir(parents=True)
        for frame in range(40):
            colors = rows // 30
            square = (abs(rows - 5 * frame % 210) < 4) & (abs(columns - (7 * frame + 40 * episode) % 160) < 4)
            Image.fromarray(palette[np.where(square, 8, colors)]).save(
                folder / f"episode_{episode}/{frame}.png"
            )
    return folder


def _draw(speeds: list[Speed], best: Speed, title: str, path: Path) -> None:
    """Left: throughput against batch size. Right: where the time of a step goes."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for kind in sorted({(speed.precision, speed.compile) for speed in speeds}):
        line = sorted((s for s in speeds if (s.precision, s.compile) == kind), key=lambda s: s.batch_size)
        label = kind[0] if kind[1] == "no" else f"{kind[0]}, compile {kind[1]}"
        left.plot([s.batch_size for s in line], [s.pairs_per_second for s in line], "o-", label=label)
    left.set(xlabel="batch size", ylabel="pairs a second", ylim=(0, None), title=title)
    left.set_xscale("log", base=2)
    left.legend()
    names = [f"{s.batch_size} {s.precision}" + ("" if s.compile == "no" else f" {s.compile}") for s in speeds]
    resident = [1000 * speed.resident_seconds / speed.batch_size for speed in speeds]
    waiting = [
        max(0.0, 1000 * (speed.step_seconds - speed.resident_seconds) / speed.batch_size) for speed in speeds
    ]
    right.barh(names, resident, label="the step itself")
    right.barh(names, waiting, left=resident, label="waiting for data")
    right.set(xlabel="ms a pair", title=f"best: {options_of(best)}")
    right.legend()
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)
