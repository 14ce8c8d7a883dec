"""`manifest.json`, which names everything in a frame store, and `rejected.json`: what was left out of it."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from ghostpad.errors import UserError
from ghostpad.frames.splits import SPLITS
from ghostpad.io import read_json
from ghostpad.sources.base import frame_rate

MANIFEST, REJECTED = "manifest.json", "rejected.json"
VERSION = 1


def is_store(path: Path) -> bool:
    """Whether `path` looks like a frame store."""
    return (path / MANIFEST).is_file()


def store_beside(source: Path) -> Path:
    """Where the store of a recording lies by default."""
    source = source.resolve() if source.name in ("", "..") else source
    return source.with_name(f"{source.name}.store")


@dataclass(frozen=True)
class Episode:
    """One episode of a store."""

    name: str
    num_frames: int
    source: str
    """File or folder that the frames came from."""
    unit: str
    """Name of the unit of the recording that it was decoded from."""
    split: str
    """`train`, `validation` or `test`."""
    sha256: str
    """SHA-256 of the pixels: equal for equal frames, however they were compressed."""
    first_frame: str
    """SHA-256 of the first frame alone."""
    num_still: int
    """Transitions in which no pixel changes."""
    files: Path
    """Path of its files in the store, without suffixes: `.npy`, `.json`, `.truth.npz`, `.branches.npz`."""
    container_fps: Fraction | None = None
    """Frames per second, where the container says (a video, a dataset)."""

    @cached_property
    def fps(self) -> Fraction | None:
        """Frames per second; None if unknown. An Atari console makes 60 and keeps every `frame_skip`-th."""
        metadata = self.metadata or {}
        rate, skip = self.container_fps or frame_rate(metadata.get("fps")), metadata.get("frame_skip")
        return rate or (frame_rate(60 / skip) if isinstance(skip, int) and skip > 0 else None)

    @cached_property
    def metadata(self) -> dict[str, Any] | None:
        """Metadata of the recording (`episode.json`), None without any; a UserError if damaged."""
        path = self.files.with_suffix(".json")
        if not path.exists():
            return None
        try:
            return read_json(path)
        except (OSError, ValueError):
            raise UserError(f"{path}: damaged; delete the store and ingest again") from None

    @classmethod
    def from_row(cls, store: Path, row: dict[str, Any]) -> "Episode":
        """Read a row of the manifest of `store`; KeyError, TypeError or ValueError if it is damaged."""
        texts = {
            name: str(row[name]) for name in ("name", "source", "unit", "split", "sha256", "first_frame")
        }
        num_frames, num_still, file = int(row["num_frames"]), int(row["still"]), str(row["file"])
        if texts["split"] not in SPLITS or not 1 <= num_frames < 2**31:
            raise ValueError("not an episode")
        if not file.isdecimal():  # so that no name in a manifest leads out of the store
            raise ValueError("not the name of a file of this store")
        fps = frame_rate(row.get("fps"))
        files = store / file
        return cls(**texts, num_frames=num_frames, num_still=num_still, files=files, container_fps=fps)

    def to_row(self) -> dict[str, Any]:
        """The row of this episode in a manifest."""
        names = ("name", "num_frames", "source", "split", "sha256", "first_frame")
        row = {name: getattr(self, name) for name in names}
        row |= {"still": self.num_still, "unit": self.unit, "file": self.files.name}
        return row | ({"fps": str(self.container_fps)} if self.container_fps else {})


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a store; a UserError if there is none of this version, or it is damaged."""
    try:
        manifest = read_json(path / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        places = f"{path} --out {path}.store" if path.exists() else f"SOURCE --out {path}"
        raise UserError(f"{path} is not a frame store; make one with: ghostpad ingest {places}") from None
    except (OSError, ValueError):
        raise UserError(f"{path / MANIFEST}: damaged; delete {path} and ingest again") from None
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
        raise UserError(f"{path}: not a frame store of version {VERSION}; delete it and ingest again")
    return manifest


def read_rejected(path: Path) -> list[dict[str, Any]]:
    """Read what was left out of the store at `path`: a row per rejection, empty if there was none."""
    try:
        rows = read_json(path / REJECTED)
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
