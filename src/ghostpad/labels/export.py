"""A model or its labels, with a card, in formats that others read. Worlds are exported above, in `play`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ghostpad.config import check_minimum
from ghostpad.errors import UserError
from ghostpad.io import whole_folder
from ghostpad.labels.cards import dataset_card, find_metrics, model_card
from ghostpad.labels.folder import Labels
from ghostpad.labels.formats import DATASETS, JSONL, NPZ
from ghostpad.sources.base import frame_rate

ModelFormatName = Literal["safetensors", "onnx"]
LabelFormatName = Literal["lerobot", "npz", "jsonl", "datasets", "webdataset"]


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
    license: str = "unknown"
    """license on the card, as the Hugging Face hub names it, such as apache-2.0"""
    report: Path = Path("reports/latent_action")
    """folder written by evaluate; its numbers go on the card of the model that they were measured on"""
    fps: float | None = None
    """frames per second of the video (lerobot); from the recording when not given, else 30"""


def export(config: ExportConfig) -> None:
    """Write `config.out`, whole or not at all, and say so.

    Raises:
        UserError: as `write_export`.
    """
    write_export(config)
    print(f"exported to {config.out}")


def write_export(config: ExportConfig) -> None:
    """Write `config.out`, whole or not at all.

    Raises:
        UserError: the options contradict each other, or `config.out` is not empty (it stays untouched).
    """
    # Here, so that help does not load torch.
    from ghostpad.labels.lerobot import LEROBOT
    from ghostpad.labels.webdataset import WEBDATASET
    from ghostpad.model.export import export_model, require_empty
    from ghostpad.model.latent_action_model import LatentActionModel
    from ghostpad.model.pretrained import find_model

    require_empty(config.out)
    check_minimum(config, {"fps": 1})
    if config.format == "safetensors" or config.format == "onnx":
        if config.model is None or config.labels is not None:
            raise UserError(f"--format {config.format} is for a model: give --model, and no --labels")
        model = LatentActionModel.from_pretrained(config.model)
        metrics = find_metrics(model.model_hash, config.report, find_model(config.model).parent)
        card = model_card(model, config.format, metrics, config.license)
        export_model(model, config.format, config.out, card=card)
    else:
        if config.labels is None or config.model is not None:
            raise UserError(f"--format {config.format} is for labels: give --labels, and no --model")
        labels = Labels.open(config.labels)
        own = {"npz": NPZ, "jsonl": JSONL, "datasets": DATASETS}
        label_format = {"lerobot": LEROBOT, "webdataset": WEBDATASET, **own}[config.format]
        with whole_folder(config.out) as folder:
            label_format.write(labels, folder, config.store, frame_rate(config.fps))
            card = dataset_card(labels, label_format, config.license)
            (folder / "README.md").write_text(card, encoding="utf-8")
