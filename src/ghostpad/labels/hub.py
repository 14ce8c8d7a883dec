"""Labels as a folder that Hugging Face `datasets` opens."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.labels.folder import Labels
from ghostpad.progress import progress


def write_datasets(labels: Labels, folder: Path) -> None:
    """Write `data/<split>-<number>.parquet`, at most one file per split and shard.

    The columns are those of the labels and `episode`, its name; frames, when the labels hold them, are
    images.
    """
    episodes = labels.content["episodes"]
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
    """Turn PNGs into what `datasets` takes for an image: a struct of bytes and path."""
    for name in ("frame", "next_frame"):
        if name in table.column_names:
            pngs = table[name].combine_chunks()
            paths = pa.nulls(len(pngs), pa.string())
            images = pa.StructArray.from_arrays([pngs, paths], ["bytes", "path"])
            table = table.set_column(table.column_names.index(name), name, images)
    return table


def features_metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    """Describe the columns as `datasets` does, so that it need not guess."""
    features = {field.name: _feature(field.type) for field in schema}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        # "Sequence" is read by every version; newer ones write "List".
        return {"_type": "Sequence", "length": kind.list_size, "feature": _feature(kind.value_type)}
    return {"_type": "Value", "dtype": "float32" if kind == pa.float32() else str(kind)}
