"""The labels folder: a Parquet file per shard, and `labels.json`, which is written last.

A folder that has a `labels.json` is complete; one that has none can be completed.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.io import write_json
from ghostpad.labels.format import PREFIX, SUFFIX, VERSION, Origin, Shard, read_origin, to_origin, to_shard

MANIFEST = "labels.json"


def manifest(origin: Origin, shards: list[Shard], store: FrameStore, folder: Path) -> dict[str, Any]:
    """Return the content of `labels.json`."""
    lengths = [max(0, episode.num_frames - origin.stride) for episode in store.episodes]
    names = next((names for i in range(len(store.episodes)) if (names := store.control_names(i))), None)
    return {
        "version": VERSION,
        **asdict(origin),
        "height": store.height,
        "width": store.width,
        "num_episodes": len(store.episodes),
        "num_transitions": sum(lengths),
        "control_names": names,
        "fps": next((fps for episode in store.episodes if (fps := _fps(episode.metadata or {}))), None),
        "store": {
            "relative": os.path.relpath(store.path, folder),
            "absolute": str(store.path.resolve()),
        },
        "shards": [{"file": shard.file_name, **asdict(shard)} for shard in shards],
        "episodes": [
            {"name": episode.name, "split": episode.split, "num_transitions": length}
            for episode, length in zip(store.episodes, lengths, strict=True)
        ],
    }


def _fps(metadata: dict[str, Any]) -> float | None:
    """Frames per second of a recording; an Atari console makes 60, of which every `frame_skip`-th is kept."""
    if "fps" in metadata:
        return metadata["fps"]
    return 60 / metadata["frame_skip"] if metadata.get("frame_skip") else None


@dataclass(frozen=True)
class Labels:
    """A complete labels folder; open one with `Labels.open`."""

    path: Path
    origin: Origin
    shards: tuple[Shard, ...]
    content: dict[str, Any]
    """`labels.json`."""

    @classmethod
    def open(cls, path: Path) -> "Labels":
        """Open the labels at `path`.

        Raises:
            UserError: there are none, or they are incomplete or of another version.
        """
        try:
            content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise UserError(
                    f"{path}: labels of format {content['version']}, not {VERSION}; extract them again"
                )
            shards = tuple(to_shard(row) for row in content["shards"])
            return cls(path, to_origin(content), shards, content)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{path}: no complete labels here; make them with: ghostpad extract --out {path}"
            ) from None
        except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError):
            raise UserError(f"{path / MANIFEST}: damaged; delete it and run the same extract again") from None

    def table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        """Read the file of a shard.

        Raises:
            UserError: it is missing or damaged.
        """
        path = self.path / shard.file_name
        try:
            table = pq.read_table(path, columns=columns)
        except (OSError, pa.ArrowInvalid):
            raise UserError(f"{path}: missing or damaged; delete it and run extract again") from None
        if len(table) != shard.num_transitions:
            raise UserError(f"{path}: {len(table)} rows, not {shard.num_transitions}; extract it again")
        return table

    def codes(self, shard: Shard) -> np.ndarray:
        """Read the codes of a shard: (T, h, w) uint8 or uint16."""
        flat = self.table(shard, ["codes"])["codes"].combine_chunks().values
        return flat.to_numpy(zero_copy_only=False).reshape(-1, *self.origin.grid)

    def controls(self, shard: Shard) -> np.ndarray:
        """Read the controls of a shard: (T,) int8, −1 where nobody recorded them."""
        return self.table(shard, ["control"])["control"].fill_null(-1).to_numpy()

    def open_store(self) -> FrameStore:
        """Open the store that the labels were made from: where it lay beside them, else where it lay.

        Raises:
            UserError: it has moved or changed.
        """
        places = self.content["store"]
        for place in (self.path / places["relative"], Path(places["absolute"])):
            if (place / "manifest.json").is_file():
                return self.check_store(FrameStore.open(place))
        raise UserError(
            f"{self.path}: the frame store that these labels refer to is not at {places['absolute']}; "
            "say where it is with store="
        )

    def check_store(self, store: FrameStore) -> FrameStore:
        """Make sure that the labels were made from `store`.

        Raises:
            UserError: they were made from other frames.
        """
        if store.fingerprint != self.origin.store_fingerprint:
            raise UserError(
                f"{self.path}: made from other frames than {store.path} holds; extract them again"
            )
        return store


def missing_shards(out: Path, origin: Origin, shards: list[Shard]) -> list[Shard]:
    """Return the shards that have no file in `out` yet.

    Raises:
        UserError: `out` holds something else than labels of the same origin, cut in the same way.
    """
    if not out.exists():
        return shards
    if not out.is_dir():
        raise UserError(f"{out}: is a file; give another --out")
    wanted = {shard.file_name: shard for shard in shards}
    there = set()
    for path in sorted(out.iterdir()):
        if path.name == MANIFEST:
            _check_same(out, Labels.open(out).origin, origin)
        elif path.name.startswith(PREFIX) and path.name.endswith(SUFFIX):
            found, cut = read_origin(path)
            _check_same(out, found, origin)
            if wanted.get(path.name) != cut:
                raise UserError(f"{out}: cut with another --shard-size; use the same, or give another --out")
            there.add(path.name)
        elif not _is_leftover(path):
            raise UserError(f"{out}: holds {path.name}, which is no file of labels; give another --out")
    return [shard for shard in shards if shard.file_name not in there]


def _check_same(out: Path, old: Origin, new: Origin) -> None:
    for field in fields(Origin):
        before, now = getattr(old, field.name), getattr(new, field.name)
        if before != now:
            what = _difference(field.name, before, now)
            raise UserError(f"{out}: holds labels {what}; give another --out, or delete it")


def _difference(name: str, old: object, new: object) -> str:
    if name == "model_hash":
        return f"by another model ({str(old)[:12]}…, not {str(new)[:12]}…)"
    if name == "store_fingerprint":
        return f"of other frames ({str(old)[:12]}…, not {str(new)[:12]}…)"
    if name == "with_frames":
        return f"made {'with' if old else 'without'} --with-frames"
    return f"with {name.replace('_', ' ')} {old}, not {new}"


def _is_leftover(path: Path) -> bool:
    """Whether `path` is what a killed run left of a file that it was writing."""
    ours = path.name.startswith((f".{PREFIX}", f".{MANIFEST}."))
    return ours and path.name.endswith(".partial")


def reopen(out: Path) -> None:
    """Mark a folder as incomplete, before files are added to it."""
    (out / MANIFEST).unlink(missing_ok=True)


def complete(out: Path, origin: Origin, shards: list[Shard], store: FrameStore) -> Labels:
    """Mark a folder that has all its files as complete, and open it."""
    # Nobody is writing a file any more, so what looks half written was left by a killed run.
    for path in out.iterdir():
        if _is_leftover(path):
            path.unlink()
    content = manifest(origin, shards, store, out)
    if not (out / MANIFEST).is_file() or Labels.open(out).content != json.loads(json.dumps(content)):
        write_json(out / MANIFEST, content)
    return Labels.open(out)
