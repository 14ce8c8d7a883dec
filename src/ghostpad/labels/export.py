"""The verb `export`: a model or its labels in formats that others read."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ghostpad.errors import UserError
from ghostpad.io import whole_folder
from ghostpad.labels.card import write_card
from ghostpad.labels.folder import Labels
from ghostpad.progress import progress


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and how."""

    model: Path | None = None
    """checkpoint, folder with checkpoints or name of a shipped model (for safetensors and onnx)"""
    labels: Path | None = None
    """folder written by extract (for lerobot, npz, jsonl and datasets)"""
    format: Literal["safetensors", "onnx", "lerobot", "npz", "jsonl", "datasets"] = "safetensors"
    """format of the export"""
    out: Path = Path("export")
    """new folder for the export"""
    store: Path | None = None
    """frame store of the labels, when it has moved (lerobot)"""
    fps: int | None = None
    """frames per second of the video (lerobot); from the recording when not given, else 30"""


def export(config: ExportConfig) -> None:
    """Write `config.out`, whole or not at all.

    Raises:
        UserError: the options contradict each other, or `config.out` holds something (which stays untouched).
    """
    # Here, so that help does not load torch.
    from ghostpad.model.export import export_model, require_empty

    require_empty(config.out)
    if config.format == "safetensors" or config.format == "onnx":
        if config.model is None or config.labels is not None:
            raise UserError(f"--format {config.format} is for a model: give --model, and no --labels")
        from ghostpad.model.latent_action_model import LatentActionModel

        export_model(LatentActionModel.from_pretrained(config.model), config.format, config.out)
    else:
        if config.labels is None or config.model is not None:
            raise UserError(f"--format {config.format} is for labels: give --labels, and no --model")
        _export_labels(Labels.open(config.labels), config)
    print(f"exported to {config.out}")


def _export_labels(labels: Labels, config: ExportConfig) -> None:
    if config.fps is not None and config.fps < 1:
        raise UserError(f"--fps {config.fps}: must be at least 1")
    with whole_folder(config.out) as folder:
        if config.format == "lerobot":
            from ghostpad.labels.lerobot import write_lerobot

            write_lerobot(labels, folder, config.store, config.fps)
        elif config.format == "datasets":
            from ghostpad.labels.hub import write_datasets

            write_datasets(labels, folder)
        else:
            writers: dict[str, Callable[[Labels, Path], None]] = {"npz": write_npz, "jsonl": write_jsonl}
            writers[config.format](labels, folder)
        write_card(labels, config.format, folder)


def write_npz(labels: Labels, folder: Path) -> None:
    """Write one npz per shard: the columns of the labels, with codes as (T, h, w).

    An unknown control is −1.
    """
    for shard in progress(labels.shards, what="export", unit="files"):
        table = labels.table(shard)
        columns = {
            name: table[name].to_numpy() for name in ("episode_index", "frame_index", "next_frame_index")
        }
        if "control" in table.column_names:
            columns["control"] = labels.controls(shard)
        np.savez_compressed(
            folder / f"{Path(shard.file_name).stem}.npz", codes=labels.codes(shard), **columns
        )


def write_jsonl(labels: Labels, folder: Path) -> None:
    """Write `labels.jsonl`, a line per transition, with the field names of LAPA.

    `delta` holds the codes as strings; `image` and `next_image` name the frames as in a folder of episodes,
    `<episode>/<frame>.png`. LAPA's `vision` (tokens of its own image tokenizer) is left to LAPA.
    """
    # https://github.com/LatentActionPretraining/LAPA, laq/inference_sthv2.py
    episodes = labels.content["episodes"]
    with (folder / "labels.jsonl").open("w", encoding="utf-8") as file:
        for shard in progress(labels.shards, what="export", unit="files"):
            table = labels.table(shard, ["episode_index", "frame_index", "next_frame_index"]).to_pydict()
            codes = labels.codes(shard)
            for row, (episode, frame, next_frame) in enumerate(zip(*table.values(), strict=True)):
                name = episodes[episode]["name"]
                line = {
                    "id": f"{name}_{frame}",
                    "image": f"{name}/{frame}.png",
                    "next_image": f"{name}/{next_frame}.png",
                    "instruction": "",
                    "delta": [str(code) for code in codes[row].ravel()],
                    "fields": "[instruction],[vision],delta",
                    "split": episodes[episode]["split"],
                }
                file.write(json.dumps(line) + "\n")
