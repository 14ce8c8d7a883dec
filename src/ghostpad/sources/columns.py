"""Columns of images in Parquet and Arrow files: which they are, and their rows a few at a time."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ghostpad.errors import UserError
from ghostpad.sources.array_keys import ACTIONS, FLAGS, IDS, STARTS, best_named, plain_name
from ghostpad.sources.base import BadInput, IngestLog
from ghostpad.sources.pixels import array_colors, image_colors

_ROWS = 64  # in memory at a time


@dataclass(frozen=True)
class Columns:
    """Names of the columns that matter."""

    frames: str
    actions: str | None
    borders: tuple[str, ...]


def read_schema(path: Path) -> pa.Schema:
    """The columns of a file."""
    if path.suffix.lower() == ".parquet":
        return pq.read_schema(path)
    return _arrow_reader(path).schema


def _arrow_reader(path: Path) -> Any:
    source = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source)


def read_batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns, 64 rows at a time."""
    if not columns:
        return
    if path.suffix.lower() == ".parquet":
        yield from pq.ParquetFile(path).iter_batches(batch_size=_ROWS, columns=columns)
        return
    reader = _arrow_reader(path)
    count = getattr(reader, "num_record_batches", None)
    for batch in reader if count is None else map(reader.get_batch, range(count)):
        for start in range(0, len(batch), _ROWS):
            yield batch.select(columns).slice(start, _ROWS)


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def image_kind(kind: pa.DataType) -> tuple[bool, bool]:
    """Whether a column may hold images, and whether it holds a list of them in each row."""
    depth, kind = 0, _storage(kind)
    while _is_list(kind):
        depth, kind = depth + 1, _storage(kind.value_type)
    if pa.types.is_struct(kind):
        return depth < 2 and kind.get_field_index("bytes") >= 0, depth == 1
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return depth < 2, depth == 1
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return is_number and depth in (2, 3, 4), depth == 4


def row_images(row: pa.Array, has_episodes: bool) -> list[Any]:
    """The images of a row, which is an array of length one: bytes, mappings, or arrays of pixels."""
    array = row.storage if isinstance(row, pa.ExtensionArray) else row
    kind = array.type
    if _is_list(kind) and not (
        _is_list(_storage(kind.value_type)) or isinstance(kind.value_type, pa.BaseExtensionType)
    ):
        return array[0].as_py()
    if not _is_list(kind):
        return [array[0].as_py()]
    shape = [1]
    while _is_list(array.type):
        array = array.flatten()
        array = array.storage if isinstance(array, pa.ExtensionArray) else array
        shape.append(len(array) // max(1, int(np.prod(shape))))
    pixels = array.to_numpy(zero_copy_only=False).reshape(shape)[0]
    return list(pixels) if has_episodes else [pixels]


def list_lengths(column: pa.Array) -> list[int]:
    """Lengths of the lists in a column."""
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    return pc.call_function("list_value_length", [storage]).to_pylist()


def decode_cell(image: Any, path: Path, log: IngestLog) -> tuple[np.ndarray, bool]:
    """Colours and grayness of an image, as `image_colors` gives them; `path` is the file of the table."""
    if image is None:
        raise BadInput("has a row without an image")
    if isinstance(image, Mapping):
        if image["bytes"] is None:
            file = path.parent / str(image["path"])
            log.check_link(file, path.parent)
            image = file.read_bytes()
        else:
            image = image["bytes"]
    return image_colors(image, log) if isinstance(image, bytes) else array_colors(image, log)


def find_columns(schema: pa.Schema, frames: str | None, actions: str | None) -> Columns:
    """The columns that matter, by type and name, or as given; errors as for `find_trajectories`."""
    for flag, wanted in (("--frames-key", frames), ("--actions-key", actions)):
        if wanted is not None and wanted not in schema.names:
            raise UserError(f"{flag} {wanted}: there is no such column; there are {', '.join(schema.names)}")
    chosen = frames if frames is not None else _choose_frames(schema)
    if actions is None:
        known = [name for name in schema.names if plain_name(name) in ACTIONS and name != chosen]
        actions = next(iter(best_named(known, ACTIONS)), None)
    has_episodes = image_kind(schema.field(chosen).type)[1]
    borders = [] if has_episodes else [n for n in schema.names if plain_name(n) in (*IDS, *FLAGS, *STARTS)]
    return Columns(chosen, actions, tuple(name for name in borders if name != chosen))


def _choose_frames(schema: pa.Schema) -> str:
    found = [field.name for field in schema if image_kind(field.type)[0]]
    found = [n for n in found if "next" not in plain_name(n) and plain_name(n) not in ACTIONS] or found
    best = best_named(found)
    if not best:
        listing = ", ".join(schema.names)
        raise BadInput(f"holds no column of images, but {listing}; name one with --frames-key")
    if len(best) > 1:
        raise UserError(f"several columns hold images: {', '.join(best)}; choose one with --frames-key")
    return best[0]


def value_names(schema: pa.Schema, column: str) -> list[str] | None:
    """Names of the values of a column that is a `ClassLabel`."""
    known = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    return ((known.get("info") or {}).get("features") or {}).get(column, {}).get("names")
