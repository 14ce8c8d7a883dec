"""Metrics, codebook histograms and pictures of a run: in its folder, in wandb and in TensorBoard.

A `Tracker` gathers them and hands them to its writers. To add a program, add its class to `_WRITERS`.
"""

import json
import netrc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ghostpad.errors import Notice
from ghostpad.io import whole_file, write_json

WANDB_TIMEOUT_S = 15
"""Longest wait for the server of wandb."""
HISTOGRAM_BINS = 512
"""Most bins of a histogram in wandb; TensorBoard gets the same."""
# Both programs group the charts `section/name` by section. Other validation metrics are "quality", and
# other metrics of a step "losses".
_SECTIONS = {
    **dict.fromkeys(("validation_loss", "validation_reconstruction"), "losses"),
    **dict.fromkeys(("code_counts", "codes_reset", "validation_usage", "validation_perplexity"), "codebook"),
    **dict.fromkeys(("pairs_per_second", "memory_gb", "gpu_memory_gb"), "speed"),
    **dict.fromkeys(("learning_rate", "gradient_norm"), "optimizer"),
    "reconstructions": "examples",
}


def _chart(name: str) -> str:
    """Return the name of a metric's chart, with its section."""
    section = "quality" if name.startswith("validation_") else "losses"
    return f"{_SECTIONS.get(name, section)}/{name}"


class _Writer(Protocol):
    """Writes what a `Tracker` has gathered; made from run folder, facts, step and project name."""

    def scalars(self, step: int, values: dict[str, float]) -> None: ...
    def histogram(self, step: int, name: str, counts: np.ndarray) -> None: ...
    def image(self, step: int, name: str, picture_HW3: np.ndarray) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class NullTracker:
    """Ignores every call to a `Tracker`, for all processes but the first."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments: []


class Tracker:
    """Gathers values on their device and fetches them together, so that no step waits for the device.

    A writer that raises is dropped with one warning: tracking never ends a training.

    Args:
        folder: run folder, for `metrics.jsonl`, `run.json`, and the files of wandb or TensorBoard.
        kind: "wandb" (offline unless a key is set), "tensorboard" or "none".
        about: plain facts of the run: config, architecture, machine.
        step: where the run resumes; what an earlier, killed process wrote of later steps into `metrics.jsonl`
            or for TensorBoard is dropped.
        name: project name for wandb.
    """

    def __init__(self, folder: Path, kind: str, about: dict[str, Any], step: int, name: str) -> None:
        self._pending: list[tuple[int, dict[str, Tensor | float]]] = []
        self._writers: dict[str, _Writer] = {}
        for each in ("metrics.jsonl", kind):
            with self._may_fail(each):
                if each != "none":
                    self._writers[each] = _WRITERS[each](folder, about, step, name)

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
            self._each(lambda writer, step=step, values=values: writer.scalars(step, values))
        self._each(lambda writer: writer.flush())
        return rows

    def histogram(self, step: int, name: str, counts: np.ndarray) -> None:
        """Record how often each of K codes was chosen."""
        self.flush()
        self._each(lambda writer: writer.histogram(step, name, counts))

    def image(self, step: int, name: str, picture_HW3: np.ndarray) -> None:
        """Record a picture (uint8)."""
        self.flush()
        self._each(lambda writer: writer.image(step, name, picture_HW3))

    def close(self) -> None:
        """Write what is pending and end the run."""
        self.flush()
        self._each(lambda writer: writer.close())

    def _each(self, write: Callable[[_Writer], None]) -> None:
        for kind, writer in list(self._writers.items()):
            with self._may_fail(kind):
                write(writer)

    @contextmanager
    def _may_fail(self, kind: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._writers.pop(kind, None)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            text = f"{kind} fails ({reason}); the run continues without it"
            warnings.warn(text, Notice, stacklevel=2)


class _FolderWriter:
    """`run.json` with the facts, `metrics.jsonl`, and pictures as PNGs in `examples/`."""

    def __init__(self, folder: Path, about: dict[str, Any], step: int, name: str) -> None:
        self._folder = folder
        path = folder / "metrics.jsonl"
        if path.is_file():
            _drop_lines_after(path, step)
        write_json(folder / "run.json", about)
        self._file = path.open("a", encoding="utf-8")

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")

    def histogram(self, step: int, name: str, counts: np.ndarray) -> None:
        self.scalars(step, {name: counts.tolist()})

    def image(self, step: int, name: str, picture_HW3: np.ndarray) -> None:
        from PIL import Image

        with whole_file(self._folder / "examples" / f"{name}_{step:06d}.png") as temporary:
            Image.fromarray(picture_HW3).save(temporary, format="png")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


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


class _WandbWriter:
    """A run of wandb, below `wandb/`; a resumed training continues the run whose id the folder holds."""

    def __init__(self, folder: Path, about: dict[str, Any], step: int, name: str) -> None:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
        id_file = folder / "wandb" / "run_id.txt"
        identity = id_file.read_text().strip() if step and id_file.is_file() else None
        self._run = wandb.init(
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
            temporary.write_text(self._run.id + "\n", encoding="utf-8")

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        self._run.log({_chart(name): value for name, value in values.items()}, step=step)

    def histogram(self, step: int, name: str, counts: np.ndarray) -> None:
        import wandb

        self.scalars(step, {name: wandb.Histogram(np_histogram=_binned(counts))})

    def image(self, step: int, name: str, picture_HW3: np.ndarray) -> None:
        import wandb

        self.scalars(step, {name: wandb.Image(picture_HW3)})

    def flush(self) -> None:
        pass  # wandb writes in a process of its own

    def close(self) -> None:
        self._run.finish()


def _has_key() -> bool:
    """Whether the user has logged in to wandb."""
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("://")[-1].split("/")[0]
    try:
        return bool(os.environ.get("WANDB_API_KEY")) or netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class _TensorBoardWriter:
    """Event files in `tensorboard/`, which `tensorboard --logdir` shows; the facts are among the texts."""

    def __init__(self, folder: Path, about: dict[str, Any], step: int, name: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError('not installed: pip install "ghostpad[tensorboard]"') from None
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        for key, value in about.items():
            self._events.add_text(f"run/{key}", f"```\n{json.dumps(value, indent=1)}\n```", step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._events.add_scalar(_chart(name), value, step)

    def histogram(self, step: int, name: str, counts: np.ndarray) -> None:
        binned, edges = _binned(counts)
        codes = np.arange(len(counts))
        self._events.add_histogram_raw(
            _chart(name),
            min=0,
            max=len(counts),
            num=counts.sum(),
            sum=counts @ codes,
            sum_squares=counts @ codes**2,
            bucket_limits=edges[1:].tolist(),
            bucket_counts=binned.tolist(),
            global_step=step,
        )

    def image(self, step: int, name: str, picture_HW3: np.ndarray) -> None:
        self._events.add_image(_chart(name), picture_HW3, step, dataformats="HWC")

    def flush(self) -> None:
        self._events.flush()

    def close(self) -> None:
        self._events.close()


def _binned(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of at most `HISTOGRAM_BINS` groups of neighbouring codes, and their edges."""
    bins = np.array_split(counts, min(len(counts), HISTOGRAM_BINS))
    return np.array([part.sum() for part in bins]), np.cumsum([0, *map(len, bins)])


_WRITERS: dict[str, Callable[[Path, dict[str, Any], int, str], _Writer]] = {
    "metrics.jsonl": _FolderWriter,
    "wandb": _WandbWriter,
    "tensorboard": _TensorBoardWriter,
}
