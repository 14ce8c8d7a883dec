"""The folder of a run: claimed once, written whole or not at all, and by one process alone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ghostpad.errors import UserError
from ghostpad.training.checkpoint import copy_checkpoint, write_checkpoint

RUN_FILES = (
    *("*.pt", "metrics.jsonl", "run.json", "examples/reconstructions_*.png", ".*.partial"),
    # What belongs to a world alone, and is wrong beside another.
    *("metrics.json", "starts.npz", "controls.json", "controls.png", "rollout.gif"),
)
RUN_FOLDERS = ("examples", "wandb")


class RunFolder:
    """Where checkpoints and metrics of one run lie.

    Args:
        path: the folder.
        writes: whether this process is the one that writes.
    """

    def __init__(self, path: Path, writes: bool) -> None:
        self.path, self.writes = path, writes
        self.saved_step = -1
        self._saved_at = time.monotonic()

    @property
    def last(self) -> Path:
        """The checkpoint that a run goes on from."""
        return self.path / "last.pt"

    def claim(self, resume: bool, overwrite: bool) -> bool:
        """Make the folder ready; returns whether there is something to resume.

        Raises:
            UserError: the folder holds something else, or a run that is not to be resumed or overwritten.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: is a file, not a folder for checkpoints; give another --out")
        holds_checkpoints = path.is_dir() and any(path.glob("*.pt"))
        if not holds_checkpoints and self._holds_other_things():
            raise UserError(f"{path}: holds something else than a training run; give another --out")
        if overwrite:
            self._remove(*RUN_FILES)
        elif holds_checkpoints and not resume:
            raise UserError(
                f"{path}: holds a training run; go on with --resume, or clear it with --overwrite"
            )
        path.mkdir(parents=True, exist_ok=True)
        # What a killed run was just writing.
        self._remove(".*.partial")
        return resume and self.last.is_file()

    def _holds_other_things(self) -> bool:
        known = {path for pattern in (*RUN_FILES, *RUN_FOLDERS) for path in self.path.glob(pattern)}
        return self.path.is_dir() and any(path not in known for path in self.path.iterdir())

    def _remove(self, *patterns: str) -> None:
        for pattern in patterns:
            for path in self.path.glob(pattern):
                path.unlink()

    def save(self, step: int, state: Callable[[], dict[str, Any]], *names: str) -> None:
        """Write the state under the given names and as `last.pt`.

        `last.pt` comes last: a run that is killed before that goes on from an earlier step and writes the
        others again.
        """
        if self.writes:
            first, *others = (*names, self.last.name)
            write_checkpoint(self.path / first, state())
            for name in others:
                copy_checkpoint(self.path / first, self.path / name)
        self.saved_step, self._saved_at = step, time.monotonic()

    def is_due(self, seconds: float) -> bool:
        """Whether the last save is at least so long ago."""
        return time.monotonic() - self._saved_at >= seconds
