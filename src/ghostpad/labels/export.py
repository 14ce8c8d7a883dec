"""A model or its labels in formats that others read. Worlds are exported above, in `play`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ghostpad import __version__
from ghostpad.config import check_minimum
from ghostpad.errors import UserError
from ghostpad.frames.splits import SPLITS
from ghostpad.io import whole_folder
from ghostpad.labels.folder import Labels
from ghostpad.labels.formats import DATASETS, JSONL, NPZ, LabelFormat
from ghostpad.sources.base import frame_rate

ModelFormatName = Literal["safetensors", "onnx"]
LabelFormatName = Literal["lerobot", "npz", "jsonl", "datasets", "webdataset"]

_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and how."""

    model: Path | None = None
    """checkpoint, folder with checkpoints or name of a shipped model (for safetensors and onnx)"""
    labels: Path | None = None
    """folder written by extract (for lerobot, npz, jsonl, datasets and webdataset)"""
    world: Path | None = None
    """folder, file or shipped name of a world (for html)"""
    format: Literal[ModelFormatName, LabelFormatName, "html"] = "safetensors"
    """format of the export; html is a page that plays a world without a server"""
    out: Path = Path("export")
    """new folder for the export; a new file, such as world.html, for html"""
    assets: bool = False
    """write networks and runtime into a folder beside the page instead of into it (html)"""
    runtime: Path | None = None
    """folder of the npm package onnxruntime-web; node_modules/onnxruntime-web when not given (html)"""
    store: Path | None = None
    """frame store of the labels, when it has moved (lerobot)"""
    fps: float | None = None
    """frames per second of the video (lerobot); from the recording when not given, else 30"""


def export(config: ExportConfig) -> None:
    """Write `config.out`, whole or not at all.

    Raises:
        UserError: the options contradict each other, or `config.out` is not empty (it stays untouched).
    """
    # Here, so that help does not load torch.
    from ghostpad.labels.lerobot import LEROBOT
    from ghostpad.labels.webdataset import WEBDATASET
    from ghostpad.model.export import export_model, require_empty
    from ghostpad.model.latent_action_model import LatentActionModel

    require_empty(config.out)
    check_minimum(config, {"fps": 1})
    if config.format == "safetensors" or config.format == "onnx":
        if config.model is None or config.labels is not None:
            raise UserError(f"--format {config.format} is for a model: give --model, and no --labels")
        export_model(LatentActionModel.from_pretrained(config.model), config.format, config.out)
    else:
        if config.labels is None or config.model is not None:
            raise UserError(f"--format {config.format} is for labels: give --labels, and no --model")
        labels = Labels.open(config.labels)
        own = {"npz": NPZ, "jsonl": JSONL, "datasets": DATASETS}
        label_format = {"lerobot": LEROBOT, "webdataset": WEBDATASET, **own}[config.format]
        with whole_folder(config.out) as folder:
            label_format.write(labels, folder, config.store, frame_rate(config.fps))
            (folder / "README.md").write_text(dataset_card(labels, label_format), encoding="utf-8")
    print(f"exported to {config.out}")


def dataset_card(labels: Labels, label_format: LabelFormat) -> str:
    """Return a dataset card for the Hugging Face Hub: content and origin of an export, how to load it."""
    origin, manifest, stride = labels.origin, labels.manifest, labels.origin.stride
    counts = Counter[str]()
    for episode in manifest["episodes"]:
        counts[episode["split"]] += episode["num_transitions"]
    total, (rows, columns) = manifest["num_transitions"], origin.grid
    size = next((name for limit, name in _SIZES.items() if total < limit), "n>10M")
    tags = "\n".join(f"- {tag}" for tag in ("latent-actions", "world-models", "ghostpad", *label_format.tags))
    files = label_format.data_files(labels) if label_format.data_files else ""
    configs = f"configs:\n- config_name: default\n  data_files:{files}\n" if files else ""
    split_rows = "\n".join(f"| {split} | {counts[split]:,} |" for split in SPLITS if counts[split])
    controls = manifest["control_names"]
    rates = " or ".join(f"{rate} ({float(rate):.5g})" for rate in labels.rates) or "an unknown number of"
    known = f"\n`control` is the real control held, by number: {', '.join(controls)}.\n" if controls else ""
    return f"""\
---
pretty_name: Latent actions
size_categories:
- {size}
tags:
{tags}
{configs}---

# Latent actions

Every transition between two frames of {manifest["num_episodes"]:,} episodes, with the discrete latent
action that a model inferred from the two frames alone: {rows} rows of {columns} codes, each one out of
{origin.codebook_size}, row by row from the top left.

| split | transitions |
|---|---|
{split_rows}

The splits are whole episodes. A next frame comes {"1 frame" if stride == 1 else f"{stride} frames"} after
its frame, at {rates} frames a second. Frames are {manifest["height"]} pixels high and
{manifest["width"]} wide; the model saw them in {"grayscale" if origin.grayscale else "colour"}.
{known}
## Loading

{label_format.loading.replace("{folder}", "path/to/this/folder")}

## Origin

Made by Ghostpad {__version__}.

- model: `{origin.model_hash}` (SHA-256 of weights and config)
- frames: `{origin.store_fingerprint}` (SHA-256)
"""
