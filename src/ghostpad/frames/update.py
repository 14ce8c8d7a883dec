"""Updates a store: files first, the manifest last and atomically.

Unchanged episodes stay as they are, new ones are taken over from the workers that wrote them. Whenever an
ingest is killed, the manifest is the old one or the new one, and every file that it names is complete.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from ghostpad.errors import UserError
from ghostpad.frames.encode import NewEpisode
from ghostpad.frames.encoding import NO_FRAMES, Encoding, Size, rgb_of, smallest_encoding
from ghostpad.frames.manifest import (
    MANIFEST,
    REJECTED,
    VERSION,
    Episode,
    is_store,
    read_manifest,
    read_rejected,
)
from ghostpad.frames.splits import Splitting, find_originals
from ghostpad.frames.store import FrameStore
from ghostpad.io import write_json
from ghostpad.locking import writing
from ghostpad.sources.base import IngestLog, Unit


def set_action_offset(store: FrameStore, offset: int, why: str) -> FrameStore:
    """Let a store read its controls with an action offset; the recorded actions stay as they are."""
    with writing(store.path, wait=True):
        manifest = read_manifest(store.path) | {"action_offset": {"frames": offset, "why": why}}
        write_json(store.path / MANIFEST, manifest)
    return FrameStore.open(store.path)


def open_previous(out: Path, options: dict[str, Any]) -> FrameStore:
    """Open the store that an ingest into `out` updates, an empty one if there is none; clean up after kills.

    A UserError if `out` holds something else, or was made with other options.
    """
    store = FrameStore(out, 0, 0, NO_FRAMES, (), "", Splitting(), {}, {})
    if is_store(out):
        store = FrameStore.open(out)
        for name, value in options.items():
            if store.options.get(name) != value:
                was = f"{out} was made with {name} = {store.options.get(name)}, not {value}"
                raise UserError(f"{was}; choose another --out, or delete it")
        _remove_unused(out, store.episodes)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds files that are not a frame store; choose another place with --out")
    for left in out.parent.glob(f".{out.name}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    return store


@dataclass
class StoreUpdate:
    """One update of a store, prepared in a folder beside it."""

    previous: FrameStore
    """The store as it was, empty if there is none."""
    kept: set[str]
    """Names of the units that have not changed; their episodes stay."""
    units: dict[str, Unit]
    """Everything that the store will hold, by name and in order."""
    size: Size
    staging: Path
    """Folder in which new files are prepared."""
    log: IngestLog

    def __post_init__(self) -> None:
        """Number files from the highest number in use: an old and a new manifest name no file in common."""
        used = (int(episode.files.name) for episode in self.previous.episodes)
        self._numbers = count(1 + max(used, default=-1))

    def publish(self, new: list[NewEpisode], splitting: Splitting, options: dict[str, Any]) -> None:
        """Bring all episodes into the smallest encoding that suits all, then replace the manifest.

        Raises:
            UserError: no episode is left, or one has no line in the user's own split.
        """
        episodes = [episode for episode in self.previous.episodes if episode.unit in self.kept]
        before = self.previous.pixel_encoding if episodes else NO_FRAMES
        encoding = smallest_encoding(before, ((each.encoding, each.gray) for each in new))
        if encoding.table_from(before) is not None:
            episodes = [self._place(episode, before, encoding) for episode in episodes]
        episodes += [self._place(each.episode, each.encoding, encoding) for each in new]
        if not episodes:
            raise UserError("there is no frame that can be read; see docs/inputs.md")
        order = {name: place for place, name in enumerate(self.units)}
        episodes = self._assign_splits(sorted(episodes, key=lambda e: order[e.unit]), splitting, encoding)
        content = [*self.size, [(episode.name, episode.num_frames, episode.sha256) for episode in episodes]]
        manifest = {
            "version": VERSION,
            "height": self.size[0],
            "width": self.size[1],
            "encoding": encoding.name,
            "colors": rgb_of(encoding.colors).tolist(),
            "fingerprint": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
            "options": options,
            "splitting": vars(splitting),
            "units": {name: unit.fingerprint for name, unit in self.units.items()},
            "action_offset": {"frames": self.previous.action_offset, "why": self.previous.action_offset_why},
            "notices": sorted({*self.previous.notices, *self.log.notices}),
            "episodes": [episode.to_row() for episode in episodes],
        }
        self._replace(manifest, episodes)

    def _place(self, episode: Episode, before: Encoding, encoding: Encoding) -> Episode:
        """Give the files of an episode a new number, and its pixels the new encoding."""
        files, is_new = self.staging / f"{next(self._numbers):06d}", episode.files.parent == self.staging
        for suffix in (".npy", ".json", ".truth.npz", ".branches.npz"):
            source, target = episode.files.with_suffix(suffix), files.with_suffix(suffix)
            if suffix == ".npy" and encoding.table_from(before) is not None:
                with target.open("wb") as file:
                    encoding.write_header(file, episode.num_frames, self.size)
                    encoding.append(file, source, before, self.size)
                if is_new:
                    source.unlink()
            elif source.exists() and is_new:
                source.rename(target)
            elif source.exists():
                shutil.copyfile(source, target)
        return replace(episode, files=files)

    def _assign_splits(
        self, episodes: list[Episode], splitting: Splitting, encoding: Encoding
    ) -> list[Episode]:
        originals = find_originals(
            [episode.first_frame for episode in episodes],
            [episode.num_frames for episode in episodes],
            lambda e, i: encoding.read_frame(episodes[e].files.with_suffix(".npy"), i, self.size),
        )
        splits = splitting.assign([episode.name for episode in episodes], originals)
        return [replace(episode, split=split) for episode, split in zip(episodes, splits, strict=True)]

    def _replace(self, manifest: dict[str, Any], episodes: list[Episode]) -> None:
        """Move everything into place, the manifest last, and list what was left out, now or earlier."""
        out = self.previous.path
        rejected = [vars(rejected) for rejected in self.log.rejected]
        stay = self.kept - {row["unit"] for row in rejected}
        rejected += [row for row in read_rejected(out) if row.get("unit") in stay]
        if rejected:
            write_json(self.staging / REJECTED, rejected)
        if not self.previous.episodes:
            write_json(self.staging / MANIFEST, manifest)
            self.staging.rename(out)
            return
        for file in self.staging.iterdir():
            file.replace(out / file.name)
        write_json(out / MANIFEST, manifest)
        if not rejected:
            (out / REJECTED).unlink(missing_ok=True)
        _remove_unused(out, episodes)


def _remove_unused(store: Path, episodes: Iterable[Episode]) -> None:
    """Remove files that the manifest does not name: of episodes that are gone, or of a killed ingest."""
    used = {episode.files.name for episode in episodes}
    for file in store.iterdir():
        stem = file.name.split(".")[0]
        if stem.isdecimal() and stem not in used:
            file.unlink()
