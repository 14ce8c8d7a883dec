"""The numbered files of a LeRobotDataset, and the lossless video in some of them.

Dimensions: T frames, H W frame.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from av.video.stream import VideoStream

FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"


class NumberedFiles:
    """Files `chunk-000/file-000` and so on, of many episodes each; one is full once it has `max_mb` MiB."""

    def __init__(
        self, folder: Path, suffix: str, max_mb: int, files_per_chunk: int, begin: Callable[[Path], Any]
    ) -> None:
        """Write below `folder`; `begin` opens a file, which is closed with its `close()`."""
        self.folder, self.suffix, self.max_bytes = folder, suffix, max_mb * 2**20
        self.files_per_chunk, self.begin, self.number = files_per_chunk, begin, -1
        self._path, self._writer = Path(), None

    @property
    def place(self) -> dict[str, int]:
        """Chunk and file that are being written."""
        chunk, file = divmod(self.number, self.files_per_chunk)
        return {"chunk_index": chunk, "file_index": file}

    def writer(self) -> Any:
        """The file for the next episode: a new one if the last is full."""
        if self._writer is None or self._path.stat().st_size >= self.max_bytes:
            self.close()
            self.number += 1
            self._path = self.folder / (FILE.format(**self.place) + self.suffix)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self.begin(self._path)
        return self._writer

    def close(self) -> None:
        """Finish the last file."""
        if self._writer is not None:
            self._writer.close()


class LosslessVideo:
    """An MP4 in which each episode begins with a key frame.

    H.264 in RGB with quantizer 0: yuv420p, the usual default, would lose colour.
    """

    codec, pixel_format = "h264", "gbrp"

    def __init__(self, path: Path, fps: Fraction, size: tuple[int, int]) -> None:
        self._container = av.open(str(path), "w")
        options = {"qp": "0", "preset": "veryfast", "bf": "0", "forced-idr": "1"}
        stream = self._container.add_stream("libx264rgb", rate=fps, options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = size
        stream.pix_fmt = "rgb24"
        # Frames from one key frame to the next: seeking stays quick, and the file small.
        stream.codec_context.gop_size = 30
        self._stream, self.num_frames = stream, 0

    def add(self, frames_THWC: np.ndarray, starts_episode: bool) -> None:
        """Append RGB frames uint8 (T, H, W, 3)."""
        for index, rgb in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame.pts, self.num_frames = self.num_frames, self.num_frames + 1
            if starts_episode and index == 0:
                frame.pict_type = PictureType.I
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
