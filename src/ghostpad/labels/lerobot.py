"""Labels and frames as a LeRobotDataset v3.0, with lossless video.

The layout (https://huggingface.co/docs/lerobot/lerobot-dataset-v3): `meta/info.json` (features and counts),
`meta/stats.json`, `meta/tasks.parquet`, `meta/episodes/` (a row per episode: where it lies, its statistics),
`data/` (a row per frame) and `videos/<camera>/` (many episodes in a file).

Dimensions: T frames of an episode, H W frame.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.frames.store import FrameStore
from ghostpad.labels.folder import Labels
from ghostpad.labels.lerobot_files import DATA_MB, FILES_PER_CHUNK, VIDEO_MB, DataFiles, write_meta
from ghostpad.labels.lossless import VideoFiles
from ghostpad.labels.reader import LabelReader
from ghostpad.labels.statistics import Statistics
from ghostpad.progress import progress

CAMERA, ACTION = "observation.image", "latent_action"
# In rows of frames that start no transition, and where nobody recorded the control.
UNKNOWN = -1
_FRAMES_AT_ONCE = 64
# Statistics of pictures are those of every n-th frame.
_EVERY = 16


def write_lerobot(labels: Labels, folder: Path, store_path: Path | None, fps: int | None) -> None:
    """Write the data set into the empty folder `folder`.

    Args:
        labels: with frames in them or without; without, their store is read.
        folder: where to.
        store_path: the frame store, when it has moved.
        fps: frames per second; None for that of the recording, else 30.

    Raises:
        UserError: the store cannot be found, or is another one.
    """
    reader = LabelReader(labels, None if labels.origin.with_frames else _find(labels, store_path))
    fps = fps or max(1, round(labels.content["fps"] or 30))
    features = _features(labels, fps)
    totals = {name: Statistics(_shape(feature)) for name, feature in features.items()}
    table: list[dict[str, Any]] = []
    size = (labels.content["height"], labels.content["width"])
    # Episodes that are too short for a transition have no labels, and are left out.
    wanted = [int(index) for index in np.flatnonzero(reader.lengths)]
    with (
        VideoFiles(folder / "videos" / CAMERA, fps, size, VIDEO_MB, FILES_PER_CHUNK) as videos,
        DataFiles(folder / "data", features, DATA_MB, FILES_PER_CHUNK) as data,
    ):
        for number, source in enumerate(progress(wanted, what="export", unit="episodes")):
            first_row = table[-1]["dataset_to_index"] if table else 0
            rows = _rows(labels, reader, source, number, first_row, fps)
            seen = {name: Statistics(_shape(features[name])).add(_known(name, rows[name])) for name in rows}
            seen[CAMERA] = Statistics(_shape(features[CAMERA]))
            length = len(rows["index"])
            entry = {"episode_index": number, "tasks": ["play"], "length": length, **data.write(rows)}
            entry |= {"dataset_from_index": first_row, "dataset_to_index": first_row + length}
            entry |= _write_video(videos, reader, source, length, seen[CAMERA])
            for name, statistics in seen.items():
                entry |= {f"stats/{name}/{key}": value for key, value in statistics.plain().items()}
                totals[name].merge(statistics)
            table.append(entry | {"split": labels.content["episodes"][source]["split"]})
    write_meta(folder, features, fps, table, {name: seen.plain() for name, seen in totals.items()})


def _find(labels: Labels, store_path: Path | None) -> Path:
    store = labels.open_store() if store_path is None else labels.check_store(FrameStore.open(store_path))
    return store.path


def _features(labels: Labels, fps: int) -> dict[str, dict[str, Any]]:
    height, width = labels.content["height"], labels.content["width"]
    video = {
        "video.height": height,
        "video.width": width,
        "video.codec": VideoFiles.codec,
        "video.pix_fmt": VideoFiles.pixel_format,
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }
    axes = ["height", "width", "channels"]
    cells = labels.origin.grid[0] * labels.origin.grid[1]
    features: dict[str, dict[str, Any]] = {
        CAMERA: {"dtype": "video", "shape": [height, width, 3], "names": axes, "info": video},
        ACTION: {"dtype": "int64", "shape": [cells], "names": None},
    }
    if controls := labels.content["control_names"]:
        told = {"control_names": controls}
        features["action"] = {"dtype": "int64", "shape": [1], "names": ["control"], "info": told}
    scalars = {"next.done": "bool", "timestamp": "float32"}
    scalars |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")
    return features | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in scalars.items()}


def _shape(feature: dict[str, Any]) -> tuple[int, ...]:
    """Shape of a feature's statistics: those of a picture are one number a channel."""
    return (3, 1, 1) if feature["dtype"] == "video" else tuple(feature["shape"])


def _rows(
    labels: Labels, reader: LabelReader, source: int, number: int, first_row: int, fps: int
) -> dict[str, np.ndarray]:
    """Return the columns of an episode, a row per frame: (T, n) for a feature of n numbers."""
    num_transitions = int(reader.lengths[source])
    num_frames = num_transitions + labels.origin.stride
    frames = np.arange(num_frames)
    codes = reader.codes(source, frames[:num_transitions]).reshape(num_transitions, -1)
    actions = np.full((num_frames, codes.shape[1]), UNKNOWN, np.int64)
    actions[:num_transitions] = codes
    rows: dict[str, np.ndarray] = {ACTION: actions}
    if labels.content["control_names"]:
        controls = np.full(num_frames, UNKNOWN, np.int64)
        controls[:num_transitions] = reader.controls(source)
        rows["action"] = controls
    rows |= {
        "next.done": frames == num_transitions - 1,
        "timestamp": (frames / fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(num_frames, number),
        "index": first_row + frames,
        "task_index": np.zeros(num_frames, np.int64),
    }
    return {name: values.reshape(num_frames, -1) for name, values in rows.items()}


def _known(name: str, values: np.ndarray) -> np.ndarray:
    """Return the rows that say something."""
    return values[(values != UNKNOWN).all(1)] if name in (ACTION, "action") else values


def _write_video(
    videos: VideoFiles, reader: LabelReader, source: int, num_frames: int, seen: Statistics
) -> dict[str, Any]:
    """Append an episode to the video, show some frames to `seen`, and return where the episode lies."""
    start = videos.begin_episode()
    for first in range(0, num_frames, _FRAMES_AT_ONCE):
        indices = np.arange(first, min(first + _FRAMES_AT_ONCE, num_frames))
        frames_TCHW = reader.frames(source, indices, False)
        sample = frames_TCHW[::_EVERY]
        seen.add(sample.transpose(0, 2, 3, 1).reshape(-1, 3, 1, 1) / 255, count=len(sample))
        videos.add(frames_TCHW.transpose(0, 2, 3, 1))
    chunk, file = videos.place
    place = {"chunk_index": chunk, "file_index": file, "from_timestamp": start}
    place["to_timestamp"] = start + num_frames / videos.fps
    return {f"videos/{CAMERA}/{name}": value for name, value in place.items()}
