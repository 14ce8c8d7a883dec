"""The files of labels: how a data set is cut into shards, and the Parquet file of one shard."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.io import whole_file

VERSION = 1
PREFIX, SUFFIX = "labels-", ".parquet"
_KEY = b"ghostpad"
# Small enough that one row of a self-contained data set is read without much around it.
_ROWS_PER_GROUP = {False: 65_536, True: 128}


@dataclass(frozen=True)
class Origin:
    """What labels were made from: labels of another origin never mix with these."""

    model_hash: str
    """SHA-256 (hex) of the model's weights and config."""
    store_fingerprint: str
    """SHA-256 (hex) of the frames."""
    stride: int
    """Frames from a frame to its next frame."""
    grid: tuple[int, int]
    """Rows and columns of codes."""
    codebook_size: int
    """Number of codes."""
    grayscale: bool
    """Whether the model sees one channel."""
    with_frames: bool
    """Whether the frames are in the files too."""


@dataclass(frozen=True)
class Shard:
    """Transitions of the episodes `first_episode` … `end_episode` − 1: one file."""

    index: int
    first_episode: int
    end_episode: int
    num_transitions: int

    @property
    def file_name(self) -> str:
        """Name of its file in the labels folder."""
        return f"{PREFIX}{self.index:06d}{SUFFIX}"


def plan_shards(store: FrameStore, stride: int, shard_size: int | None) -> list[Shard]:
    """Cut a store into shards of whole episodes, each of at least `shard_size` transitions but the last.

    The plan depends on the store, the stride and `shard_size` alone, so every engine and every rerun makes
    the same files. None: about 256 shards, of 1,024 to 65,536 transitions.
    """
    lengths = [max(0, episode.num_frames - stride) for episode in store.episodes]
    size = shard_size or min(max(sum(lengths) // 256, 1024), 65_536)
    shards: list[Shard] = []
    first = count = 0
    for index, length in enumerate(lengths):
        count += length
        is_last = index == len(lengths) - 1
        if count >= size or (is_last and count):
            shards.append(Shard(len(shards), first, index + 1, count))
            first, count = index + 1, 0
    return shards


def code_dtype(codebook_size: int) -> type[np.uint8] | type[np.uint16]:
    """Return the smallest unsigned type that holds every code."""
    return np.uint8 if codebook_size <= 256 else np.uint16


def schema(origin: Origin, shard: Shard, encoder: str, with_controls: bool) -> pa.Schema:
    """Return the columns of a shard's file, and in the metadata what it was made from and by what."""
    codes = pa.from_numpy_dtype(code_dtype(origin.codebook_size))
    columns = [
        ("episode_index", pa.int32()),
        ("frame_index", pa.int32()),
        ("next_frame_index", pa.int32()),
        ("codes", pa.list_(codes, origin.grid[0] * origin.grid[1])),
    ]
    if with_controls:
        columns.append(("control", pa.int8()))
    if origin.with_frames:
        columns += [("frame", pa.binary()), ("next_frame", pa.binary())]
    says = {"version": VERSION, **asdict(origin), **asdict(shard), "encoder": encoder}
    return pa.schema(columns, {_KEY: json.dumps(says).encode()})


def write_shard(path: Path, tables: Iterable[pa.Table], columns: pa.Schema, with_frames: bool) -> None:
    """Write a shard's file, whole or not at all, in memory for a row group; equal rows give equal bytes."""
    rows_per_group = _ROWS_PER_GROUP[with_frames]
    waiting: list[pa.Table] = []
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, columns, compression="zstd") as writer:
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= rows_per_group:
                writer.write_table(pa.concat_tables(waiting), rows_per_group)
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), rows_per_group)


def to_shard(says: dict[str, Any]) -> Shard:
    """Read a shard back from plain data; KeyError when it is not there."""
    return Shard(**{name: says[name] for name in Shard.__dataclass_fields__})


def read_origin(path: Path) -> tuple[Origin, Shard]:
    """Read what a shard's file says about itself.

    Raises:
        UserError: the file is damaged or was not written by this version.
    """
    says = _read_says(path)
    return to_origin(says), to_shard(says)


def read_encoder(path: Path) -> str:
    """Read what computed the codes of a shard's file; its last word is the precision."""
    return _read_says(path)["encoder"]


def _read_says(path: Path) -> dict[str, Any]:
    try:
        says = json.loads((pq.read_schema(path).metadata or {})[_KEY])
        if says["version"] != VERSION:
            raise UserError(f"{path}: labels of format {says['version']}, not {VERSION}; extract them again")
        for part in (to_origin, to_shard, lambda says: says["encoder"]):
            part(says)
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, json.JSONDecodeError):
        raise UserError(f"{path}: damaged, or not written by Ghostpad; delete it and extract again") from None
    return says


def to_origin(says: dict[str, Any]) -> Origin:
    """Read an origin back from plain data; KeyError or TypeError when it is not there."""
    fields = {name: says[name] for name in Origin.__dataclass_fields__}
    return Origin(**{**fields, "grid": tuple(fields["grid"])})
