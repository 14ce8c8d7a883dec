"""The labels folder: a Parquet file per shard, and `_labels.parquet`, which is written last.

A folder with a `_labels.parquet` is complete; one without can be completed. It has no rows, and the manifest
as metadata, so that everything that reads Parquet folders (pandas, pyarrow, polars, duckdb, datasets) opens
the folder as it is. Older folders have a `labels.json` instead.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.io import read_json, whole_file
from ghostpad.labels.shards import (
    METADATA,
    PREFIX,
    SUFFIX,
    VERSION,
    Origin,
    Shard,
    check_version,
    pick,
    read_metadata,
)
from ghostpad.sources.base import frame_rate

BUTTON = "button"  # column that `extract --buttons` adds
_WRITTEN_BESIDE = ("ask.html", "controls.json", "controls.png")  # what `controls` writes into a folder
MANIFEST, OLD_MANIFEST = "_labels.parquet", "labels.json"


@contextmanager
def _damage_is_reported(path: Path) -> Iterator[None]:
    """Turn errors in reading a file of labels into a UserError."""
    try:
        yield
    except (OSError, pa.ArrowInvalid):
        raise UserError(f"{path}: missing or damaged; delete it and run extract again") from None


@dataclass(frozen=True)
class Labels:
    """A complete labels folder; open one with `Labels.open`."""

    path: Path
    origin: Origin
    shards: tuple[Shard, ...]
    manifest: dict[str, Any]
    """Content of `_labels.parquet`."""

    @classmethod
    def open(cls, path: Path) -> "Labels":
        """Open the labels at `path`.

        Raises:
            UserError: there are none, or they are incomplete or of another version.
        """
        try:
            if not (path / MANIFEST).exists() and (path / OLD_MANIFEST).is_file():
                manifest = read_json(path / OLD_MANIFEST)
            else:
                manifest = json.loads(pq.read_schema(path / MANIFEST).metadata[METADATA])
            check_version(path, manifest)
            shards = tuple(pick(Shard, row) for row in manifest["shards"])
            return cls(path, pick(Origin, manifest), shards, manifest)
        except UserError:
            raise
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{path}: no complete labels here; make them with: ghostpad extract --out {path}"
            ) from None
        except (OSError, KeyError, TypeError, ValueError):
            raise UserError(f"{path / MANIFEST}: damaged; delete it and run the same extract again") from None

    def table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        """Read the file of a shard; a UserError if it is missing or damaged."""
        path = self.path / shard.file_name
        with _damage_is_reported(path):
            table = pq.read_table(path, columns=columns)
        if len(table) != shard.num_transitions:
            raise UserError(f"{path}: {len(table)} rows, not {shard.num_transitions}; extract it again")
        return table

    def codes(self, shard: Shard) -> np.ndarray:
        """Read the codes of a shard: (T, h, w) uint8 or uint16."""
        flat = self.table(shard, ["codes"])["codes"].combine_chunks().values
        return flat.to_numpy(zero_copy_only=False).reshape(-1, *self.origin.grid)

    def controls(self, shard: Shard) -> np.ndarray:
        """Read the controls of a shard: (T,) int8, −1 where they were not recorded."""
        return self.table(shard, ["control"])["control"].fill_null(-1).to_numpy()

    def buttons(self, shard: Shard) -> np.ndarray | None:
        """Read the buttons of a shard: (T,) int8; None where none were inferred."""
        path = self.path / shard.file_name
        with _damage_is_reported(path):
            has_buttons = BUTTON in pq.read_schema(path).names
        return self.table(shard, [BUTTON])[BUTTON].to_numpy() if has_buttons else None

    @property
    def has_buttons(self) -> bool:
        """Whether every transition has a button."""
        return all(self.buttons(shard) is not None for shard in self.shards)

    @property
    def rates(self) -> list[Fraction]:
        """Frame rates of the recordings, none where unknown; older labels hold a number instead of a list."""
        known = self.manifest["fps"] or []
        return list(filter(None, map(frame_rate, known if isinstance(known, list) else [known])))

    def open_store(self, path: str | Path | None = None, option: str = "store=") -> FrameStore:
        """Open the store that the labels were made from, at `path` or where the labels refer to.

        Raises:
            UserError: it has changed, or has moved; then `option` is named as the way to give `path`.
        """
        places = self.manifest["store"]
        candidates = [Path(path)] if path else [self.path / places["relative"], Path(places["absolute"])]
        for place in candidates:
            if path or (place / "manifest.json").is_file():
                store = FrameStore.open(place)
                if store.fingerprint != self.origin.store_fingerprint:
                    raise UserError(
                        f"{self.path}: made from other frames than {place} holds; delete it and extract again"
                    )
                return store
        raise UserError(
            f"{self.path}: the frame store that these labels refer to is not at {places['absolute']}; "
            f"say where it is with {option}"
        )


def missing_shards(out: Path, origin: Origin, shards: list[Shard]) -> list[Shard]:
    """The shards without a file in `out`; a UserError if it holds other labels or other files."""
    if not out.exists():
        return shards
    if not out.is_dir():
        raise UserError(f"{out}: is a file; give another --out")
    wanted = {shard.file_name: shard for shard in shards}
    found = set()
    for path in sorted(out.iterdir()):
        if path.name in (MANIFEST, OLD_MANIFEST):
            _require_same(out, Labels.open(out).origin, origin)
        elif path.name.startswith(PREFIX) and path.name.endswith(SUFFIX):
            found_origin, found_shard, _ = read_metadata(path)
            _require_same(out, found_origin, origin)
            if wanted.get(path.name) != found_shard:
                raise UserError(f"{out}: cut with another --shard-size; use the same, or give another --out")
            found.add(path.name)
        elif path.name not in _WRITTEN_BESIDE and not _is_leftover(path):
            raise UserError(f"{out}: holds {path.name}, which is no file of labels; give another --out")
    return [shard for shard in shards if shard.file_name not in found]


def _require_same(out: Path, found: Origin, wanted: Origin) -> None:
    for name in (field.name for field in fields(Origin)):
        old, new = getattr(found, name), getattr(wanted, name)
        if old == new:
            continue
        description = {
            "model_hash": f"by another model ({str(old)[:12]}…, not {str(new)[:12]}…)",
            "store_fingerprint": f"of other frames ({str(old)[:12]}…, not {str(new)[:12]}…)",
            "with_frames": f"made {'with' if old else 'without'} --with-frames",
        }.get(name, f"with {name.replace('_', ' ')} {old}, not {new}")
        raise UserError(f"{out}: holds labels {description}; give another --out, or delete it")


def _is_leftover(path: Path) -> bool:
    """Whether `path` is a file that a killed run had not finished."""
    return path.name.startswith((f".{PREFIX}", f".{MANIFEST}.")) and path.name.endswith(".partial")


def reopen(out: Path) -> None:
    """Mark a folder as incomplete, before files are added to it."""
    for name in (MANIFEST, OLD_MANIFEST):
        (out / name).unlink(missing_ok=True)


def complete(out: Path, origin: Origin, shards: list[Shard], store: FrameStore) -> Labels:
    """Mark a folder that has all its files as complete, and open it."""
    for path in out.iterdir():
        if _is_leftover(path):
            path.unlink()
    # Through JSON, which turns tuples into lists, to compare with what was read.
    manifest = json.loads(json.dumps(_manifest(out, origin, shards, store)))
    if not (out / MANIFEST).is_file() or Labels.open(out).manifest != manifest:
        write_manifest(out, manifest)
    (out / OLD_MANIFEST).unlink(missing_ok=True)
    return Labels.open(out)


def write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Write `_labels.parquet` with the columns of the shards: readers refuse files of different columns."""
    schema = pq.read_schema(out / manifest["shards"][0]["file"])
    with whole_file(out / MANIFEST) as path:
        # Without a row group: a file with an empty one is refused by some readers.
        pq.ParquetWriter(path, schema.with_metadata({METADATA: json.dumps(manifest).encode()})).close()


def _manifest(out: Path, origin: Origin, shards: list[Shard], store: FrameStore) -> dict[str, Any]:
    """The content of `_labels.parquet`."""
    lengths = [max(0, episode.num_frames - origin.stride) for episode in store.episodes]
    control_names = (store.control_names(index) for index in range(len(store.episodes)))
    rates = {episode.fps for episode in store.episodes if episode.fps}
    return {
        "version": VERSION,
        **asdict(origin),
        "height": store.height,
        "width": store.width,
        "num_episodes": len(store.episodes),
        "num_transitions": sum(lengths),
        "control_names": next(filter(None, control_names), None),
        "fps": sorted(map(str, rates)),
        "store": {
            "relative": os.path.relpath(store.path, out),
            "absolute": str(store.path.resolve()),
        },
        "shards": [{"file": shard.file_name, **asdict(shard)} for shard in shards],
        "episodes": [
            {"name": episode.name, "split": episode.split, "num_transitions": length}
            for episode, length in zip(store.episodes, lengths, strict=True)
        ],
    }
