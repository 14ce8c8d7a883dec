"""Labels as a folder that Hugging Face `datasets` opens (https://huggingface.co/docs/datasets)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.frames.splits import SPLITS
from ghostpad.labels.folder import Labels
from ghostpad.labels.formats import LabelFormat
from ghostpad.progress import progress


def write(labels: Labels, folder: Path, store: Path | None, fps: int | None) -> None:
    """Write `data/<split>-<number>.parquet`, at most one file per split and shard.

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
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        # Every version reads "Sequence"; newer ones write "List".
        return {"_type": "Sequence", "length": kind.list_size, "feature": _feature(kind.value_type)}
    return {"_type": "Value", "dtype": "float32" if kind == pa.float32() else str(kind)}


def _data_files(labels: Labels) -> str:
    splits = {episode["split"] for episode in labels.manifest["episodes"] if episode["num_transitions"]}
    files = (f"\n  - split: {split}\n    path: data/{split}-*.parquet" for split in SPLITS if split in splits)
    return "".join(files)


FORMAT = LabelFormat(
    write,
    loading="""\
```python
from datasets import load_dataset

dataset = load_dataset("{folder}")  # or load_dataset("parquet", data_dir="{folder}")
print(dataset["train"][0]["codes"])
```""",
    data_files=_data_files,
)
