"""The tables of a LeRobotDataset v3.0: rows of frames, rows of episodes, and what describes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.io import write_json
from ghostpad.labels.hub import features_metadata

CODEBASE_VERSION = "v3.0"
FILES_PER_CHUNK, DATA_MB, VIDEO_MB = 1000, 100, 200
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
# What pandas writes for a table whose index is the task: by it a reader finds the index again.
_PANDAS = {
    "index_columns": ["task"],
    "column_indexes": [
        {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    ],
    "columns": [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}
        for name, kind, stored in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ],
}


class DataFiles:
    """Writes `chunk-000/file-000.parquet` and so on below a folder, one row group per episode.

    A feature of shape (1,) is a column of scalars, any other one of lists of fixed size.
    """

    def __init__(
        self, folder: Path, features: dict[str, dict[str, Any]], max_mb: int, files_per_chunk: int
    ) -> None:
        """Write `features` but those of video; a file is full once it has `max_mb` MiB."""
        self.folder, self.max_bytes, self.files_per_chunk = folder, max_mb * 2**20, files_per_chunk
        columns = [
            (name, _arrow(feature)) for name, feature in features.items() if feature["dtype"] != "video"
        ]
        schema = pa.schema(columns)
        self.schema = schema.with_metadata(features_metadata(schema))
        self.number = -1
        self._path = folder
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "DataFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, rows: dict[str, np.ndarray]) -> dict[str, Any]:
        """Append an episode of columns (T, n), and return where it lies."""
        if self._writer is None or self._path.stat().st_size >= self.max_bytes:
            self._close()
            self.number += 1
            self._path = self.folder / f"{_FILE.format(**self._place())}.parquet"
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, self.schema, compression="snappy")
        arrays = [_column(rows[name], self.schema.field(name).type) for name in self.schema.names]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        return {f"data/{name}": value for name, value in self._place().items()}

    def _place(self) -> dict[str, int]:
        chunk, file = divmod(self.number, self.files_per_chunk)
        return {"chunk_index": chunk, "file_index": file}

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _arrow(feature: dict[str, Any]) -> pa.DataType:
    kind = {"int64": pa.int64(), "float32": pa.float32(), "bool": pa.bool_()}[feature["dtype"]]
    return kind if feature["shape"] == [1] else pa.list_(kind, feature["shape"][0])


def _column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values.ravel(), kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind.value_type), kind.list_size)


def write_meta(
    folder: Path,
    features: dict[str, dict[str, Any]],
    fps: int,
    episodes: list[dict[str, Any]],
    statistics: dict[str, dict[str, Any]],
) -> None:
    """Write `meta/`: what the data set holds, and where each of `episodes` lies."""
    info = {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": None,
        "total_episodes": len(episodes),
        "total_frames": episodes[-1]["dataset_to_index"],
        "total_tasks": 1,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": fps,
        # LeRobot knows ranges of episodes only; ours are in the column `split` of the episodes.
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": f"data/{_FILE}.parquet",
        "video_path": "videos/{video_key}/" + f"{_FILE}.mp4",
        "features": features,
    }
    meta = folder / "meta"
    write_json(meta / "info.json", info)
    write_json(meta / "stats.json", statistics)
    tasks = pa.table({"task_index": pa.array([0]), "task": pa.array(["play"])})
    pq.write_table(tasks.replace_schema_metadata({b"pandas": json.dumps(_PANDAS)}), meta / "tasks.parquet")
    own_place = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
    path = meta / "episodes" / f"{_FILE.format(chunk_index=0, file_index=0)}.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([episode | own_place for episode in episodes]), path)
