"""Video files, decoded by FFmpeg through PyAV."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ghostpad.sources.base import (
    MAX_SIDE,
    BadInput,
    Frame,
    IngestLog,
    Source,
    Unit,
    damage_is,
    fingerprint,
    frame_rate,
    is_scene_cut,
    stamp,
)

_SUFFIXES = (".mp4", ".mkv", ".webm", ".gif", ".avi", ".mov", ".m4v")
_SUBSAMPLED = (
    "the video is {name}: neighbouring pixels share one colour, and small objects have lost theirs already; "
    "record without chroma subsampling if you can (libx264rgb with qp 0 is lossless)"
)
_EARLY = 0.25  # ticks by which a frame may come too early: times in a file are rounded
_ROUNDING = 0.002  # the same in seconds
_MISSING, _MISSING_WITH_SOUND = 0.05, 1.0  # seconds without pictures at the end; sound may continue


class Picture(NamedTuple):
    """A decoded picture of a video."""

    time: float
    """Seconds from the start of the file."""
    colors: np.ndarray
    """(H, W) uint32, as in `Frame`."""
    gray: bool


class Video(Source):
    """A video file: one episode, or several by time or by scene cuts."""

    name = "videos"
    layout = "a video, or a folder of them: mp4, mkv, webm, mov, avi, gif"
    becomes = "an episode per file, or several by time or scene cuts"
    options = ("fps", "episode_seconds", "scene_cut")
    is_episode = True

    def recognizes(self, path: Path) -> bool:
        """Whether `path` has the suffix of a video."""
        return path.suffix.lower() in _SUFFIXES and not path.is_dir()

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """The whole file is one unit: only its beginning can be decoded without what comes before."""
        try:
            num_frames, rate = _announced(path)
        except BadInput as bad:
            log.reject(path.name, path, bad)
            return []
        stamps, own = "\0".join(map(str, (path.name, *stamp(path)))), map(options.get, self.options)
        kept = min(filter(None, (rate, frame_rate(options.get("fps")))), default=None)
        return [VideoUnit(path.name, fingerprint(stamps), num_frames, path, *own, fps=kept)]


@dataclass(frozen=True)
class VideoUnit(Unit):
    """One video file."""

    keep_fps: float | None = None
    """Keep about this many frames per second."""
    episode_seconds: float | None = None
    """Start a new episode after this many seconds."""
    scene_cut: float | None = None
    """Start a new episode where the mean brightness (0 to 1) changes by more than this."""

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the file; a picture that cannot be decoded ends an episode."""
        number = next_tick = part = 0
        start = before = None
        for item in read_video(self.path, log):
            if isinstance(item, BadInput):
                log.reject(self.name, self.path, item, number)
                number, before = number + 1, None
                continue
            start = item.time if start is None else start
            seconds = item.time - start
            if self.keep_fps is not None:
                if seconds * self.keep_fps < next_tick - _EARLY:
                    continue
                next_tick = int(seconds * self.keep_fps + _EARLY) + 1
            now = int((seconds + _ROUNDING) / self.episode_seconds) if self.episode_seconds else 0
            cut = is_scene_cut(before, item.colors, self.scene_cut)
            starts_episode, part, before = now != part or cut, now, item.colors
            yield Frame(self.name, number, item.colors, item.gray, str(self.path), starts_episode)
            number += 1


def _announced(path: Path) -> tuple[int, Fraction | None]:
    """Number of frames and frame rate as the file announces them; nothing is decoded.

    Raises:
        BadInput: the file is not a readable video, or its frames are larger than 4096×4096.
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        _check_size(stream.codec_context)
        num_frames = stream.frames or max(1, round(_seconds(container) * _rate(stream)))
        return num_frames, frame_rate(stream.average_rate)


def read_video(path: Path, log: IngestLog) -> Iterator[Picture | BadInput]:
    """Decode all pictures of a video; a `BadInput` stands in place of one that could not be decoded.

    Raises:
        BadInput: the file cannot be opened, or ends too early.
    """
    with _open(path) as container, damage_is("cannot be read any further"):
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        pixels = stream.codec_context.format
        if pixels is not None and pixels.chroma_width(64) < 64:
            log.note(_SUBSAMPLED.format(name=pixels.name))
        count, end = 0, 0.0
        for packet in container.demux(stream):
            try:
                with damage_is("cannot be decoded"):
                    pictures = list(packet.decode())
            except BadInput as bad:
                yield bad
                continue
            for picture in pictures:
                if picture.is_corrupt:
                    yield BadInput("is damaged")
                else:
                    time = picture.time if picture.time is not None else count / _rate(stream)
                    end = max(end, time)
                    yield Picture(float(time), _colors(picture), picture.format.name.startswith("gray"))
                count += 1
        _check_complete(path, container, count, end)


def _check_complete(path: Path, container: Any, count: int, end: float) -> None:
    """Compare what was decoded with what the file announces: FFmpeg does not report a truncated file.

    Videos carry no checksums, so nothing more can be checked.

    Raises:
        BadInput: pictures are missing at the end.
    """
    stream = container.streams.video[0]
    if count < (stream.frames or 0):
        raise BadInput(f"ends after {count} of {stream.frames} frames")
    seconds, frame_seconds = _seconds(container), 1 / _rate(stream)
    tolerated = frame_seconds + (_MISSING if len(container.streams) == 1 else _MISSING_WITH_SOUND)
    if end + frame_seconds < seconds - tolerated:
        raise BadInput(f"ends after {end + frame_seconds:.1f} of {seconds:.1f} seconds")
    if path.suffix.lower() == ".gif" and path.read_bytes()[-1:] != b";":
        raise BadInput("is truncated")


def _colors(picture: Any) -> np.ndarray:
    _check_size(picture)
    rgba = np.ascontiguousarray(picture.to_ndarray(format="rgba"))
    return rgba.view("<u4")[..., 0] & 0xFFFFFF


def _check_size(picture: Any) -> None:
    if max(picture.width, picture.height) > MAX_SIDE:
        raise BadInput(f"is larger than {MAX_SIDE}x{MAX_SIDE}")


def _seconds(container: Any) -> float:
    return float(container.duration or 0) / 1_000_000


def _rate(stream: Any) -> float:
    return float(stream.average_rate or 30)


def _open(path: Path) -> Any:
    import av  # here: loading FFmpeg takes longer than ingesting a few PNGs

    with damage_is("is not a readable video"):
        container = av.open(f"file:{path}", metadata_errors="ignore")
    if not container.streams.video:
        container.close()
        raise BadInput("has no pictures in it")
    return container
