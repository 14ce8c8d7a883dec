"""The whole pipeline, small: record, ingest, train, extract and evaluate real Breakout on this machine."""

import contextlib
import dataclasses
import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpad import __version__
from ghostpad.config import differences, to_plain
from ghostpad.errors import UserError
from ghostpad.io import read_json, write_json

PROGRESS = "demo.json"
SPEED_FIELDS = ("out", "device", "workers")
"""Fields that change how fast the demo runs and where, but no result."""
HEADLINES = {"within_2px": "within 2 pixels", "state_accuracy": "states right"}
"""Metrics of a game's elements that the summary shows."""


@dataclass(frozen=True)
class DemoConfig:
    """How much to record and how long to train."""

    out: Path = Path("demo")
    """folder for everything that the demo makes"""
    episodes: int = 40
    """episodes of Breakout to record"""
    max_frames: int = 1000
    """most frames per episode"""
    steps: int = 800
    """training steps of the preset tiny"""
    seed: int = 0
    """seed of everything random"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: int | None = None
    """processes at once; all cores when not given"""


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline, named after the verb that does the same by itself."""

    name: str
    result: Path
    """file or folder that exists when the stage is done"""
    shown: Path
    """file or folder to look at"""
    run: Callable[[], Any]
    """does the work, from where it was interrupted"""


def demo(config: DemoConfig) -> dict[str, Any]:
    """Run every stage that is not done yet, print the main results, and return the content of metrics.json.

    Raises:
        UserError: the folder holds other files, or a demo with other settings; nothing is changed.
    """
    progress = _open_progress(config)
    for stage in _stages(config):
        line = f"{stage.name:10}{{:>8}}   {stage.shown}"
        is_done = stage.name in progress["seconds"] and stage.result.exists()
        if not is_done:
            if sys.stdout.isatty():
                print(line.format("…"), end="\r", flush=True)
            began = time.perf_counter()
            # One line for each stage; warnings and progress bars are on standard error.
            with contextlib.redirect_stdout(io.StringIO()):
                stage.run()
            progress["seconds"][stage.name] = round(time.perf_counter() - began, 1)
            write_json(config.out / PROGRESS, progress)
        print(line.format("reused" if is_done else f"{progress['seconds'][stage.name]:.0f} s"), flush=True)
    report = config.out / "report"
    metrics = read_json(report / "metrics.json")
    print(f"\n{summary(metrics)}\n\nThe report: {report / 'report.html'}")
    return metrics


def _stages(config: DemoConfig) -> list[Stage]:
    # Imported here, so that `ghostpad demo --help` does not load torch.
    from ghostpad.evaluation.config import EvaluateConfig
    from ghostpad.evaluation.report.evaluate import evaluate
    from ghostpad.frames.ingest import open_data
    from ghostpad.labels.extract import ExtractConfig, extract
    from ghostpad.presets import tiny, train
    from ghostpad.sources.recorder import RecordConfig, record

    out, seed, machine = config.out, config.seed, {"device": config.device, "workers": config.workers}
    videos, model = out / "bulk_videos", out / "checkpoints" / "latent_action"
    labels, report, store = out / "latent_actions", out / "report", out / "bulk_videos.store"
    recording = RecordConfig(
        out=videos, episodes=config.episodes, max_frames=config.max_frames, seed=seed, workers=config.workers
    )
    run = {
        "data": videos,
        "out": model,
        "steps": config.steps,
        "seed": seed,
        "resume": True,
        "tracker": "none",
    }
    training = dataclasses.replace(tiny(), **run, **machine)
    extraction = ExtractConfig(model=model, data=videos, out=labels, **machine)
    evaluation = EvaluateConfig(model=model, data=videos, out=report, device=config.device, seed=seed)
    return [
        Stage("record", videos, videos, lambda: record(recording)),
        Stage("ingest", store, store, lambda: open_data(videos, config.workers)),
        Stage("train", model / "best.pt", model, lambda: train(training)),
        Stage("extract", labels / "_labels.parquet", labels, lambda: extract(extraction)),
        Stage("evaluate", report / "metrics.json", report / "report.html", lambda: evaluate(evaluation)),
    ]


def _open_progress(config: DemoConfig) -> dict[str, Any]:
    """The demo's settings and the seconds of each stage that is done, from the folder if it holds them."""
    settings = {name: value for name, value in to_plain(config).items() if name not in SPEED_FIELDS}
    settings["version"] = __version__
    path = config.out / PROGRESS
    if path.is_file():
        progress = read_json(path)
        for name, saved, given in differences(progress["settings"], settings):
            raise UserError(
                f"{config.out}: holds a demo with {name} {saved}, not {given}; give another --out"
            )
        return progress
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise UserError(f"{config.out}: holds other files than a demo; give another --out")
    progress = {"settings": settings, "seconds": {}}
    write_json(path, progress)
    return progress


def summary(metrics: dict[str, Any]) -> str:
    """The main results, one a line; a dash where one could not be measured."""
    reconstruction, codebook = metrics["reconstruction"], metrics["codebook"]
    gain, lost = (_decibels(reconstruction[key]) for key in ("gain_over_copy_db", "delta_psnr_db"))
    lines = [
        ("gain over copying the frame", gain, "0: no better than copying"),
        ("lost with wrong codes (ΔPSNR)", lost, "0: codes unused"),
        ("codebook in use", _percent(codebook["usage"]), f"of {codebook['size']} codes"),
    ]
    for name, element in metrics["elements"].items():
        for key, title in HEADLINES.items():
            if element and key in element:
                note = f"copying: {_percent(element.get(f'copy_{key}'))}"
                lines.append((f"{name} {title}", _percent(element[key]), note))
    head = f"Held-out episodes: {metrics['num_episodes']}, with {metrics['num_transitions']:,} transitions"
    return "\n".join([head, *(f"  {name:30}{value:>9}   ({note})" for name, value, note in lines)])


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
