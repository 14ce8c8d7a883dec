"""Labels and frames as a LeRobotDataset v3.0, with lossless video.

The layout (https://huggingface.co/docs/lerobot/lerobot-dataset-v3): `meta/info.json` (features and counts),
`meta/stats.json`, `meta/tasks.parquet`, `meta/episodes/` (a row per episode: where its parts are, its
statistics), `data/` (a row per frame) and `videos/<camera>/` (many episodes in a file).

Dimensions: T frames of an episode, n numbers of a feature, H W frame.
"""

import json
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.errors import UserError
from ghostpad.io import write_json
from ghostpad.labels.dataset import LabelReader
from ghostpad.labels.folder import BUTTON, Labels
from ghostpad.labels.formats import LabelFormat, features_metadata
from ghostpad.labels.lerobot_files import FILE, LosslessVideo, NumberedFiles
from ghostpad.progress import progress

CODEBASE_VERSION = "v3.0"
FILES_PER_CHUNK, DATA_MB, VIDEO_MB = 1000, 100, 200
CAMERA, ACTION = "observation.image", "latent_action"
# In rows of frames that start no transition, and where the control was not recorded.
UNKNOWN = -1
_FRAMES_AT_ONCE = 64
# Image statistics are those of every n-th frame.
_EVERY = 16
# The metadata that pandas writes for a table whose index is the task, so that readers restore the index.
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


@dataclass(frozen=True)
class Statistics:
    """Sums over the first axis of values (N, …), from which mean, standard deviation and range follow."""

    count: int
    num_values: int
    sum: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, count: int | None = None) -> "Statistics":
        """Sum up `values`, which come from `count` rows or frames; N when not given."""
        values = values.astype(np.float64)
        low, high = values.min(0, initial=np.inf), values.max(0, initial=-np.inf)
        count = len(values) if count is None else count
        return cls(count, len(values), values.sum(0), (values**2).sum(0), low, high)

    def merged(self, other: "Statistics") -> "Statistics":
        """Return the statistics of the values of both."""
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        counts = self.count + other.count, self.num_values + other.num_values
        return Statistics(*counts, self.sum + other.sum, self.squares + other.squares, low, high)

    def plain(self) -> dict[str, Any]:
        """Return nested lists under min, max, mean, std and count; zeros without values."""
        if not self.num_values:
            return {**dict.fromkeys(("min", "max", "mean", "std"), self.sum.tolist()), "count": [0]}
        mean = self.sum / self.num_values
        deviation = np.sqrt(np.maximum(self.squares / self.num_values - mean**2, 0))
        named = {"min": self.low, "max": self.high, "mean": mean, "std": deviation}
        return {**{name: value.tolist() for name, value in named.items()}, "count": [self.count]}


def write(labels: Labels, folder: Path, store: Path | None, fps: Fraction | None) -> None:
    """Write the data set; its frames come from the labels if they hold them, else from their store.

    Frames per second are those of the recording when not given, else 30.

    Raises:
        UserError: the store cannot be found, or is another one, or the frame rates differ.
    """
    reader = LabelReader(
        labels, None if labels.origin.with_frames else labels.open_store(store, "--store").path
    )
    if fps is None and len(labels.rates) > 1:
        rates = " and ".join(f"{float(rate):.5g}" for rate in labels.rates)
        raise UserError(f"{labels.path}: recorded at {rates} frames per second; choose one rate with --fps")
    rate = fps or next(iter(labels.rates), Fraction(30))
    features = _features(labels, rate)
    schema = _schema(features)
    new_video = partial(LosslessVideo, fps=rate, size=(labels.manifest["height"], labels.manifest["width"]))
    new_table = partial(pq.ParquetWriter, schema=schema)
    videos = NumberedFiles(folder / "videos" / CAMERA, ".mp4", VIDEO_MB, FILES_PER_CHUNK, new_video)
    data = NumberedFiles(folder / "data", ".parquet", DATA_MB, FILES_PER_CHUNK, new_table)
    statistics: dict[str, list[Statistics]] = {name: [] for name in features}
    table: list[dict[str, Any]] = []
    # Episodes that are too short for a transition have no labels, and are left out.
    labelled = [int(index) for index in np.flatnonzero(reader.lengths)]
    with closing(videos), closing(data):
        for number, source in enumerate(progress(labelled, what="export", unit="episodes")):
            first_row = table[-1]["dataset_to_index"] if table else 0
            rows = _rows(features, reader, source, number, first_row, rate)
            length = len(rows["index"])
            seen = {name: Statistics.of(_known(name, values)) for name, values in rows.items()}
            columns = [_column(rows[field.name], field.type) for field in schema]
            data.writer().write_table(pa.Table.from_arrays(columns, schema=schema))
            video = videos.writer()
            start = float(video.num_frames / rate)
            seen[CAMERA] = _write_video(video, reader, source, length)
            place = {**videos.place, "from_timestamp": start, "to_timestamp": start + float(length / rate)}
            entry: dict[str, Any] = {"episode_index": number, "tasks": ["play"], "length": length}
            entry |= {f"data/{name}": value for name, value in data.place.items()}
            entry |= {"dataset_from_index": first_row, "dataset_to_index": first_row + length}
            entry |= {f"videos/{CAMERA}/{name}": value for name, value in place.items()}
            for name, part in seen.items():
                statistics[name].append(part)
                entry |= {f"stats/{name}/{key}": value for key, value in part.plain().items()}
            table.append(entry | {"split": labels.manifest["episodes"][source]["split"]})
    _write_meta(folder / "meta", features, rate, table)
    plain = {name: reduce(Statistics.merged, parts).plain() for name, parts in statistics.items()}
    write_json(folder / "meta" / "stats.json", plain)


def _features(labels: Labels, fps: Fraction) -> dict[str, dict[str, Any]]:
    height, width = labels.manifest["height"], labels.manifest["width"]
    video = {
        "video.height": height,
        "video.width": width,
        "video.codec": LosslessVideo.codec,
        "video.pix_fmt": LosslessVideo.pixel_format,
        "video.is_depth_map": False,
        "video.fps": _number(fps),
        "video.channels": 3,
        "has_audio": False,
    }
    axes = ["height", "width", "channels"]
    cells = labels.origin.grid[0] * labels.origin.grid[1]
    features: dict[str, dict[str, Any]] = {
        CAMERA: {"dtype": "video", "shape": [height, width, 3], "names": axes, "info": video},
        ACTION: {"dtype": "int64", "shape": [cells], "names": None},
    }
    if controls := labels.manifest["control_names"]:
        info = {"control_names": controls}
        features["action"] = {"dtype": "int64", "shape": [1], "names": ["control"], "info": info}
    if labels.has_buttons:
        features[BUTTON] = {"dtype": "int64", "shape": [1], "names": None}
    scalars = {"next.done": "bool", "timestamp": "float32"}
    scalars |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")
    return features | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in scalars.items()}


def _number(fps: Fraction) -> int | float:
    return int(fps) if fps.denominator == 1 else float(fps)


def _schema(features: dict[str, dict[str, Any]]) -> pa.Schema:
    """A feature of shape (1,) is a column of scalars, any other one of lists; video is not in the table."""
    columns = {}
    for name, feature in features.items():
        if feature["dtype"] != "video":
            kind = pa.type_for_alias(feature["dtype"])
            columns[name] = kind if feature["shape"] == [1] else pa.list_(kind, feature["shape"][0])
    schema = pa.schema(columns)
    return schema.with_metadata(features_metadata(schema))


def _column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values.ravel(), kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind.value_type), kind.list_size)


def _rows(
    features: Collection[str], reader: LabelReader, source: int, number: int, first_row: int, fps: Fraction
) -> dict[str, np.ndarray]:
    """Return the columns (T, n) of an episode, a row per frame."""
    num_transitions = int(reader.lengths[source])
    num_frames = num_transitions + reader.labels.origin.stride
    frames = np.arange(num_frames)
    codes = reader.codes(source, frames[:num_transitions]).reshape(num_transitions, -1)
    actions = np.full((num_frames, codes.shape[1]), UNKNOWN, np.int64)
    actions[:num_transitions] = codes
    rows: dict[str, np.ndarray] = {ACTION: actions}
    for name, read in (("action", reader.controls), (BUTTON, reader.buttons)):
        if name in features:
            rows[name] = np.full(num_frames, UNKNOWN, np.int64)
            rows[name][:num_transitions] = read(source)
    rows |= {
        "next.done": frames == num_transitions - 1,
        "timestamp": (frames / float(fps)).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(num_frames, number),
        "index": first_row + frames,
        "task_index": np.zeros(num_frames, np.int64),
    }
    return {name: values.reshape(num_frames, -1) for name, values in rows.items()}


def _known(name: str, values: np.ndarray) -> np.ndarray:
    """Return the rows in which the action is known."""
    return values[(values != UNKNOWN).all(1)] if name in (ACTION, "action", BUTTON) else values


def _write_video(video: LosslessVideo, reader: LabelReader, source: int, num_frames: int) -> Statistics:
    """Append an episode to the video; returns statistics of every `_EVERY`-th frame."""
    parts = []
    for first in range(0, num_frames, _FRAMES_AT_ONCE):
        indices = np.arange(first, min(first + _FRAMES_AT_ONCE, num_frames))
        frames_THWC = reader.frames(source, indices, False).transpose(0, 2, 3, 1)
        sample = frames_THWC[::_EVERY]
        parts.append(Statistics.of(sample.reshape(-1, 3, 1, 1) / 255, count=len(sample)))
        video.add(frames_THWC, starts_episode=first == 0)
    return reduce(Statistics.merged, parts)


def _write_meta(
    meta: Path, features: dict[str, dict[str, Any]], fps: Fraction, episodes: list[dict[str, Any]]
) -> None:
    """Write what the data set holds, and where each of `episodes` is."""
    info = {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": None,
        "total_episodes": len(episodes),
        "total_frames": episodes[-1]["dataset_to_index"],
        "total_tasks": 1,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": _number(fps),
        # LeRobot knows ranges of episodes only; our splits are in the column `split` of the episodes.
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": f"data/{FILE}.parquet",
        "video_path": "videos/{video_key}/" + f"{FILE}.mp4",
        "features": features,
    }
    write_json(meta / "info.json", info)
    tasks = pa.table({"task_index": pa.array([0]), "task": pa.array(["play"])})
    pq.write_table(tasks.replace_schema_metadata({b"pandas": json.dumps(_PANDAS)}), meta / "tasks.parquet")
    own_place = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
    path = meta / "episodes" / f"{FILE.format(chunk_index=0, file_index=0)}.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([episode | own_place for episode in episodes]), path)


LEROBOT = LabelFormat(
    write,
    loading="""\
A LeRobotDataset v3.0: `LeRobotDataset("user/name", root="{folder}")`. The video is H.264 in RGB with
quantizer 0: every pixel is that of the recording. `latent_action` is the action of the transition that
starts at a frame, and `button` its button where buttons were inferred; both are -1 at the last frames of an
episode, which start none.""",
    data_files=lambda labels: "data/*/*.parquet",
    tags=("LeRobot",),
)
