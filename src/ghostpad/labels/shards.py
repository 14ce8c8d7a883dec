"""Shards of labels: how a data set is cut, and the pure function from the frames of a shard to its file.

Frames of a store go through `frame_runs` to an encoder, and its codes into a Parquet file with a row per
transition. Every engine runs `label_shard`.

Dimensions: T frames, C colour channels, H W frame, h w grid.
"""

import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ghostpad.config import ConfigT, from_plain
from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.io import whole_file

VERSION = 1
PREFIX, SUFFIX = "labels-", ".parquet"
# Transitions per run: a batch for a GPU, and on a CPU few enough to notice an interruption soon.
RUN = 256
METADATA = b"ghostpad"
# Rows per row group, without and with frames: a single row with frames is then read without much around it.
_ROWS_PER_GROUP = {False: 65_536, True: 128}


@dataclass(frozen=True)
class Origin:
    """What labels were made from. A folder holds labels of one origin only."""

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

    @property
    def code_dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The smallest unsigned type that holds every code."""
        return np.uint8 if self.codebook_size <= 256 else np.uint16


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


class RunEncoder(Protocol):
    """Encodes a run of consecutive frames. Thread-safe; on a CPU each call computes in one thread."""

    name: str
    """Runtime, device and precision, which the labels record."""
    history: int
    """Frames that the model sees up to the current one."""

    def __call__(self, frames_TCHW: np.ndarray, stride: int) -> np.ndarray:
        """Return the codes (T − history · stride, h, w) int64 of uint8 frames, the first ones as history."""
        ...


def plan_shards(store: FrameStore, stride: int, shard_size: int | None) -> list[Shard]:
    """Cut a store into shards of whole episodes, each but the last with at least `shard_size` transitions.

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


def label_shard(
    store: FrameStore,
    shard: Shard,
    encoder: RunEncoder,
    origin: Origin,
    out: Path,
    advance: Callable[[int], None] = lambda num_transitions: None,
) -> None:
    """Label the transitions of `shard` and write its file into `out`, whole or not at all.

    The bytes of the file depend on the arguments alone. `advance` is called with the number of transitions
    after every run, and may raise to stop.
    """
    columns = _schema(store, shard, encoder, origin)
    tables = (
        table
        for episode_index in range(shard.first_episode, shard.end_episode)
        for table in _label_episode(store, episode_index, encoder, origin, columns, advance)
    )
    with (
        whole_file(out / shard.file_name) as path,
        pq.ParquetWriter(path, columns, compression="zstd") as writer,
    ):
        rows_per_group = _ROWS_PER_GROUP[origin.with_frames]
        for group in _grouped(tables, rows_per_group):
            writer.write_table(group, rows_per_group)


def read_metadata(path: Path) -> tuple[Origin, Shard, str]:
    """Read a file's origin, shard, and encoder, whose last word is the precision; a UserError if damaged."""
    try:
        metadata = json.loads((pq.read_schema(path).metadata or {})[METADATA])
        check_version(path, metadata)
        return pick(Origin, metadata), pick(Shard, metadata), metadata["encoder"]
    except UserError:
        raise
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
        raise UserError(f"{path}: damaged, or not written by Ghostpad; delete it and extract again") from None


def check_version(path: Path, plain: dict[str, Any]) -> None:
    """Raise a UserError if the labels at `path` are of another version."""
    if plain["version"] != VERSION:
        raise UserError(f"{path}: labels of format {plain['version']}, not {VERSION}; extract them again")


def pick(config_type: type[ConfigT], plain: dict[str, Any]) -> ConfigT:
    """Read an `Origin` or `Shard` from plain data that may hold more; KeyError or UserError without one."""
    return from_plain(config_type, {name: plain[name] for name in get_type_hints(config_type)})


def _schema(store: FrameStore, shard: Shard, encoder: RunEncoder, origin: Origin) -> pa.Schema:
    """The columns of a shard's file, with the metadata that `read_metadata` reads."""
    codes = pa.from_numpy_dtype(origin.code_dtype)
    columns = [
        ("episode_index", pa.int32()),
        ("frame_index", pa.int32()),
        ("next_frame_index", pa.int32()),
        ("codes", pa.list_(codes, origin.grid[0] * origin.grid[1])),
    ]
    if any("controls" in (episode.metadata or {}) for episode in store.episodes):
        columns.append(("control", pa.int8()))
    if origin.with_frames:
        columns += [("frame", pa.binary()), ("next_frame", pa.binary())]
    metadata = {"version": VERSION, **asdict(origin), **asdict(shard), "encoder": encoder.name}
    return pa.schema(columns, {METADATA: json.dumps(metadata).encode()})


def _grouped(tables: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """Concatenate tables until they have at least `num_rows` rows; only those stay in memory."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= num_rows:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _label_episode(
    store: FrameStore,
    episode_index: int,
    encoder: RunEncoder,
    origin: Origin,
    columns: pa.Schema,
    advance: Callable[[int], None],
) -> Iterator[pa.Table]:
    """Yield the rows of an episode, run by run."""
    controls = store.controls(episode_index)
    pngs: list[bytes] = []
    past = (encoder.history - 1) * origin.stride
    for start, frames_TCHW in frame_runs(store, episode_index, origin.grayscale, origin.stride, past):
        codes = encoder(frames_TCHW, origin.stride)
        count = len(codes)
        rows = np.arange(start, start + count, dtype=np.int32)
        flat = codes.astype(origin.code_dtype).ravel()
        arrays: dict[str, pa.Array] = {
            "episode_index": pa.array(np.full(count, episode_index, np.int32)),
            "frame_index": pa.array(rows),
            "next_frame_index": pa.array(rows + np.int32(origin.stride)),
            "codes": pa.FixedSizeListArray.from_arrays(pa.array(flat), codes[0].size),
        }
        if "control" in columns.names:
            arrays["control"] = (
                pa.nulls(count, pa.int8()) if controls is None else pa.array(controls[start : start + count])
            )
        if origin.with_frames:
            # Like the frames, the PNGs that two runs share are carried over.
            pngs = pngs[-origin.stride :] if pngs else []
            end = start + len(frames_TCHW) - past
            frames = _unmapped(store).array(episode_index)[start + len(pngs) : end]
            pngs += [_to_png(frame, store.palette) for frame in frames]
            arrays["frame"] = pa.array(pngs[:count], pa.binary())
            arrays["next_frame"] = pa.array(pngs[origin.stride :], pa.binary())
        yield pa.table([arrays[name] for name in columns.names], schema=columns)
        advance(count)


def frame_runs(
    store: FrameStore, episode_index: int, grayscale: bool, stride: int, past: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of the first current frame, frames uint8 (T, C, H, W)) over an episode.

    A run begins with `past` frames before the first current one (the episode's first frame where there are
    none), and runs overlap by `past` + `stride` frames, so that each gives T − past − stride ≤ `RUN`
    transitions. The frames that two runs share are carried over: every frame is read once.
    """
    num_frames = store.episodes[episode_index].num_frames
    carried: list[np.ndarray] = []
    for start in range(0, num_frames - stride, RUN):
        first = start + stride if carried else -past
        indices = np.arange(first, min(start + RUN + stride, num_frames)).clip(0)
        frames = np.concatenate([*carried, _unmapped(store).read(episode_index, indices, grayscale)])
        carried = [frames[-past - stride :]]
        yield start, frames


def _unmapped(store: FrameStore) -> FrameStore:
    """The same store with no file mapped yet.

    Pages read through a mapping count as memory of this process until it is closed. With one mapping per run
    the count does not grow with the data.
    """
    return dataclasses.replace(store)


def _to_png(frame: np.ndarray, palette: np.ndarray | None) -> bytes:
    """Compress a frame: palette indices (H, W) with their palette (P, 3), gray (H, W), or RGB (H, W, 3)."""
    if palette is None:
        image = Image.fromarray(np.asarray(frame))
    else:
        image = Image.frombytes("P", (frame.shape[1], frame.shape[0]), frame.tobytes())
        image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=4)
    return buffer.getvalue()
