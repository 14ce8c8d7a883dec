"""Metrics and speed of a run: always in metrics.jsonl, in wandb when asked for.

No step waits for the device.
"""

import json
import netrc
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostpad.io import whole_file, write_json
from ghostpad.machine import peak_memory_mb
from ghostpad.progress import format_duration

WANDB_TIMEOUT_S = 15
"""Longest wait for the server of wandb."""
WANDB_BINS = 512
"""Most bins of a histogram in wandb."""
# The first step fills caches and compiles, so the time left is estimated from the next four.
WARM_STEP, ESTIMATED_STEP = 1, 5
ANNOUNCED_SECONDS = 3600


class NullTracker:
    """Ignores every call to a `Tracker`, for all processes but the first."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments: []


class Tracker:
    """Gathers values on their device and fetches them together.

    Args:
        folder: run folder, for `metrics.jsonl`, `run.json` and wandb's files.
        kind: "wandb" (offline unless a key is set) or "none".
        about: plain facts of the run: config, architecture, machine.
        step: where the run resumes; later lines of an earlier, killed process are dropped.
        name: project name for wandb.
    """

    def __init__(self, folder: Path, kind: str, about: dict[str, Any], step: int, name: str) -> None:
        self.path = folder / "metrics.jsonl"
        if self.path.is_file():
            _drop_lines_after(self.path, step)
        write_json(folder / "run.json", about)
        self._file = self.path.open("a", encoding="utf-8")
        self._pending: list[tuple[int, dict[str, Tensor | float]]] = []
        self._wandb: Any = None
        if kind == "wandb":
            with self._wandb_may_fail():
                self._wandb = _start_wandb(folder, about, step, name)

    def log(self, step: int, values: dict[str, Tensor | float]) -> None:
        """Record scalar values (0-dim tensors on any device, or floats) of `step`."""
        self._pending.append((step, values))

    def flush(self) -> list[tuple[int, dict[str, float]]]:
        """Fetch everything that is pending in one transfer, write it, and return it."""
        tensors = [v for _, values in self._pending for v in values.values() if isinstance(v, Tensor)]
        numbers = iter(torch.stack([t.float() for t in tensors]).tolist() if tensors else [])
        rows = [
            (step, {k: float(next(numbers) if isinstance(v, Tensor) else v) for k, v in values.items()})
            for step, values in self._pending
        ]
        self._pending.clear()
        for step, values in rows:
            self._write_line(step, values)
            with self._wandb_may_fail():
                if self._wandb is not None:
                    self._wandb.log(values, step=step)
        self._file.flush()
        return rows

    def histogram(self, step: int, name: str, counts: np.ndarray) -> None:
        """Record how often each of K codes was chosen."""
        self.flush()
        self._write_line(step, {name: counts.tolist()})
        with self._wandb_may_fail():
            if self._wandb is not None:
                import wandb

                bins = np.array_split(counts, min(len(counts), WANDB_BINS))
                edges = np.cumsum([0, *map(len, bins)])
                shown = wandb.Histogram(np_histogram=(np.array([part.sum() for part in bins]), edges))
                self._wandb.log({name: shown}, step=step)

    def image(self, step: int, name: str, picture_HW3: np.ndarray) -> None:
        """Record a picture (uint8), also as a PNG in the run folder's `examples/`."""
        from PIL import Image

        self.flush()
        with whole_file(self.path.parent / "examples" / f"{name}_{step:06d}.png") as temporary:
            Image.fromarray(picture_HW3).save(temporary, format="png")
        with self._wandb_may_fail():
            if self._wandb is not None:
                import wandb

                self._wandb.log({name: wandb.Image(picture_HW3)}, step=step)

    def close(self) -> None:
        """Write what is pending and end the run."""
        self.flush()
        self._file.close()
        with self._wandb_may_fail():
            if self._wandb is not None:
                self._wandb.finish()

    def _write_line(self, step: int, values: dict[str, Any]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")

    @contextmanager
    def _wandb_may_fail(self) -> Iterator[None]:
        """Around every call of wandb: whatever it raises ends the tracking there, never the training."""
        try:
            yield
        except Exception as error:
            self._wandb = None
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            warnings.warn(f"wandb fails ({reason}); metrics go to metrics.jsonl alone", stacklevel=2)


def _drop_lines_after(path: Path, step: int) -> None:
    """Drop the lines of later steps and half-written ones."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    with whole_file(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def _has_key() -> bool:
    """Whether the user has logged in to wandb."""
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("://")[-1].split("/")[0]
    try:
        return bool(os.environ.get("WANDB_API_KEY")) or netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _start_wandb(folder: Path, about: dict[str, Any], step: int, name: str) -> Any:
    """Start a wandb run, or resume the one whose id the folder holds."""
    import wandb

    mode: Any = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    id_file = folder / "wandb" / "run_id.txt"
    identity = id_file.read_text().strip() if step and id_file.is_file() else None
    run = wandb.init(
        project=name,
        dir=str(folder),
        config=about,
        mode=mode,
        id=identity,
        resume="allow" if identity else None,
        # Without a network it would wait for minutes, at the start and at the end.
        settings=wandb.Settings(
            silent=True, console="off", init_timeout=WANDB_TIMEOUT_S, finish_timeout=WANDB_TIMEOUT_S
        ),
    )
    with whole_file(id_file) as temporary:
        temporary.write_text(run.id + "\n", encoding="utf-8")
    return run


class Throughput:
    """Times the steps of a run.

    Args:
        batch_size: pairs of a step, over all processes.
        step: where the run starts or resumes.
        device: synchronized before the clock is read.
    """

    def __init__(self, batch_size: int, step: int, device: torch.device) -> None:
        self.batch_size, self.device = batch_size, device
        self._first_step = self._measured_step = step
        self._measured_at = self._warm_at = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out validation, pictures and files."""
        started = self._now()
        yield
        self._measured_at += time.perf_counter() - started

    def metrics(self, step: int) -> dict[str, float]:
        """`pairs_per_second` since the last call, and peak memory in GiB."""
        now = self._now()
        speed = (step - self._measured_step) * self.batch_size / max(now - self._measured_at, 1e-9)
        self._measured_at, self._measured_step = now, step
        if self.device.type == "cuda":
            return {"pairs_per_second": speed, "gpu_memory_gb": torch.cuda.max_memory_allocated() / 2**30}
        return {"pairs_per_second": speed, "memory_gb": peak_memory_mb() / 1024}

    def estimate(self, step: int, end: int) -> str | None:
        """At the fifth step of a run: the time left, if it is more than an hour."""
        done = step - self._first_step
        if done == WARM_STEP:
            self._warm_at = self._now()
        if done != ESTIMATED_STEP:
            return None
        left = (self._now() - self._warm_at) / (ESTIMATED_STEP - WARM_STEP) * (end - step)
        if left <= ANNOUNCED_SECONDS:
            return None
        device = self.device.type.upper()
        return f"About {format_duration(left)} for the {end - step} steps left on this {device}."

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
