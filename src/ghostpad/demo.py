"""The whole pipeline, small: record, ingest, train, extract and evaluate real Breakout on this machine."""

import contextlib
import dataclasses
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpad import __version__
from ghostpad.config import differences, to_plain
from ghostpad.errors import UserError
from ghostpad.io import write_json

DIARY = "demo.json"
# These change how fast things go and where, never what comes out.
SPEED_ONLY = ("out", "device", "workers")


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
    """One step of the pipeline: a later stage needs what the earlier ones made."""

    name: str
    """the verb that does the same by itself"""
    result: Path
    """file that is there when the stage is done"""
    shown: Path
    """file or folder to look at"""
    run: Callable[[], Any]
    """does the work, going on from where it was interrupted"""


def demo(config: DemoConfig) -> dict[str, Any]:
    """Run every stage that is not done yet, print what matters, and return the content of metrics.json.

    Raises:
        UserError: the folder holds something else, or a demo with other settings; nothing is changed then.
    """
    diary = _open_diary(config)
    for stage in _stages(config):
        seconds = diary["seconds"].get(stage.name)
        reused = seconds is not None and stage.result.exists()
        if not reused:
            if sys.stdout.isatty():
                _say(stage, "…", end="\r")
            began = time.perf_counter()
            with _quiet():
                stage.run()
            seconds = diary["seconds"][stage.name] = round(time.perf_counter() - began, 1)
            write_json(config.out / DIARY, diary)
        _say(stage, "reused" if reused else f"{seconds:.0f} s")
    metrics = json.loads((config.out / "report" / "metrics.json").read_text(encoding="utf-8"))
    print(f"\n{summary(metrics)}\n\nThe report: {config.out / 'report' / 'report.html'}")
    return metrics


def _stages(config: DemoConfig) -> list[Stage]:
    # Here, so that `ghostpad demo --help` does not load torch.
    from ghostpad.evaluation.checks import light_checks
    from ghostpad.evaluation.report.evaluate import EvaluateConfig, evaluate
    from ghostpad.frames.ingest import open_data
    from ghostpad.labels.extract import ExtractConfig, extract
    from ghostpad.presets import tiny
    from ghostpad.sources.atari import RecordConfig, record
    from ghostpad.training.latent_action import train

    out = config.out
    videos, model = out / "bulk_videos", out / "checkpoints" / "latent_action"
    labels, report = out / "latent_actions", out / "report"
    recording = RecordConfig(
        out=videos,
        episodes=config.episodes,
        max_frames=config.max_frames,
        seed=config.seed,
        workers=config.workers,
    )
    training = dataclasses.replace(
        tiny(),
        data=videos,
        out=model,
        steps=config.steps,
        seed=config.seed,
        device=config.device,
        workers=config.workers,
        resume=True,
        tracker="none",
    )
    extraction = ExtractConfig(
        model=model, data=videos, out=labels, device=config.device, workers=config.workers
    )
    evaluation = EvaluateConfig(model=model, data=videos, out=report, device=config.device, seed=config.seed)
    store = videos.with_name(f"{videos.name}.store")
    return [
        Stage("record", videos, videos, lambda: record(recording)),
        Stage("ingest", store, store, lambda: open_data(videos, config.workers)),
        Stage("train", model / "best.pt", model, lambda: train(training, checks=light_checks)),
        Stage("extract", labels / "labels.json", labels, lambda: extract(extraction)),
        Stage("evaluate", report / "metrics.json", report / "report.html", lambda: evaluate(evaluation)),
    ]


def _open_diary(config: DemoConfig) -> dict[str, Any]:
    """Return the settings and the stages done, read from the folder when it holds this very demo."""
    wanted = {name: value for name, value in to_plain(config).items() if name not in SPEED_ONLY}
    wanted["version"] = __version__
    path = config.out / DIARY
    if path.is_file():
        diary = json.loads(path.read_text(encoding="utf-8"))
        for name, old, new in differences(diary["settings"], wanted):
            raise UserError(
                f"{config.out}: holds a demo with {name} {old}, not {new}; give another --out or delete it"
            )
        return diary
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise UserError(f"{config.out}: holds something else than a demo; give another --out")
    diary = {"settings": wanted, "seconds": {}}
    write_json(path, diary)
    return diary


def summary(metrics: dict[str, Any]) -> str:
    """Return the few numbers that matter, one a line; what could not be measured is a dash."""
    reconstruction, elements = metrics["reconstruction"], metrics["elements"]
    ball, paddle, bricks = (elements.get(name) or {} for name in ("ball", "paddle", "bricks"))
    lines = [
        (
            "gain over copying the frame",
            _number(reconstruction["gain_over_copy_db"], "dB"),
            "0 is doing nothing",
        ),
        (
            "lost with wrong codes (ΔPSNR)",
            _number(reconstruction["delta_psnr_db"], "dB"),
            "0 is codes unused",
        ),
        ("codebook in use", _share(metrics["codebook"]["usage"]), f"of {metrics['codebook']['size']} codes"),
        ("ball within 2 pixels", _share(ball.get("within_2px")), _copying(ball, "within_2px")),
        ("paddle within 2 pixels", _share(paddle.get("within_2px")), _copying(paddle, "within_2px")),
        (
            "brick states right",
            _share(bricks.get("state_accuracy"), 2),
            _copying(bricks, "state_accuracy", 2),
        ),
    ]
    head = f"Held-out episodes: {metrics['num_episodes']}, with {metrics['num_transitions']:,} transitions"
    return "\n".join([head, *(f"  {name:30}{value:>9}   ({note})" for name, value, note in lines)])


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.1f} {unit}"


def _share(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _copying(element: dict[str, Any], key: str, digits: int = 1) -> str:
    return f"copying: {_share(element.get(f'copy_{key}'), digits)}"


def _say(stage: Stage, state: str, end: str = "\n") -> None:
    print(f"{stage.name:10}{state:>8}   {stage.shown}", end=end, flush=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what a stage prints: the demo has one line for each. Warnings and bars are on standard error."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
