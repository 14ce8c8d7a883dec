"""The numbered files of a LeRobotDataset: tables and lossless video, many episodes in a file.

Dimensions: T frames, n numbers of a feature, H W frame.
"""

from pathlib import Path
from typing import Any, Self

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from ghostpad.labels.formats.datasets import features_metadata

FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
# H.264 in RGB: yuv420p, the usual default, would lose colour.
_ENCODER = "libx264rgb"
_OPTIONS = {"qp": "0", "preset": "veryfast", "bf": "0", "forced-idr": "1"}
# Frames from one key frame to the next: seeking stays quick, and the file small.
_KEY_FRAMES = 30


class NumberedFiles:
    """Files `chunk-000/file-000` and so on below a folder; a file is full once it has `max_mb` MiB."""

    ending: str

    def __init__(self, folder: Path, max_mb: int, files_per_chunk: int) -> None:
        self.folder, self.max_bytes, self.files_per_chunk = folder, max_mb * 2**20, files_per_chunk
        self.number = -1
        self.path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def place(self) -> dict[str, int]:
        """Chunk and file that are being written."""
        chunk, file = divmod(self.number, self.files_per_chunk)
        return {"chunk_index": chunk, "file_index": file}

    def next_if_full(self) -> None:
        """Begin the first file, or the next one when this one is full."""
        if self.path is None or self.path.stat().st_size >= self.max_bytes:
            self.close()
            self.number += 1
            self.path = self.folder / (FILE.format(**self.place) + self.ending)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.open(self.path)

    def open(self, path: Path) -> None:
        """Begin a file."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the file, if one was begun."""
        raise NotImplementedError


class DataFiles(NumberedFiles):
    """Tables with a row group per episode.

    A feature of shape (1,) is a column of scalars, any other one of lists of fixed size.
    """

    ending = ".parquet"

    def __init__(
        self, folder: Path, max_mb: int, files_per_chunk: int, features: dict[str, dict[str, Any]]
    ) -> None:
        """Write `features` except those of video."""
        super().__init__(folder, max_mb, files_per_chunk)
        columns = [
            (name, _arrow(feature)) for name, feature in features.items() if feature["dtype"] != "video"
        ]
        schema = pa.schema(columns)
        self.schema = schema.with_metadata(features_metadata(schema))
        self._writer: pq.ParquetWriter | None = None

    def open(self, path: Path) -> None:
        """Begin a file."""
        self._writer = pq.ParquetWriter(path, self.schema, compression="snappy")

    def close(self) -> None:
        """Finish the file, if one was begun."""
        if self._writer is not None:
            self._writer.close()

    def write(self, rows: dict[str, np.ndarray]) -> dict[str, Any]:
        """Append an episode of columns (T, n), and return where it is."""
        self.next_if_full()
        assert self._writer is not None
        arrays = [_column(rows[field.name], field.type) for field in self.schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        return {f"data/{name}": value for name, value in self.place.items()}


class VideoFiles(NumberedFiles):
    """Lossless video; each episode begins with a key frame."""

    ending = ".mp4"
    codec, pixel_format = "h264", "gbrp"

    def __init__(
        self, folder: Path, max_mb: int, files_per_chunk: int, fps: int, size: tuple[int, int]
    ) -> None:
        """Write frames of `size` (height, width)."""
        super().__init__(folder, max_mb, files_per_chunk)
        self.fps, self.size = fps, size
        self._container: OutputContainer | None = None
        self._num_frames = 0

    def open(self, path: Path) -> None:
        """Begin a file."""
        self._container = av.open(str(path), "w")
        stream = self._container.add_stream(_ENCODER, rate=self.fps, options=_OPTIONS)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = self.size
        stream.pix_fmt = "rgb24"
        stream.codec_context.gop_size = _KEY_FRAMES
        self._stream, self._num_frames = stream, 0

    def close(self) -> None:
        """Finish the file, if one was begun."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def begin_episode(self) -> float:
        """Start an episode, in a new file if need be; returns where it starts in its file, in seconds."""
        self.next_if_full()
        self._at_start = True
        return self._num_frames / self.fps

    def add(self, frames_THWC: np.ndarray) -> None:
        """Append RGB frames uint8 (T, H, W, 3) to the episode."""
        assert self._container is not None
        for rgb in frames_THWC:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame.pts, self._num_frames = self._num_frames, self._num_frames + 1
            if self._at_start:
                frame.pict_type, self._at_start = PictureType.I, False
            self._container.mux(self._stream.encode(frame))


def _arrow(feature: dict[str, Any]) -> pa.DataType:
    kind = {"int64": pa.int64(), "float32": pa.float32(), "bool": pa.bool_()}[feature["dtype"]]
    return kind if feature["shape"] == [1] else pa.list_(kind, feature["shape"][0])


def _column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values.ravel(), kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind.value_type), kind.list_size)
