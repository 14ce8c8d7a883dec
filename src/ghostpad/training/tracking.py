"""Where the numbers of a run go: JSONL always, wandb when asked; no step waits for the device."""

import json
import netrc
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostpad.io import whole_file, write_json


class NullTracker:
    """A tracker that keeps nothing, for all processes but the first."""

    def log(self, step: int, values: dict[str, Tensor | float]) -> None:
        """Remember scalar values (0-dim tensors on any device, or floats) for `step`."""

    def flush(self) -> list[tuple[int, dict[str, float]]]:
        """Fetch everything that is pending in one transfer, write it, and return it."""
        return []

    def histogram(self, step: int, name: str, counts: np.ndarray) -> None:
        """Log how often each of K codes was chosen."""

    def image(self, step: int, name: str, picture_HW3: np.ndarray) -> None:
        """Log a picture (uint8) under `name`; it is also kept as a PNG in the run folder's `examples/`."""

    def close(self) -> None:
        """Write what is pending and end the run."""


class Tracker(NullTracker):
    """Gathers values of single steps where they are and fetches them together.

    Args:
        folder: run folder; `metrics.jsonl` and `run.json` are kept there, and what wandb writes.
        kind: "wandb" (offline unless a key is set) or "none".
        about: plain facts of the run: config, architecture, machine.
        step: step that the run goes on from; later lines of an earlier, killed try are dropped.
        name: project name for wandb.
    """

    def __init__(self, folder: Path, kind: str, about: dict[str, Any], step: int, name: str) -> None:
        self.path = folder / "metrics.jsonl"
        self._drop_after(step)
        write_json(folder / "run.json", about)
        self._file = self.path.open("a", encoding="utf-8")
        self._pending: list[tuple[int, dict[str, Tensor | float]]] = []
        self._wandb = _start_wandb(folder, about, step, name) if kind == "wandb" else None

    def log(self, step: int, values: dict[str, Tensor | float]) -> None:
        """Remember scalar values (0-dim tensors on any device, or floats) for `step`."""
        self._pending.append((step, values))

    def flush(self) -> list[tuple[int, dict[str, float]]]:
        """Fetch everything that is pending in one transfer, write it, and return it."""
        if not self._pending:
            return []
        tensors = [v for _, values in self._pending for v in values.values() if isinstance(v, Tensor)]
        numbers = iter(torch.stack([t.float() for t in tensors]).tolist() if tensors else [])
        rows = []
        for step, values in self._pending:
            plain = {k: float(next(numbers) if isinstance(v, Tensor) else v) for k, v in values.items()}
            rows.append((step, plain))
            self._file.write(json.dumps({"step": step, **plain}) + "\n")
            if self._wandb is not None:
                self._wandb.log(plain, step=step)
        self._file.flush()
        self._pending.clear()
        return rows

    def histogram(self, step: int, name: str, counts: np.ndarray) -> None:
        """Log how often each of K codes was chosen."""
        self.flush()
        self._file.write(json.dumps({"step": step, name: counts.tolist()}) + "\n")
        if self._wandb is not None:
            import wandb

            # wandb takes at most 512 bins: neighbouring codes share one.
            shares = np.array_split(counts, min(len(counts), 512))
            edges = np.cumsum([0, *(len(share) for share in shares)])
            sums = np.array([share.sum() for share in shares])
            self._wandb.log({name: wandb.Histogram(np_histogram=(sums, edges))}, step=step)

    def image(self, step: int, name: str, picture_HW3: np.ndarray) -> None:
        """Log a picture (uint8) under `name`; it is also kept as a PNG in the run folder's `examples/`."""
        from PIL import Image

        self.flush()
        path = self.path.parent / "examples" / f"{name}_{step:06d}.png"
        with whole_file(path) as temporary:
            Image.fromarray(picture_HW3).save(temporary, format="png")
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Image(picture_HW3)}, step=step)

    def close(self) -> None:
        """Write what is pending and end the wandb run."""
        self.flush()
        self._file.close()
        if self._wandb is not None:
            self._wandb.finish()

    def _drop_after(self, step: int) -> None:
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (json.JSONDecodeError, KeyError, TypeError):
                continue
        with whole_file(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _has_key() -> bool:
    """Whether this person has logged in to wandb."""
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("://")[-1].split("/")[0]
    try:
        return bool(os.environ.get("WANDB_API_KEY")) or netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _start_wandb(folder: Path, about: dict[str, Any], step: int, name: str) -> Any:
    """Start a run of wandb, or go on with the one that the folder remembers."""
    try:
        import wandb
    except ImportError as error:
        warnings.warn(f"wandb cannot be loaded ({error}); metrics go to metrics.jsonl alone", stacklevel=2)
        return None
    mode: Any = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    remembered = folder / "wandb" / "run_id.txt"
    identity = remembered.read_text().strip() if step and remembered.is_file() else None
    run = wandb.init(
        project=name,
        dir=str(folder),
        config=about,
        mode=mode,
        id=identity,
        resume="allow" if identity else None,
        settings=wandb.Settings(silent=True, console="off"),
    )
    with whole_file(remembered) as temporary:
        temporary.write_text(run.id + "\n", encoding="utf-8")
    return run
