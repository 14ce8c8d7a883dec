"""From the store as it was to the store as it will be: files first, the manifest last and atomically.

Unchanged episodes stay as they are, new ones are joined from the chunks that workers wrote. Whenever an
ingest is killed, the manifest is the old one or the new one, and every file that it names is complete.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames import encoding as enc
from ghostpad.frames.chunks import Chunk
from ghostpad.frames.encoding import NO_FRAMES, Encoding
from ghostpad.frames.manifest import MANIFEST, REJECTED, VERSION, Episode, is_store, read_rejected
from ghostpad.frames.splits import Splitting, find_originals
from ghostpad.frames.store import FrameStore
from ghostpad.io import write_json
from ghostpad.sources.base import BadInput, IngestLog, Unit


def open_previous(out: Path, options: dict[str, Any]) -> FrameStore:
    """Open the store that an ingest into `out` updates, an empty one if there is none; clean up after kills.

    Raises:
        UserError: `out` holds something else, or a store that was made with other options.
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


@dataclass(frozen=True)
class NewEpisode:
    """An episode that is not in the store yet."""

    name: str
    unit: str
    chunks: tuple[Chunk, ...]

    @property
    def num_frames(self) -> int:
        """Length of the episode."""
        return sum(chunk.num_frames for chunk in self.chunks)


def join_chunks(unit: str, chunks: list[Chunk]) -> list[NewEpisode]:
    """Join the chunks of a unit where the frame numbers go on; every other border starts a new episode.

    The first part of an episode keeps its name; further ones are called `name@number of the first frame`.
    """
    runs = [chunks[:1]] if chunks else []
    for before, chunk in pairwise(chunks):
        goes_on = chunk.episode == before.episode and chunk.start == before.start + before.num_frames
        if goes_on and not chunk.starts_episode:
            runs[-1].append(chunk)
        else:
            runs.append([chunk])
    episodes, used = [], set()
    for run in runs:
        name = run[0].episode if run[0].episode not in used else f"{run[0].episode}@{run[0].start}"
        used.add(name)
        episodes.append(NewEpisode(name, unit, tuple(run)))
    return episodes


@dataclass
class StoreUpdate:
    """One update of a store, prepared in a folder beside it."""

    previous: FrameStore
    """The store as it was, empty if there is none."""
    kept: set[str]
    """Names of the units that have not changed; their episodes stay."""
    units: dict[str, Unit]
    """Everything that the store will hold, by name and in order; parts of a unit share a name."""
    size: enc.Size
    staging: Path
    """Folder in which new files are prepared."""
    log: IngestLog

    def __post_init__(self) -> None:
        """Number files from the highest number in use: an old and a new manifest name no file in common."""
        used = (int(episode.files.name) for episode in self.previous.episodes)
        self._numbers = count(1 + max(used, default=-1))

    def publish(self, new: list[NewEpisode], splitting: Splitting, options: dict[str, Any]) -> None:
        """Write the new episodes, all in the smallest encoding that suits all, then replace the manifest.

        Raises:
            UserError: no episode is left, or one has no line in the user's own split.
        """
        kept = [episode for episode in self.previous.episodes if episode.unit in self.kept]
        before = self.previous.pixel_encoding if kept else NO_FRAMES
        chunks = chain.from_iterable(episode.chunks for episode in new)
        encoding = enc.smallest_encoding(before, ((chunk.encoding, chunk.gray) for chunk in chunks))
        if encoding.table_from(before) is not None:
            kept = [self._recode(episode, before, encoding) for episode in kept]
        episodes = kept + [self._write(episode, encoding) for episode in new]
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
            "colors": enc.rgb_of(encoding.colors).tolist(),
            "fingerprint": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
            "options": options,
            "splitting": vars(splitting),
            "units": {name: unit.fingerprint for name, unit in self.units.items()},
            "episodes": [episode.to_row() for episode in episodes],
        }
        self._replace(manifest, episodes)

    def _write(self, new: NewEpisode, encoding: Encoding) -> Episode:
        """Join the chunks of a new episode, and write what is known beside its frames."""
        first, unit, files = new.chunks[0], self.units[new.unit], self._next_files()
        try:
            metadata = unit.metadata(first.episode, first.start, new.num_frames)
            truth = unit.truth(first.start, new.num_frames)
        except BadInput as bad:
            self.log.reject(unit.name, unit.path, bad)
            metadata = truth = None
        self._join([(chunk.path, chunk.encoding) for chunk in new.chunks], files, new.num_frames, encoding)
        if metadata is not None:
            files.with_suffix(".json").write_text(json.dumps(metadata), encoding="utf-8")
        if truth is not None:
            np.savez(files.with_suffix(".truth.npz"), allow_pickle=False, **truth)
        still_borders = sum(a.last_frame == b.first_frame for a, b in pairwise(new.chunks))
        return Episode(
            name=new.name,
            num_frames=new.num_frames,
            source=str(unit.path),
            unit=unit.name,
            split="",
            sha256=hashlib.sha256(b"".join(chunk.sha256 for chunk in new.chunks)).hexdigest(),
            first_frame=first.first_frame.hex(),
            num_still=still_borders + sum(chunk.num_still for chunk in new.chunks),
            files=files,
        )

    def _recode(self, episode: Episode, before: Encoding, encoding: Encoding) -> Episode:
        """Write an episode that stays again, in a new encoding."""
        files = self._next_files()
        self._join([(episode.files.with_suffix(".npy"), before)], files, episode.num_frames, encoding)
        for suffix in (".json", ".truth.npz"):
            if episode.files.with_suffix(suffix).exists():
                shutil.copyfile(episode.files.with_suffix(suffix), files.with_suffix(suffix))
        return replace(episode, files=files)

    def _next_files(self) -> Path:
        return self.staging / f"{next(self._numbers):06d}"

    def _join(
        self, parts: list[tuple[Path, Encoding]], files: Path, num_frames: int, encoding: Encoding
    ) -> None:
        """Join `.npy` files, each in an encoding of its own, into one; chunks are removed on the way."""
        path, pixels = files.with_suffix(".npy"), self.size[0] * self.size[1]
        if encoding.table_from(parts[0][1]) is None:  # most often, a chunk becomes the episode without a copy
            parts[0][0].rename(path)
            parts = parts[1:]
        with path.open("r+b" if path.exists() else "w+b") as target:
            enc.write_header(target, num_frames, self.size, encoding.pixel_bytes)
            target.seek(0, 2)
            for source, before in parts:
                enc.copy_frames(source, target, pixels * before.pixel_bytes, encoding.table_from(before))
                if source.parent == self.staging:
                    source.unlink()

    def _assign_splits(
        self, episodes: list[Episode], splitting: Splitting, encoding: Encoding
    ) -> list[Episode]:
        frame_bytes = self.size[0] * self.size[1] * encoding.pixel_bytes
        originals = find_originals(
            [episode.first_frame for episode in episodes],
            [episode.num_frames for episode in episodes],
            lambda e, index: enc.read_frame(episodes[e].files.with_suffix(".npy"), index, frame_bytes),
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
