"""Frames from video files, through PyAV."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ghostpad.sources.faults import BadInput, Faults, Rejected
from ghostpad.sources.units import MAX_SIDE, Frame, Notice, Unit

SUFFIXES = (".mp4", ".mkv", ".webm", ".gif", ".avi", ".mov", ".m4v")
_SUBSAMPLED = (
    "the video is {name}: neighbouring pixels share one colour there, and small things have lost theirs "
    "already; record without chroma subsampling if you can (libx264rgb with qp 0 loses nothing)"
)
_EARLY = 0.25  # a frame may come so much of a tick too early: times in a file are rounded
_ROUNDING = 0.002  # seconds by which they are
_SLACK_ALONE, _SLACK_WITH_SOUND = 0.05, 1.0  # seconds; sound may go on after the last picture


@dataclass(frozen=True)
class Cutting:
    """How a video becomes episodes."""

    fps: float | None = None
    """Keep about so many frames per second; None keeps all."""
    episode_seconds: float | None = None
    """Begin a new episode after so many seconds; None never does."""
    scene_cut: float | None = None
    """Begin a new episode where the mean change of brightness (0 to 1) exceeds this; None never does."""


class Picture(NamedTuple):
    """A decoded picture of a video."""

    time: float
    """Seconds from the start of the file."""
    colors: np.ndarray
    """(H, W) uint32."""
    gray: bool


def scan_video(path: Path, root: Path, cutting: Cutting, faults: Faults) -> "list[VideoUnit]":
    """Look at the video at `path`; empty if it cannot be used.

    Args:
        path: the file.
        root: the recording, resolved; links must not lead out of it.
        cutting: how it becomes episodes.
        faults: collects what is wrong.
    """
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise BadInput("is a link that leads out of the recording")
        count = count_frames(path)
    except BadInput as bad:
        faults.add(Rejected(path.name, str(path), None, str(bad)))
        return []
    status = path.stat()
    state = hashlib.sha256(f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()
    return [VideoUnit(path.name, state, count, path, cutting)]


@dataclass(frozen=True)
class VideoUnit(Unit):
    """One video file."""

    path: Path
    cutting: Cutting

    def frames(self) -> Iterator[Frame | Rejected | Notice]:
        """Decode the file; a picture that cannot be decoded ends an episode."""
        cutting, file = self.cutting, str(self.path)
        number = kept_ticks = part = 0
        start = before = None
        try:
            for item in read_video(self.path):
                if isinstance(item, Notice):
                    yield item
                    continue
                if isinstance(item, BadInput):
                    yield Rejected(self.name, file, number, str(item))
                    number, before = number + 1, None
                    continue
                start = item.time if start is None else start
                seconds = item.time - start
                if cutting.fps is not None:
                    if seconds * cutting.fps < kept_ticks - _EARLY:
                        continue
                    kept_ticks = int(seconds * cutting.fps + _EARLY) + 1
                now = int((seconds + _ROUNDING) / cutting.episode_seconds) if cutting.episode_seconds else 0
                cut = now != part or (
                    cutting.scene_cut is not None and _is_cut(before, item, cutting.scene_cut)
                )
                part, before = now, item
                yield Frame(self.name, number, item.colors, item.gray, file, new_episode=cut)
                number += 1
        except BadInput as bad:
            yield Rejected(self.name, file, number, str(bad))

    def source(self) -> str:
        """The file."""
        return str(self.path)


def _is_cut(before: Picture | None, after: Picture, threshold: float) -> bool:
    if before is None:
        return False
    dark, bright = (_brightness(picture.colors[::2, ::2]) for picture in (before, after))
    return float(np.abs(bright - dark).mean()) > threshold


def _brightness(colors: np.ndarray) -> np.ndarray:
    """Mean of the channels, 0 to 1."""
    return ((colors & 255) + (colors >> 8 & 255) + (colors >> 16)).astype(np.float32) / 765


def count_frames(path: Path) -> int:
    """Estimate the number of frames without decoding them.

    Raises:
        BadInput: the file is no readable video, or its frames are larger than 4096×4096.
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        if max(stream.codec_context.width, stream.codec_context.height) > MAX_SIDE:
            raise BadInput(f"is larger than {MAX_SIDE}x{MAX_SIDE}")
        if stream.frames:
            return stream.frames
        seconds = float(container.duration or 0) / 1_000_000
        return max(1, round(seconds * float(stream.average_rate or 30)))


def read_video(path: Path) -> Iterator[Picture | Notice | BadInput]:
    """Decode all pictures of a video; a `BadInput` stands where one could not be decoded.

    Raises:
        BadInput: the file cannot be opened, or ends before its time.
    """
    from av.error import FFmpegError

    with _open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        pixels = stream.codec_context.format
        if pixels is not None and pixels.chroma_width(64) < 64:
            yield Notice(_SUBSAMPLED.format(name=pixels.name))
        count, end = 0, 0.0
        for packet in _packets(container, stream):
            try:
                pictures: list[Any] = list(packet.decode())
            except (FFmpegError, ValueError) as error:
                yield BadInput(f"cannot be decoded ({_brief(error)})")
                continue
            for picture in pictures:
                if picture.is_corrupt:
                    yield BadInput("is damaged")
                else:
                    decoded = _picture(picture, count, stream)
                    end = max(end, decoded.time)
                    yield decoded
                count += 1
        _check_whole(path, container, count, end)


def _check_whole(path: Path, container: Any, count: int, end: float) -> None:
    """Compare what was decoded with what the file announces: a truncated one ends in silence.

    Videos carry no checksums, so that this is all that can be checked.
    """
    stream = container.streams.video[0]
    if count < (stream.frames or 0):
        raise BadInput(f"ends after {count} of {stream.frames} frames")
    seconds = float(container.duration or 0) / 1_000_000
    frame_seconds = 1 / float(stream.average_rate or 30)
    slack = frame_seconds + (_SLACK_ALONE if len(container.streams) == 1 else _SLACK_WITH_SOUND)
    if end + frame_seconds < seconds - slack:
        raise BadInput(f"ends after {end + frame_seconds:.1f} of {seconds:.1f} seconds")
    if path.suffix.lower() == ".gif":
        with path.open("rb") as file:
            file.seek(-1, 2)
            if file.read() != b";":
                raise BadInput("is truncated")


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    from av.error import FFmpegError

    try:
        yield from container.demux(stream)
    except (FFmpegError, ValueError) as error:
        raise BadInput(f"cannot be read any further ({_brief(error)})") from None


def _picture(picture: Any, count: int, stream: Any) -> Picture:
    time = picture.time if picture.time is not None else count / float(stream.average_rate or 30)
    if max(picture.width, picture.height) > MAX_SIDE:
        raise BadInput(f"is larger than {MAX_SIDE}x{MAX_SIDE}")
    rgba = picture.to_ndarray(format="rgba")
    colors = np.ascontiguousarray(rgba).view("<u4")[..., 0] & 0xFFFFFF
    return Picture(float(time), colors, picture.format.name.startswith("gray"))


def _open(path: Path) -> Any:
    import av
    from av.error import FFmpegError

    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (FFmpegError, OSError, ValueError) as error:
        raise BadInput(f"is not a readable video ({_brief(error)})") from None
    if not container.streams.video:
        container.close()
        raise BadInput("has no pictures in it")
    return container


def _brief(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:80]
