"""Checkpoints: tensors and plain data, written whole or not at all, resumable exactly.

Content of a file: `format`, `kind`, `version` (of Ghostpad), `config` and `model_config` (plain), `model`,
`optimizer`, `scaler`, `step`, `best` (validation loss so far or None), `rng`, `data` (fingerprint).
The sampler needs no state of its own (see `Sampler`); codebook counters are buffers of the model.
"""

import shutil
from pathlib import Path
from typing import Any

import torch

from ghostpad import __version__
from ghostpad.config import differences
from ghostpad.errors import UserError
from ghostpad.io import whole_file
from ghostpad.model.pretrained import CHECKPOINT_FORMAT, read_checkpoint

# Fields that say where, how long and on what to run, not what is computed.
FREE_FIELDS = {
    *("preset", "data", "out", "device", "workers", "tracker", "resume", "overwrite", "stop_after"),
    *("save_every", "save_seconds", "log_every", "histogram_every", "examples_every"),
    *("checkpointing", "compile", "frames_budget_gb"),
}


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` with format and version added.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was there stays.
    """
    with whole_file(path) as temporary:
        torch.save({"format": CHECKPOINT_FORMAT, "version": __version__, **content}, temporary)


def copy_checkpoint(source: Path, target: Path) -> None:
    """Give the same checkpoint a second name (a hard link where the file system can)."""
    with whole_file(target) as temporary:
        temporary.unlink()
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)


def read_for_resume(path: Path, kind: str, config: dict[str, Any], data: str) -> dict[str, Any]:
    """Read `last.pt` and make sure that it continues the same run.

    Raises:
        UserError: another kind of model, another config (the field is named) or other data.
    """
    content = read_checkpoint(path)
    if content["kind"] != kind:
        raise UserError(f"{path}: holds a {content['kind']}, not a {kind}; give another --out")
    for name, old, new in differences(content["config"], config):
        if name.split(".")[0] not in FREE_FIELDS:
            flag = name.replace("_", "-")
            raise UserError(
                f"{path} was trained with --{flag} {old}, not {new}; resume with the same, or use --overwrite"
            )
    if content["data"] != data:
        raise UserError(f"{path} was trained on other data; resume with the same --data, or use --overwrite")
    return content
