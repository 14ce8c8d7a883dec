"""Frames from a LeRobotDataset v3 folder, read directly with pyarrow and PyAV.

The layout: `meta/info.json` (features, fps, paths), `meta/episodes/**/*.parquet` (where each episode lies),
`data/**/*.parquet` (a row per frame, with its action), `videos/<camera>/**/*.mp4` (many episodes in a file).
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.errors import UserError
from ghostpad.sources.faults import BadInput, Faults, Rejected
from ghostpad.sources.png import decode_png
from ghostpad.sources.units import Frame, Notice, Unit
from ghostpad.sources.video import read_video

INFO = Path("meta") / "info.json"
# what json and pyarrow raise for files that are damaged or of another form
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, OSError, RuntimeError, MemoryError,
           OverflowError, pa.ArrowException)  # fmt: skip


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


@dataclass(frozen=True)
class LeRobotUnit(Unit):
    """The episodes that lie in one video, or, where pictures are stored as such, in one data file."""

    path: Path
    camera: str
    fps: float
    spans: tuple[Span, ...]
    action_names: tuple[str, ...]

    def frames(self) -> Iterator[Frame | Rejected | Notice]:
        """Decode the episodes of the file; frames that they should have and have not are faults."""
        found = dict.fromkeys((span.name for span in self.spans), 0)
        try:
            for item in self._pictures() if self.path.suffix == ".parquet" else self._video():
                if isinstance(item, Frame):
                    found[item.episode] += 1
                yield item
        except BadInput as bad:
            yield Rejected(self.name, str(self.path), None, str(bad))
        for span in self.spans:
            if found[span.name] != span.num_frames:
                reason = f"holds {found[span.name]} of the {span.num_frames} frames of {span.name}"
                yield Rejected(self.name, str(self.path), None, reason)

    def _video(self) -> Iterator[Frame | Rejected | Notice]:
        spans, place, file = self.spans, 0, str(self.path)
        for item in read_video(self.path):
            if isinstance(item, Notice):
                yield item
            elif isinstance(item, BadInput):
                yield Rejected(self.name, file, None, str(item))
            else:
                number = round((item.time - spans[place].start) * self.fps)
                while number >= spans[place].num_frames and place + 1 < len(spans):
                    place += 1
                    number = round((item.time - spans[place].start) * self.fps)
                if 0 <= number < spans[place].num_frames:
                    yield Frame(spans[place].name, number, item.colors, item.gray, file)

    def _pictures(self) -> Iterator[Frame | Rejected | Notice]:
        spans = {span.index: span for span in self.spans}
        columns = ["episode_index", "frame_index", self.camera]
        try:
            for batch in pq.ParquetFile(self.path).iter_batches(batch_size=64, columns=columns):
                for episode, number, picture in zip(*(column.to_pylist() for column in batch), strict=True):
                    try:
                        colors, gray, lost = decode_png(picture["bytes"])
                    except BadInput as bad:
                        yield Rejected(self.name, str(self.path), number, str(bad))
                        continue
                    if lost:
                        yield Notice(lost)
                    if episode in spans:
                        yield Frame(spans[episode].name, number, colors, gray, str(self.path))
        except _DAMAGE as error:
            raise BadInput(f"cannot be read ({_brief(error)})") from None

    def source(self) -> str:
        """The video or data file."""
        return str(self.path)

    def metadata(self, episode: str, start: int, num_frames: int) -> dict[str, Any] | None:
        """Frames per second, and the actions as controls when they are single whole numbers."""
        span = next(span for span in self.spans if span.name == episode)
        known: dict[str, Any] = {"fps": self.fps}
        try:
            schema = pq.read_schema(span.data)
            if "action" in schema.names:
                rows = pq.read_table(
                    span.data, columns=["frame_index", "action"], filters=[("episode_index", "=", span.index)]
                ).sort_by("frame_index")
                actions = rows.column("action").to_pylist()[start : start + num_frames - 1]
                controls = [action[0] if isinstance(action, list) else action for action in actions]
                if len(controls) == num_frames - 1 and all(
                    _is_control(c, a) for c, a in zip(controls, actions, strict=True)
                ):
                    known |= {"controls": controls}
                    if max(controls, default=0) < len(self.action_names):
                        known |= {"control_names": list(self.action_names)}
        except _DAMAGE as error:
            raise BadInput(f"has actions that cannot be read ({_brief(error)})") from None
        return known


def _is_control(control: Any, action: Any) -> bool:
    return type(control) is int and 0 <= control <= 127 and (not isinstance(action, list) or len(action) == 1)


def scan_lerobot(root: Path, camera: str | None, faults: Faults) -> list[LeRobotUnit]:
    """List the files of the dataset at `root` that hold frames of `camera`.

    Raises:
        UserError: the dataset is damaged or of another version, or `camera` does not decide between several.
    """
    try:
        info = json.loads((root / INFO).read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        if not version.startswith("v3"):
            raise UserError(
                f"{root}: LeRobotDataset {version}; only v3 can be read, so convert it with lerobot first"
            )
        camera = _choose_camera(root, info["features"], camera)
        is_video = info["features"][camera]["dtype"] == "video"
        files: list[Path] = sorted((root / "meta" / "episodes").glob("**/*.parquet"))
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        located = [_locate(root, info, camera, is_video, row) for row in rows]
        # `names` are those of the dimensions of an action; names of its values have no place in the format
        told = (info["features"].get("action", {}).get("info") or {}).get("control_names") or []
        action_names = tuple(str(name) for name in told)
        fps = float(info["fps"])
        if not fps > 0:
            raise ValueError("fps is not positive")
    except UserError:
        raise
    except _DAMAGE as error:
        raise UserError(
            f"{root}: not a readable LeRobotDataset v3 ({_brief(error)}); see docs/inputs.md"
        ) from None
    units = []
    for path, group in groupby(
        sorted(located, key=lambda item: (item[0], item[1].start)), key=lambda item: item[0]
    ):
        spans = tuple(span for _, span in group)
        name = str(path.relative_to(root))
        if not path.is_file():
            faults.add(Rejected(name, str(path), None, "is missing"))
            continue
        state = hashlib.sha256(
            repr((name, _stamp(path), spans, [_stamp(span.data) for span in spans])).encode()
        )
        count = sum(span.num_frames for span in spans)
        units.append(LeRobotUnit(name, state.hexdigest(), count, path, camera, fps, spans, action_names))
    return units


def _choose_camera(root: Path, features: dict[str, Any], camera: str | None) -> str:
    cameras = [name for name, feature in features.items() if feature["dtype"] in ("video", "image")]
    if camera is None and len(cameras) == 1:
        return cameras[0]
    if camera in cameras:
        return str(camera)
    if not cameras:
        raise UserError(f"{root}: this dataset has no pictures in it; see docs/inputs.md")
    which = "" if camera is None else f"no camera {camera}; "
    raise UserError(f"{root}: {which}choose one with --camera: {', '.join(cameras)}")


def _locate(
    root: Path, info: dict[str, Any], camera: str, is_video: bool, row: dict[str, Any]
) -> tuple[Path, Span]:
    data = _inside(
        root, info["data_path"], chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
    )
    start, path = 0.0, data
    if is_video:
        prefix = f"videos/{camera}/"
        start = float(row[f"{prefix}from_timestamp"])
        chunk, file = row[f"{prefix}chunk_index"], row[f"{prefix}file_index"]
        path = _inside(root, info["video_path"], video_key=camera, chunk_index=chunk, file_index=file)
    return path, Span(int(row["episode_index"]), int(row["length"]), start, data)


def _inside(root: Path, pattern: str, **fields: Any) -> Path:
    path = root / pattern.format(**fields)
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError("a path leads out of the dataset")
    return path


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat() if path.exists() else None
    return (status.st_size, status.st_mtime_ns) if status else (0, 0)


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:100]
