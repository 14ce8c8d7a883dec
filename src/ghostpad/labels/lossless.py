"""Lossless video, many episodes in a file.

Dimensions: T frames, H W frame.
"""

from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

# H.264 in RGB: yuv420p, the default everywhere, would lose colour.
_ENCODER = "libx264rgb"
_OPTIONS = {"qp": "0", "preset": "veryfast", "bf": "0", "forced-idr": "1"}
# Frames from one key frame to the next: seeking stays quick, and the file small.
_KEY_FRAMES = 30


class VideoFiles:
    """Writes `chunk-000/file-000.mp4` and so on below a folder; a new file begins with an episode."""

    codec, pixel_format = "h264", "gbrp"

    def __init__(
        self, folder: Path, fps: int, size: tuple[int, int], max_mb: int, files_per_chunk: int
    ) -> None:
        """Write frames of `size` (height, width), a file being full once it has `max_mb` MiB."""
        self.folder, self.fps, self.size = folder, fps, size
        self.max_bytes, self.files_per_chunk = max_mb * 2**20, files_per_chunk
        self.number = -1
        self._path = folder
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._num_frames = 0
        self._at_start = True

    def __enter__(self) -> "VideoFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def place(self) -> tuple[int, int]:
        """Chunk and file that are being written."""
        return divmod(self.number, self.files_per_chunk)

    def begin_episode(self) -> float:
        """Start an episode, in a new file if need be; returns where it starts in its file, in seconds."""
        if self._container is None or self._path.stat().st_size >= self.max_bytes:
            self._close()
            self._open()
        self._at_start = True
        return self._num_frames / self.fps

    def add(self, frames_THWC: np.ndarray) -> None:
        """Append RGB frames uint8 (T, H, W, 3) to the episode."""
        assert self._container is not None and self._stream is not None
        for rgb in frames_THWC:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame.pts, self._num_frames = self._num_frames, self._num_frames + 1
            if self._at_start:
                frame.pict_type, self._at_start = PictureType.I, False
            self._container.mux(self._stream.encode(frame))

    def _open(self) -> None:
        self.number += 1
        chunk, file = self.place
        self._path = self.folder / f"chunk-{chunk:03d}" / f"file-{file:03d}.mp4"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._path), "w")
        stream = self._container.add_stream(_ENCODER, rate=self.fps, options=_OPTIONS)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = self.size
        stream.pix_fmt = "rgb24"
        stream.codec_context.gop_size = _KEY_FRAMES
        self._stream, self._num_frames = stream, 0

    def _close(self) -> None:
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = self._stream = None
