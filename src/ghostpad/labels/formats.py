"""The formats that labels are exported to: how each is written, and what its dataset card says.

`lerobot` is in a module of its own. To add a format, add its `LabelFormat` to those that `export` lists.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.frames.splits import SPLITS
from ghostpad.labels.folder import BUTTON, Labels
from ghostpad.progress import progress

_PLACE = ["episode_index", "frame_index", "next_frame_index"]


@dataclass(frozen=True)
class LabelFormat:
    """How labels are written in one format, and what their dataset card says about it."""

    write: Callable[[Labels, Path, Path | None, Fraction | None], None]
    """Writes labels into an empty folder, given their frame store if it has moved, and frames per second."""
    loading: str
    """Markdown that says how to load the export; `{folder}` stands for its path."""
    data_files: Callable[[Labels], Any] | None = None
    """Gives the `data_files` that tell the Hugging Face hub where the rows are."""
    tags: tuple[str, ...] = ()
    """More tags for the hub."""


def write_datasets(labels: Labels, folder: Path, store: Path | None, fps: Fraction | None) -> None:
    """Write `data/<split>-<number>.parquet`, a file per split and shard, for Hugging Face `datasets`.

    The columns are those of the labels and `episode`, its name. Frames in the labels become images.
    """
    episodes = labels.manifest["episodes"]
    (folder / "data").mkdir()
    for shard in progress(labels.shards, what="export", unit="files"):
        table = labels.table(shard)
        owners = table["episode_index"].to_numpy()
        names = pa.array([episodes[owner]["name"] for owner in owners], pa.string())
        table = _with_images(table.add_column(1, "episode", names))
        table = table.replace_schema_metadata(features_metadata(table.schema))
        splits = np.array([episodes[owner]["split"] for owner in owners])
        for split in np.unique(splits):
            path = folder / "data" / f"{split}-{shard.index:06d}.parquet"
            rows_per_group = 128 if "frame" in table.column_names else None
            pq.write_table(table.filter(pa.array(splits == split)), path, row_group_size=rows_per_group)


def _with_images(table: pa.Table) -> pa.Table:
    """Turn PNGs into the image type of `datasets`: a struct of bytes and path."""
    for name in {"frame", "next_frame"} & set(table.column_names):
        pngs = table[name].combine_chunks()
        images = pa.StructArray.from_arrays([pngs, pa.nulls(len(pngs), pa.string())], ["bytes", "path"])
        table = table.set_column(table.column_names.index(name), name, images)
    return table


def features_metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    """Describe the columns in the form of `datasets`, so that it need not guess."""
    features = {field.name: _feature(field.type) for field in schema}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"_type": "Image", "mode": "RGB"}  # not the palette indices of our PNGs
    if pa.types.is_fixed_size_list(kind):
        # Every version reads "Sequence"; newer ones write "List".
        return {"_type": "Sequence", "length": kind.list_size, "feature": _feature(kind.value_type)}
    return {"_type": "Value", "dtype": "float32" if kind == pa.float32() else str(kind)}


def _data_files(labels: Labels) -> list[dict[str, str]]:
    splits = {episode["split"] for episode in labels.manifest["episodes"] if episode["num_transitions"]}
    return [{"split": split, "path": f"data/{split}-*.parquet"} for split in SPLITS if split in splits]


DATASETS = LabelFormat(
    write_datasets,
    loading="""\
```python
from datasets import load_dataset

dataset = load_dataset("{folder}")  # or load_dataset("parquet", data_dir="{folder}")
print(dataset["train"][0]["codes"])
```""",
    data_files=_data_files,
)


def write_npz(labels: Labels, folder: Path, store: Path | None, fps: Fraction | None) -> None:
    """Write `labels-NNNNNN.npz`; an unknown control is −1."""
    for shard in progress(labels.shards, what="export", unit="files"):
        table = labels.table(shard)
        columns = {name: table[name].to_numpy() for name in _PLACE}
        if "control" in table.column_names:
            columns["control"] = labels.controls(shard)
        if (buttons := labels.buttons(shard)) is not None:
            columns[BUTTON] = buttons
        path = folder / f"{Path(shard.file_name).stem}.npz"
        np.savez_compressed(path, codes=labels.codes(shard), **columns)


NPZ = LabelFormat(
    write_npz,
    loading="""\
```python
import numpy as np

shard = np.load("{folder}/labels-000000.npz")
print(shard["codes"].shape, shard["episode_index"][:3], shard["frame_index"][:3])
```""",
)


def write_jsonl(labels: Labels, folder: Path, store: Path | None, fps: Fraction | None) -> None:
    """Write `labels.jsonl`, a line per transition with the field names of LAPA (its laq/inference_sthv2.py).

    `delta` holds the codes as strings; `image` and `next_image` name the frames as in a folder of episodes.
    The field `vision`, tokens of LAPA's own image tokenizer, is left to LAPA; `split` and `button` are ours.
    """
    episodes = labels.manifest["episodes"]
    with (folder / "labels.jsonl").open("w", encoding="utf-8") as file:
        for shard in progress(labels.shards, what="export", unit="files"):
            places, buttons = labels.table(shard, _PLACE).to_pydict(), labels.buttons(shard)
            rows = zip(*places.values(), labels.codes(shard), strict=True)
            for number, (episode, frame, next_frame, codes) in enumerate(rows):
                name = episodes[episode]["name"]
                line = {
                    "id": f"{name}_{frame}",
                    "image": f"{name}/{frame}.png",
                    "next_image": f"{name}/{next_frame}.png",
                    "instruction": "",
                    "delta": [str(code) for code in codes.ravel()],
                    "fields": "[instruction],[vision],delta",
                    "split": episodes[episode]["split"],
                }
                if buttons is not None:
                    line[BUTTON] = int(buttons[number])
                file.write(json.dumps(line) + "\n")


JSONL = LabelFormat(
    write_jsonl,
    loading="""\
One JSON object per line with the field names of [LAPA](https://github.com/LatentActionPretraining/LAPA):
`delta` holds the codes as strings. `image` and `next_image` name frames as `<episode>/<frame>.png`.""",
)
