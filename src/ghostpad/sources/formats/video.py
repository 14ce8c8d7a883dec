"""Video files, decoded by FFmpeg through PyAV."""

import math
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
    stamp,
)
from ghostpad.sources.containers import is_cut_off
from ghostpad.sources.pixels import ALPHA, CUT, ROTATED

SUFFIXES = (".mp4", ".mkv", ".webm", ".gif", ".avi", ".mov", ".m4v")
_SUBSAMPLED = (
    "the video is {name}: neighbouring pixels share one colour, and small objects have lost theirs already; "
    "record without chroma subsampling if you can (libx264rgb with qp 0 is lossless)"
)
_SKEWED = (
    "the video's pixels are not square ({ratio}); frames are stored as coded, so give --height and --width"
)
_INTERLACED = "the video is interlaced: a frame mixes two moments; deinterlace it first (ffmpeg -vf bwdif)"
_HDR = "the video has a high dynamic range, which is not mapped to that of a screen"
_ON_BLACK = "pixels of a GIF that are still transparent over its earlier frames are stored as black"
_TRACKS = "the video has {count} tracks of pictures; track {number} is taken, --track takes another"
_UNEVEN = "{file}: frames are unevenly spaced ({low:.3f} to {high:.3f} s apart); --fps resamples by time"
_HDR_TRANSFERS = (16, 18)  # PQ and HLG in the numbering of ITU-T H.273
_EARLY = 0.25  # ticks by which a frame may come too early: times in a file are rounded
_ROUNDING = 0.002  # the same in seconds
_MISSING = 0.05  # seconds without pictures at the end
_UNEVEN_RATIO = 1.5  # of the largest to the smallest time between frames, beyond rounding


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
    options = ("fps", "episode_seconds", "scene_cut", "track")
    is_episode = True

    def recognizes(self, path: Path) -> bool:
        """Whether `path` has the suffix of a video."""
        return path.suffix.lower() in SUFFIXES and not path.is_dir()

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """The whole file is one unit: only its beginning can be decoded without what comes before."""
        fps, seconds, cut, track = map(options.get, Video.options)
        try:
            num_frames, rate, fastest = _announced(path, track)
        except BadInput as bad:
            log.reject(path.name, path, bad)
            return []
        resampled = frame_rate(min(fps, fastest)) if fps is not None else None
        stamps, own = "\0".join(map(str, (path.name, *stamp(path)))), (resampled, seconds, track)
        extra = {"fps": resampled or rate, "scene_cut": cut}
        return [VideoUnit(path.name, fingerprint(stamps), num_frames, path, *own, **extra)]


@dataclass(frozen=True)
class VideoUnit(Unit):
    """One video file."""

    resampled: Fraction | None = None
    """Take this many frames per second, evenly spaced; all as they are when None."""
    episode_seconds: float | None = None
    """Start a new episode after this many seconds."""
    track: int | None = None
    """Number of the video track, from 1; the default one when None."""

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the file; a picture that cannot be decoded ends an episode."""
        number = part = 0
        start = time = None
        gaps = np.inf, 0.0
        pictures = read_video(self.path, log, self.track)
        for item in pictures if self.resampled is None else resample(pictures, float(self.resampled)):
            if isinstance(item, BadInput):
                log.reject(self.name, self.path, item, number)
                number, time = number + 1, None
                continue
            start = item.time if start is None else start
            seconds = item.time - start
            if time is not None:
                gaps = min(gaps[0], item.time - time), max(gaps[1], item.time - time)
            now = int((seconds + _ROUNDING) / self.episode_seconds) if self.episode_seconds else 0
            starts_episode, part, time = now != part, now, item.time
            yield Frame(self.name, number, item.colors, item.gray, str(self.path), starts_episode)
            number += 1
        if gaps[1] - _ROUNDING > _UNEVEN_RATIO * (gaps[0] + _ROUNDING):
            log.note(_UNEVEN.format(file=self.name, low=gaps[0], high=gaps[1]))


def resample(pictures: Iterator[Picture | BadInput], fps: float) -> Iterator[Picture | BadInput]:
    """The picture that is shown at each of evenly spaced times; one that stays long is repeated."""
    shown: Picture | None = None
    start, tick = None, 0
    for item in pictures:
        if isinstance(item, BadInput):
            shown = None
            yield item
            continue
        start = item.time if start is None else start
        while shown is not None and tick / fps < item.time - start - _EARLY / fps:
            yield shown._replace(time=start + tick / fps)
            tick += 1
        tick = max(tick, math.ceil((item.time - start) * fps - _EARLY)) if shown is None else tick
        shown = item
    if shown is not None and start is not None and tick / fps <= shown.time - start + _EARLY / fps:
        yield shown._replace(time=start + tick / fps)


def _announced(path: Path, track: int | None) -> tuple[int, Fraction | None, float]:
    """Announced number of frames, frame rate, and the rate of which all times are multiples; or BadInput."""
    with _open(path) as container:
        stream = _choose_track(container, track)
        _check_size(stream.codec_context)
        num_frames = stream.frames or max(1, round(_seconds(container) * _rate(stream)))
        rate, table = frame_rate(stream.average_rate), stream.index_entries
        if stream.codec_context.name == "gif":  # whose average counts a pause at the end
            rate = frame_rate(stream.base_rate) or rate
        elif len(table) == stream.frames > 1 and rate is not None:
            ticks = table[len(table) - 1].timestamp - table[0].timestamp
            measured = frame_rate((len(table) - 1) / (ticks * stream.time_base)) if ticks > 0 else rate
            rate = measured if measured and abs(measured - rate) > rate / 100 else rate
        return num_frames, rate, max(_rate(stream), float(stream.base_rate or 0))


def read_video(path: Path, log: IngestLog, track: int | None = None) -> Iterator[Picture | BadInput]:
    """Decode all pictures of a video; a `BadInput` stands in place of one that could not be decoded.

    Raises:
        BadInput: the file cannot be opened, or ends too early.
    """
    with _open(path) as container, damage_is("cannot be read any further"):
        stream = _choose_track(container, track)
        stream.thread_type = "AUTO"
        _note_stream(container, stream, track, log)
        count = packets = 0
        end = heard = 0.0
        for packet in container.demux():
            if packet.pts is not None:
                heard = max(heard, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != stream.index:
                continue
            packets += packet.size > 0
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
                    time = float(picture.time if picture.time is not None else count / _rate(stream))
                    end = max(end, time)
                    colors = _colors(picture, log, on_black=stream.codec_context.name == "gif")
                    yield Picture(time, colors, picture.format.name.startswith("gray"))
                count += 1
        _check_complete(path, container, stream, packets, end, heard)


def _check_complete(path: Path, container: Any, stream: Any, packets: int, end: float, heard: float) -> None:
    """Compare what was read with what the file announces: FFmpeg does not report a truncated file.

    A file is complete when all packets of its table were read and it is as long as its container says. The
    times decide only where the container does not say: they may end with a pause, or with sound alone.

    Raises:
        BadInput: pictures are missing at the end.
    """
    announced = sum(entry.size > 0 for entry in stream.index_entries)
    if packets < announced:
        raise BadInput(f"ends after {packets} of {announced} frames")
    is_cut = is_cut_off(path)
    seconds, end = _seconds(container), end + 1 / _rate(stream)
    if is_cut is None and stream.duration is None:
        is_cut = max(heard, end) < seconds - 1 / _rate(stream) - _MISSING
    if is_cut:
        late = f"ends after {end:.1f} of {seconds:.1f} seconds"
        raise BadInput(late if end < seconds else "is truncated")


def _note_stream(container: Any, stream: Any, track: int | None, log: IngestLog) -> None:
    """Say what a frame store does not keep of a stream."""
    pixels, context = stream.codec_context.format, stream.codec_context
    if pixels is not None and pixels.chroma_width(64) < 64:
        log.note(_SUBSAMPLED.format(name=pixels.name))
    if pixels is not None and (bits := max(part.bits for part in pixels.components)) > 8:
        log.note(CUT.format(bits))
    if stream.sample_aspect_ratio not in (None, 0, 1):
        log.note(_SKEWED.format(ratio=str(stream.sample_aspect_ratio).replace("/", ":")))
    if getattr(context, "color_trc", None) in _HDR_TRANSFERS:
        log.note(_HDR)
    tracks = _tracks(container)
    if len(tracks) > 1 and track is None:
        log.note(_TRACKS.format(count=len(tracks), number=tracks.index(stream) + 1))


def _tracks(container: Any) -> list[Any]:
    """The video tracks without cover pictures."""
    return [s for s in container.streams.video if "attached_pic" not in str(s.disposition.name)]


def _choose_track(container: Any, track: int | None) -> Any:
    tracks = _tracks(container)
    if not tracks:
        raise BadInput("has no pictures in it")
    if track is None:
        return next((s for s in tracks if "default" in str(s.disposition.name)), tracks[0])
    if track > len(tracks):
        raise BadInput(f"has {len(tracks)} tracks of pictures, no track {track}")
    return tracks[track - 1]


def _colors(picture: Any, log: IngestLog, on_black: bool) -> np.ndarray:
    _check_size(picture)
    if picture.interlaced_frame:
        log.note(_INTERLACED)
    rgba = np.ascontiguousarray(picture.to_ndarray(format="rgba"))
    if any(part.is_alpha for part in picture.format.components) and rgba[..., 3].min() < 255:
        log.note(_ON_BLACK if on_black else ALPHA)
        if on_black:  # FFmpeg draws each frame over those before, and white where there is nothing yet
            rgba[rgba[..., 3] == 0] = 0
    return _turned(rgba.view("<u4")[..., 0] & 0xFFFFFF, picture, log)


def _turned(colors: np.ndarray, picture: Any, log: IngestLog) -> np.ndarray:
    """Apply the display matrix: (x, y) is shown at (a·x + c·y, b·x + d·y)."""
    sides = [side for side in picture.side_data if side.type.name == "DISPLAYMATRIX"]
    if not sides:
        return colors
    a, b, _, c, d = np.frombuffer(bytes(sides[0]), "<i4")[:5].tolist()
    if a > 0 and d > 0 and not b and not c:
        return colors
    log.note(ROTATED)
    if abs(a) < abs(b):
        colors, a, d = colors.T, c, b
    return np.ascontiguousarray(colors[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


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
        return av.open(f"file:{path}", metadata_errors="ignore")  # the prefix: a name with a colon is no URL
