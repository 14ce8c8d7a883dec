"""The manifest of a frame store: `manifest.json`, which names all that a store holds."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ghostpad.errors import UserError
from ghostpad.frames.splits import SPLITS
from ghostpad.sources.registry import MANIFEST

VERSION = 1
REJECTED = "rejected.json"
Encoding = Literal["palette", "rgb", "gray"]


@dataclass(frozen=True)
class Episode:
    """One episode of a store."""

    name: str
    num_frames: int
    source: str
    """Where the frames came from."""
    split: str
    """`train`, `validation` or `test`."""
    sha256: str
    """SHA-256 of the pixels: equal for equal frames, however they were compressed."""
    files: Path
    """Path of its files in the store, without their endings."""
    num_still: int = 0
    """Transitions in which no pixel changes."""

    @cached_property
    def metadata(self) -> dict[str, Any] | None:
        """What the recording says about itself (`episode.json`), None when it says nothing.

        Raises:
            UserError: the store is damaged.
        """
        path = self.files.with_suffix(".json")
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"{path}: damaged; delete the store and ingest again") from None


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of the store at `path`.

    Raises:
        UserError: there is none, it is damaged, or it is of another version.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is not a frame store; make one with: ghostpad ingest SOURCE --out {path}"
        ) from None
    except (OSError, ValueError):
        raise UserError(f"{path / MANIFEST}: damaged; delete {path} and ingest again") from None
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
        raise UserError(f"{path}: not a frame store of version {VERSION}; delete it and ingest again")
    return manifest


def read_rejected(path: Path) -> list[dict[str, Any]]:
    """Read what was left out of the store at `path`: a row per fault; empty if nothing was."""
    try:
        rows = json.loads((path / REJECTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def store_beside(source: Path) -> Path:
    """The store that belongs to a recording."""
    source = source.resolve() if source.name in ("", "..") else source
    return source.with_name(f"{source.name}.store")


def read_episode(path: Path, row: dict[str, Any]) -> Episode:
    """Read an episode of the store at `path` from its row in the manifest.

    Raises:
        KeyError, TypeError, ValueError: the row is damaged.
    """
    if not str(row["file"]).isdecimal():  # so that no name in a manifest leads out of the store
        raise ValueError("not the name of a file of this store")
    if row["split"] not in SPLITS or not 1 <= int(row["num_frames"]) < 2**31:
        raise ValueError("not an episode")
    return Episode(
        name=str(row["name"]),
        num_frames=int(row["num_frames"]),
        source=str(row["source"]),
        split=str(row["split"]),
        sha256=str(row["sha256"]),
        files=path / row["file"],
        num_still=int(row["still"]),
    )
