"""Labelling one shard: a pure function from frames to one file, which every engine runs.

Dimensions: T frames, C colour channels, H W frame, h w grid.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from ghostpad.frames.store import FrameStore
from ghostpad.labels.encoders import RunEncoder
from ghostpad.labels.format import Origin, Shard, code_dtype, schema, write_shard
from ghostpad.labels.png import to_png

# Transitions per run: a batch for a GPU, and on a CPU few enough to notice an interruption soon.
RUN = 256


def label_shard(
    store: FrameStore,
    shard: Shard,
    encoder: RunEncoder,
    origin: Origin,
    out: Path,
    advance: Callable[[int], None] = lambda num_transitions: None,
) -> int:
    """Label the transitions of `shard` and write its file into `out`; returns their number.

    The bytes of the file depend on the arguments alone. `advance` is told of every few transitions that are
    done, and may raise to stop.
    """
    columns = schema(origin, shard, encoder.name, knows_controls(store))
    tables = (
        table
        for episode_index in range(shard.first_episode, shard.end_episode)
        for table in _labelled(store, episode_index, encoder, origin, columns, advance)
    )
    write_shard(out / shard.file_name, tables, columns, origin.with_frames)
    return shard.num_transitions


def knows_controls(store: FrameStore) -> bool:
    """Whether somebody recorded the controls of any episode."""
    return any("controls" in (episode.metadata or {}) for episode in store.episodes)


def _labelled(
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
    for start, frames_TCHW in frame_runs(store, episode_index, origin.grayscale, origin.stride):
        codes = encoder(frames_TCHW, origin.stride)
        count = len(codes)
        rows = np.arange(start, start + count, dtype=np.int32)
        flat = codes.astype(code_dtype(origin.codebook_size)).ravel()
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
            # As with the frames, those that the run before has made are carried over.
            pngs = pngs[-origin.stride :] if pngs else []
            pngs += to_pngs(store, episode_index, start + len(pngs), start + len(frames_TCHW))
            arrays["frame"] = pa.array(pngs[:count], pa.binary())
            arrays["next_frame"] = pa.array(pngs[origin.stride :], pa.binary())
        yield pa.table([arrays[name] for name in columns.names], schema=columns)
        advance(count)


def frame_runs(
    store: FrameStore, episode_index: int, grayscale: bool, stride: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of the first frame, frames uint8 (T, C, H, W)) over an episode, T ≤ `RUN` + `stride`.

    Runs overlap by `stride` frames, so that each gives T − stride transitions. Every frame is read once:
    those that two runs share are carried over.
    """
    num_frames = store.episodes[episode_index].num_frames
    carried: list[np.ndarray] = []
    for start in range(0, num_frames - stride, RUN):
        first = start + stride if carried else 0
        indices = np.arange(first, min(start + RUN + stride, num_frames))
        frames = np.concatenate([*carried, _fresh(store).read(episode_index, indices, grayscale)])
        carried = [frames[-stride:]]
        yield start, frames


def _fresh(store: FrameStore) -> FrameStore:
    """Return the same store with no file mapped yet.

    What is read through a mapping counts as memory of this process until the mapping goes: with one per run
    the count does not grow with the data.
    """
    return dataclasses.replace(store)


def to_pngs(store: FrameStore, episode_index: int, start: int, end: int) -> list[bytes]:
    """Return the frames `start` … `end` − 1 of an episode as PNG files, in their own colours."""
    frames = _fresh(store).array(episode_index)[start:end]
    return [to_png(frame, store.palette) for frame in frames]
