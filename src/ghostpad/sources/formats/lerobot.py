"""LeRobotDataset v3 folders, read directly with pyarrow and PyAV.

The layout: `meta/info.json` (features, fps, paths), `meta/episodes/**/*.parquet` (where each episode lies),
`data/**/*.parquet` (a row per frame, with its action), `videos/<camera>/**/*.mp4` (many episodes in a file).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ghostpad.errors import UserError
from ghostpad.io import read_json
from ghostpad.sources.actions import Controls, UnitWithActions, controls_or_reason
from ghostpad.sources.base import (
    BadInput,
    Frame,
    IngestLog,
    Source,
    Unit,
    choose_camera,
    damage_is,
    fingerprint,
    frame_rate,
    stamp,
)
from ghostpad.sources.formats.video import read_video
from ghostpad.sources.pixels import image_colors

_INFO = Path("meta") / "info.json"
_NO_ACTION = -1  # in the last frames of an episode that `ghostpad export` wrote: no transition starts there


@dataclass(frozen=True)
class Span:
    """Where an episode lies."""

    index: int
    num_frames: int
    start: float
    """Seconds from the start of the video to its first frame."""
    data: Path
    """Data file with the actions of the episode."""

    @property
    def name(self) -> str:
        """Name of the episode in the store."""
        return f"episode_{self.index:06d}"


class LeRobotDataset(Source):
    """A LeRobotDataset in version 3 of its format."""

    name = "LeRobotDatasets"
    layout = "the folder with `meta/info.json`, version 3"
    becomes = "its episodes and actions"
    rank = 0
    options = ("camera",)

    def recognizes(self, path: Path) -> bool:
        """Whether `path` has the metadata file of the format."""
        return (path / _INFO).is_file()

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """The files of the dataset that hold images of the chosen camera, several episodes in each."""
        info = read_json(path / _INFO)
        version = str(info["codebase_version"])
        if not version.startswith("v3"):
            raise UserError(f"{path}: LeRobotDataset {version} cannot be read; convert it to v3 with lerobot")
        camera, names, fps = describe(path, info, options)
        tables = sorted((path / "meta" / "episodes").glob("**/*.parquet"))
        rows = [row for table in tables for row in pq.read_table(table).to_pylist()]
        located = [_locate(log, path, info, camera, row) for row in rows]
        units: list[Unit] = []
        in_order = sorted(located, key=lambda item: (item[0], item[1].start))
        for file, group in groupby(in_order, key=lambda item: item[0]):
            spans = tuple(span for _, span in group)
            name = str(file.relative_to(path))
            if not file.is_file():
                log.reject(name, file, "is missing")
                continue
            stamps = repr((name, stamp(file), spans, [stamp(span.data) for span in spans]))
            count = sum(span.num_frames for span in spans)
            units.append(
                LeRobotUnit(name, fingerprint(stamps), count, file, camera, path, spans, names, fps=fps)
            )
        return units


@dataclass(frozen=True)
class LeRobotUnit(UnitWithActions):
    """The episodes in one video, or, where images are stored in the table, in one data file."""

    camera: str
    root: Path
    """Folder of the dataset."""
    spans: tuple[Span, ...]
    action_names: tuple[str, ...]

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the episodes of the file; missing frames are rejected."""
        found = dict.fromkeys((span.name for span in self.spans), 0)
        try:
            for frame in self._images(log) if self.path.suffix == ".parquet" else self._video(log):
                found[frame.episode] += 1
                yield frame
        except BadInput as bad:
            log.reject(self.name, self.path, bad)
        for span in self.spans:
            if found[span.name] != span.num_frames:
                reason = f"holds {found[span.name]} of the {span.num_frames} frames of {span.name}"
                log.reject(self.name, self.path, reason)

    def _video(self, log: IngestLog) -> Iterator[Frame]:
        spans, place, fps = self.spans, 0, float(self.fps or 1)
        for item in read_video(self.path, log):
            if isinstance(item, BadInput):
                log.reject(self.name, self.path, item)
                continue
            number = round((item.time - spans[place].start) * fps)
            while number >= spans[place].num_frames and place + 1 < len(spans):
                place += 1
                number = round((item.time - spans[place].start) * fps)
            if 0 <= number < spans[place].num_frames:
                yield Frame(spans[place].name, number, item.colors, item.gray, str(self.path))

    def _images(self, log: IngestLog) -> Iterator[Frame]:
        names = {span.index: span.name for span in self.spans}
        columns = ["episode_index", "frame_index", self.camera]
        with damage_is("cannot be read"):
            for batch in pq.ParquetFile(self.path).iter_batches(batch_size=64, columns=columns):
                for episode, number, image in zip(*(column.to_pylist() for column in batch), strict=True):
                    try:
                        data = image["bytes"] or _inside(log, self.root, image["path"]).read_bytes()
                        colors, gray = image_colors(data, log)
                    except BadInput as bad:
                        log.reject(self.name, self.path, bad, number)
                        continue
                    if episode in names:
                        yield Frame(names[episode], number, colors, gray, str(self.path))

    def controls(self, episode: str) -> Controls | str | None:
        """See `UnitWithActions`."""
        span = next(span for span in self.spans if span.name == episode)
        return _read_controls(span, self.action_names, stamp(span.data))


def describe(
    path: Path, info: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[str, tuple[str, ...], Fraction]:
    """The chosen camera, names of the values of an action or of its buttons, and the frame rate."""
    features, fps = info["features"], frame_rate(info["fps"])
    if fps is None:
        raise ValueError("fps is not positive")
    cameras = [name for name, feature in features.items() if feature["dtype"] in ("video", "image")]
    camera = choose_camera(path, cameras, options.get("camera"))
    action = features.get("action") or {}
    # `names` of a feature names its entries; the format has no place for the names of its values.
    names = action.get("names") if action.get("shape", [1]) != [1] else None
    names = (action.get("info") or {}).get("control_names") or names
    return camera, tuple(map(str, names)) if isinstance(names, list) else (), fps


@lru_cache(maxsize=2)
def _read_controls(span: Span, names: tuple[str, ...], when: tuple[int, int]) -> Controls | str | None:
    with damage_is("has actions that cannot be read"):
        if "action" not in pq.read_schema(span.data).names:
            return None
        columns, rows = ["frame_index", "action"], [("episode_index", "=", span.index)]
        table = pq.read_table(span.data, columns=columns, filters=rows).sort_by("frame_index")
        actions = table.column("action").to_pylist()
        while actions and actions[-1] in (_NO_ACTION, [_NO_ACTION]):
            actions.pop()
        return controls_or_reason(actions, names)


def _locate(
    log: IngestLog, root: Path, info: dict[str, Any], camera: str, row: dict[str, Any]
) -> tuple[Path, Span]:
    """File that holds the images of an episode, and where in it."""
    chunk, file = row["data/chunk_index"], row["data/file_index"]
    data = _inside(log, root, info["data_path"].format(chunk_index=chunk, file_index=file))
    start, path = 0.0, data
    if info["features"][camera]["dtype"] == "video":
        prefix = f"videos/{camera}/"
        start = float(row[f"{prefix}from_timestamp"])
        chunk, file = row[f"{prefix}chunk_index"], row[f"{prefix}file_index"]
        name = info["video_path"].format(video_key=camera, chunk_index=chunk, file_index=file)
        path = _inside(log, root, name)
    return path, Span(int(row["episode_index"]), int(row["length"]), start, data)


def _inside(log: IngestLog, root: Path, name: str) -> Path:
    path = root / name
    log.check_link(path, root)
    return path
