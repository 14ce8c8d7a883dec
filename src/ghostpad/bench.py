"""Which batch size, precision and compile mode train fastest on this machine, and what limits the speed."""

import dataclasses
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ghostpad.frames.ingest import open_data
from ghostpad.io import whole_file, write_json
from ghostpad.machine import num_cores, resolve_device, resolve_precision
from ghostpad.presets import preset
from ghostpad.progress import format_duration
from ghostpad.theme import PLOT_STYLE
from ghostpad.training.config import TrainConfig
from ghostpad.training.speed import Speed, measure_apart

LEAST_GAIN = 1.05
"""A doubled batch that gains less is not worth its memory."""
DATA_SHARE, FIXED_SHARE = 0.15, 0.3
"""Shares of a step above which data, or costs that do not grow with the batch, are called the limit."""


@dataclass(frozen=True)
class BenchConfig:
    """What to try."""

    preset: str = "spec"
    """whose model to train"""
    data: Path | None = None
    """folder of episodes, or a frame store; synthetic frames of Breakout's size when not given"""
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
    """recompute activations in the backward pass: less memory, more time"""
    seconds: float = 3.0
    """time for each measurement; each setting takes two"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: int | None = None
    """processes for reading episodes; all cores when not given"""


def bench(config: BenchConfig) -> list[Speed]:
    """Try settings one after another, print a table and conclusions, and draw the throughput.

    Raises:
        UserError: there is no such preset, or the data cannot be read.
    """
    import torch  # here, so that asking for help does not load it

    device, base = resolve_device(config.device), preset(config.preset)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{num_cores()} CPU cores"
    with tempfile.TemporaryDirectory() as scratch:
        store = open_data(config.data or synthetic_episodes(Path(scratch) / "videos"), config.workers)
        base = dataclasses.replace(
            base,
            data=store.path,
            out=Path(scratch) / "run",
            grayscale=config.grayscale,
            checkpointing=config.checkpointing,
            device=config.device,
            tracker="none",
        )
        color = "grayscale" if config.grayscale else "RGB"
        print(f"{config.preset} on {machine}, {store.width} by {store.height} {color}\n\n{_HEAD}")
        speeds = _explore(config, base, device)
    if any(not speed.failure for speed in speeds):
        lines = conclusions(speeds, base.batch_size, base.steps)
        print("\n" + "\n".join(lines))
        about = {"preset": config.preset, "machine": machine, "torch": torch.__version__}
        write_json(config.out / "bench.json", {**about, "settings": _plain(speeds), "conclusions": lines})
        _draw(speeds, f"{config.preset} on {machine}", config.out / "bench.png")
        print(f"{config.out / 'bench.png'}: throughput by batch size")
    return speeds


def _explore(config: BenchConfig, base: TrainConfig, device: Any) -> list[Speed]:
    """First the precision, then the compile mode with the best of them, then the batch size with both."""
    on_gpu = device.type == "cuda"
    auto = resolve_precision("auto", device)
    precisions = config.precisions or (("fp32", "bf16", "fp16") if on_gpu else tuple({"fp32", auto}))
    compiles = config.compiles or (("no", "yes", "graphs") if on_gpu else ("no",))
    sizes = config.batch_sizes or (base.batch_size, max(1, base.batch_size // 2))
    tried: dict[tuple[int, str, str], Speed] = {}

    def attempt(size: int, precision: str, mode: str) -> Speed:
        key = (size, precision, mode)
        if key not in tried:
            changed = {"batch_size": size, "precision": precision, "compile": mode, "accumulate": 1}
            tried[key] = measure_apart(dataclasses.replace(base, **changed), config.seconds)
            print(_row(tried[key]), flush=True)
        return tried[key]

    precision = _fastest([attempt(sizes[0], p, compiles[0]) for p in precisions]).precision
    mode = _fastest([attempt(sizes[0], precision, c) for c in compiles]).compile
    for size in sizes:
        attempt(size, precision, mode)
    size = base.batch_size
    while not config.batch_sizes and not attempt(size, precision, mode).failure:
        before, after = (attempt(batch, precision, mode).pairs_per_second for batch in (size, 2 * size))
        if not after >= LEAST_GAIN * before:  # or the larger batch failed
            break
        size *= 2
    return list(tried.values())


def _fastest(speeds: list[Speed]) -> Speed:
    return max(speeds, key=lambda speed: -math.inf if speed.failure else speed.pairs_per_second)


def fixed_share(speeds: list[Speed], like: Speed) -> float | None:
    """Share of a step that does not grow with the batch: launches, Python, the optimizer. None if unknown.

    A straight line through the step times of all batch sizes with the same precision and compile mode.
    """
    kind = (like.precision, like.compile)
    alike = [speed for speed in speeds if (speed.precision, speed.compile) == kind and not speed.failure]
    sizes, times = [speed.batch_size for speed in alike], [speed.resident_seconds for speed in alike]
    if len(set(sizes)) < 2:
        return None
    slope, fixed = np.polyfit(sizes, times, 1)
    return float(np.clip(fixed / max(fixed + slope * like.batch_size, 1e-12), 0, 1))


def conclusions(speeds: list[Speed], batch_size: int, steps: int) -> list[str]:
    """The best setting, what limits the speed at the preset's batch size, and which setting to change."""
    best = _fastest(speeds)
    own = _fastest([s for s in speeds if s.batch_size == batch_size and not s.failure] or [best])
    fixed = fixed_share(speeds, own)
    if own.data_share > DATA_SHARE:
        limit, advice = "data", "more frames on the GPU (--frames-budget-gb), or a store on a faster disk"
    elif (fixed or 0) > FIXED_SHARE:
        larger = max(best.batch_size, 2 * own.batch_size)
        limit, advice = "launches", f"--batch-size {larger}, or --compile graphs on a GPU"
    else:
        limit, advice = "arithmetic", "less of it: --downsample 2, a smaller preset, or a faster device"
    known = "" if fixed is None else f", {100 * fixed:.0f} % does not grow with the batch"
    return [
        f"Fastest: {options_of(best)}: {best.pairs_per_second:.3g} pairs a second.",
        f"With the preset's batch of {own.batch_size}: {options_of(own)}: {own.pairs_per_second:.3g} pairs a "
        f"second; its {steps} steps take about {format_duration(steps * own.step_seconds)}.",
        f"The limit is {limit}: {100 * own.data_share:.0f} % of a step waits for data{known}. "
        f"What helps: {advice}.",
    ]


def options_of(speed: Speed) -> str:
    """The setting as options of `ghostpad train`."""
    compiled = "" if speed.compile == "no" else f" --compile {speed.compile}"
    return f"--batch-size {speed.batch_size} --precision {speed.precision}{compiled}"


_HEAD = (
    "batch  precision  compile   pairs/s   ms a step   on ready data   memory\n"
    "-----  ---------  -------  --------  ----------  --------------  -------"
)


def _row(speed: Speed) -> str:
    head = f"{speed.batch_size:5}  {speed.precision:9}  {speed.compile:7}"
    if speed.failure:
        return f"{head}  {speed.failure}"
    step, resident = 1000 * speed.step_seconds, 1000 * speed.resident_seconds
    return f"{head}  {speed.pairs_per_second:8.1f}  {step:10.1f}  {resident:14.1f}  {speed.memory_gb:4.2f} GB"


def _plain(speeds: list[Speed]) -> list[dict]:
    rows = [dataclasses.asdict(speed) | {"pairs_per_second": speed.pairs_per_second} for speed in speeds]
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]  # NaN


def _draw(speeds: list[Speed], title: str, path: Path) -> None:
    """Throughput against batch size, a line for each precision and compile mode."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    with matplotlib.rc_context(PLOT_STYLE):
        axes = figure.subplots()
    worked = [speed for speed in speeds if not speed.failure]
    for precision, mode in sorted({(speed.precision, speed.compile) for speed in worked}):
        line = [speed for speed in worked if (speed.precision, speed.compile) == (precision, mode)]
        points = sorted((speed.batch_size, speed.pairs_per_second) for speed in line)
        axes.plot(*zip(*points, strict=True), marker="o", label=f"{precision}, compile {mode}")
    axes.set(xlabel="batch size", ylabel="pairs a second", ylim=(0, None), title=title)
    axes.set_xscale("log", base=2)
    axes.legend()
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def synthetic_episodes(folder: Path) -> Path:
    """Three episodes of a square that moves over stripes, 160×210, in nine colours."""
    from PIL import Image

    rows, columns = np.mgrid[:210, :160]
    palette = np.linspace(0, 255, 27).astype(np.uint8).reshape(9, 3)
    for episode in range(3):
        (folder / f"episode_{episode}").mkdir(parents=True)
        for frame in range(40):
            square = (abs(rows - 5 * frame % 210) < 4) & (abs(columns - (7 * frame + 40 * episode) % 160) < 4)
            picture = Image.fromarray(palette[np.where(square, 8, rows // 30)])
            picture.save(folder / f"episode_{episode}" / f"{frame}.png")
    return folder
