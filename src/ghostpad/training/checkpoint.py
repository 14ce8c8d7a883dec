"""Checkpoints and the folder of a run: tensors and plain data, written atomically, resumed exactly.

Content of a checkpoint: `format`, `kind`, `version` (of Ghostpad), `config` and `model_config` (plain),
`model`, `optimizer`, `scaler`, `step`, `best` (lowest validation loss so far), `rng`, `data` (fingerprint).
The order of the data and the learning rate are functions of the step; codebook counters are buffers of the
model.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ghostpad import __version__
from ghostpad.config import differences
from ghostpad.errors import UserError
from ghostpad.io import whole_file
from ghostpad.locking import writing
from ghostpad.model.pretrained import CHECKPOINT_FORMAT, read_checkpoint

# Fields that do not change what is computed, and may differ when a run is resumed.
FREE_FIELDS = {
    *("preset", "data", "out", "device", "workers", "tracker", "resume", "overwrite", "stop_after"),
    *("save_every", "save_seconds", "log_every", "histogram_every", "examples_every"),
    *("checkpointing", "compile", "frames_budget_gb"),
}
RUN_FILES = (
    *("*.pt", "metrics.jsonl", "run.json", "examples/reconstructions_*.png", ".*.partial"),
    "tensorboard/events.*",
)
# Written by the verbs `world` and `controls` beside the checkpoint that they describe.
WORLD_FILES = ("metrics.json", "starts.npz", "controls.json", "controls.png", "rollout.gif")
RUN_FOLDERS = ("examples", "wandb", "tensorboard")


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` with format and version added.

    Raises:
        UserError: the disk is full or the folder cannot be written; an earlier file stays.
    """
    try:
        with whole_file(path) as temporary:
            torch.save({"format": CHECKPOINT_FORMAT, "version": __version__, **content}, temporary)
    except (OSError, RuntimeError) as error:  # PyTorch's writer reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or "the disk is probably full"
        raise UserError(
            f"{path}: cannot be written ({reason}); free some space, and go on with --resume"
        ) from None


def copy_checkpoint(source: Path, target: Path) -> None:
    """Give the same checkpoint a second name (a hard link where the file system can)."""
    with whole_file(target) as temporary:
        temporary.unlink()
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)


def read_for_resume(path: Path, kind: str, config: dict[str, Any], data: str) -> dict[str, Any]:
    """Read `last.pt` and check that it belongs to the same run.

    Raises:
        UserError: another kind of model, another config (the field is named) or other data.
    """
    content = read_checkpoint(path)
    if content["kind"] != kind:
        raise UserError(f"{path}: holds a {content['kind']}, not a {kind}; give another --out")
    for name, saved, given in differences(content["config"], config):
        if name.split(".")[0] not in FREE_FIELDS:
            saved_flag = f"--{name.replace('_', '-')} {saved}"
            raise UserError(
                f"{path} was trained with {saved_flag}, not {given}; resume with the same, or use --overwrite"
            )
    if content["data"] != data:
        raise UserError(f"{path} was trained on other data; resume with the same --data, or use --overwrite")
    return content


class RunFolder:
    """The folder with the checkpoints and metrics of one run.

    Args:
        path: the folder.
        is_writer: whether this process writes the files.
    """

    def __init__(self, path: Path, is_writer: bool) -> None:
        self.path, self.is_writer = path, is_writer
        self.last = path / "last.pt"
        self.saved_step = -1
        self._saved_at = time.monotonic()
        self._lock = ExitStack()

    def prepare(self, resume: bool, overwrite: bool) -> bool:
        """Make the folder ready and lock it until `release`; returns whether there is a run to resume.

        Raises:
            UserError: another process trains into it, or it holds other files, or a run that is neither
                to be resumed nor overwritten.
        """
        self._lock.enter_context(writing(self.path, wait=False))
        try:
            return self._prepare(resume, overwrite)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let other runs use the folder."""
        self._lock.close()

    def _prepare(self, resume: bool, overwrite: bool) -> bool:
        path = self.path
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: is a file, not a folder for checkpoints; give another --out")
        has_checkpoints = any(path.glob("*.pt"))
        if not has_checkpoints and self._has_other_files():
            raise UserError(f"{path}: holds other files than a training run; give another --out")
        if overwrite:
            self._remove(*RUN_FILES, *WORLD_FILES)
        elif has_checkpoints and not resume:
            raise UserError(
                f"{path}: holds a training run; continue it with --resume, or clear it with --overwrite"
            )
        path.mkdir(parents=True, exist_ok=True)
        self._remove(".*.partial")  # left by a killed run
        return resume and self.last.is_file()

    def save(self, step: int, state: Callable[[], dict[str, Any]], *names: str) -> None:
        """Write the state under the given names and as `last.pt`.

        `last.pt` comes last: a run that is killed before that resumes from an earlier step and writes the
        others again.
        """
        if self.is_writer:
            first, *others = (*names, self.last.name)
            write_checkpoint(self.path / first, state())
            for name in others:
                copy_checkpoint(self.path / first, self.path / name)
        self.saved_step, self._saved_at = step, time.monotonic()

    def saved_before(self, seconds: float) -> bool:
        """Whether the last save is at least so long ago."""
        return time.monotonic() - self._saved_at >= seconds

    def _has_other_files(self) -> bool:
        patterns = (*RUN_FILES, *WORLD_FILES, *RUN_FOLDERS)
        known = {path for pattern in patterns for path in self.path.glob(pattern)}
        return self.path.is_dir() and any(path not in known for path in self.path.iterdir())

    def _remove(self, *patterns: str) -> None:
        for pattern in patterns:
            for path in self.path.glob(pattern):
                path.unlink()
