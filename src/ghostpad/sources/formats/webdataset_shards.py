"""WebDataset shards: `.tar` files of samples, the files of a sample sharing a name; one of them is an image.

A sample is a frame. It belongs to the episode that its JSON names, or its folder (`ep0/000012.jpg`), or the
part of its name before the last number (`ep0_000012.jpg`).
"""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ghostpad.errors import UserError
from ghostpad.sources.actions import Controls, UnitWithActions, controls_or_reason
from ghostpad.sources.array_keys import ACTIONS, FLAGS, FRAMES, IDS, STARTS, best_named, plain_name
from ghostpad.sources.base import (
    IMAGE_FORMATS,
    BadInput,
    Frame,
    IngestLog,
    Source,
    Unit,
    damage_is,
    damage_is_rejected,
    fingerprint,
    natural_key,
    stamp,
)
from ghostpad.sources.pixels import image_colors

_NUMBERS = (".cls", ".action", ".control")  # files that hold the action as a number
_PACKED = (".mp4", ".mkv", ".webm", ".avi", ".npz", ".npy", ".pyd", ".pickle")


class Place(NamedTuple):
    """Where a file lies in an uncompressed tar."""

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The file."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class Sample(NamedTuple):
    """One frame of an episode."""

    number: int
    image: Place
    details: Place | None
    """Its JSON, or the file with its action."""


class WebDatasetShards(Source):
    """Shards of a WebDataset."""

    name = "WebDataset shards"
    layout = "a `.tar` or a folder of them: `EPISODE/12.jpg` or `EPISODE_12.jpg`, and `….json` or `….cls`"
    becomes = "an episode per folder or name; `action`, `episode_id` and `done` are taken from the JSON"
    options = ("frames_key", "actions_key", "scene_cut")
    is_episode = True

    def recognizes(self, path: Path) -> bool:
        """Whether `path` is a tar or a folder of them."""
        return any(path.glob("*.tar")) if path.is_dir() else path.suffix.lower() == ".tar"

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """A unit for each episode, which may span shards; only headers and, if they say it, JSON are read."""
        shards = sorted(path.glob("*.tar"), key=lambda p: natural_key(p.name)) if path.is_dir() else [path]
        samples: dict[str, dict[str, Place]] = {}
        for shard in shards:
            with damage_is_rejected(shard, log):
                for name, place in _list_files(shard):
                    folder, _, file = name.rpartition("/")
                    stem, dot, rest = file.partition(".")
                    samples.setdefault(f"{folder}/{stem}".strip("/"), {})[f"{dot}{rest}".lower()] = place
        suffix: str | None = None
        with damage_is_rejected(path, log):
            suffix = _choose_suffix({suffix for files in samples.values() for suffix in files}, options)
        if suffix is None:
            return []
        episodes: dict[str, list[tuple[str, dict[str, Place]]]] = {}
        borders = next((_details(files.get(".json")) for files in samples.values()), {})
        has_ids = any(plain_name(name) in IDS for name in borders)
        for key in sorted(samples, key=natural_key):
            if suffix in samples[key]:
                named = re.sub(r"[_.-]*\d+$", "", key).rstrip("/")
                details = _details(samples[key].get(".json")) if has_ids else {}
                ids = [str(value) for name, value in details.items() if plain_name(name) in IDS]
                episodes.setdefault(ids[0] if ids else named or path.stem, []).append((key, samples[key]))
        stamps, cut = [(shard.name, *stamp(shard)) for shard in shards], options.get("scene_cut")
        units: list[Unit] = []
        for name, members in episodes.items():
            numbers = _numbers([key for key, _ in members])
            frames = tuple(
                Sample(
                    number, files[suffix], next((files[s] for s in (".json", *_NUMBERS) if s in files), None)
                )
                for number, (_, files) in zip(numbers, members, strict=True)
            )
            identity = fingerprint(repr((name, suffix, options.get("actions_key"), stamps)))
            key = options.get("actions_key")
            units.append(WebDatasetUnit(name, identity, len(frames), path, frames, key, scene_cut=cut))
        return units


@dataclass(frozen=True)
class WebDatasetUnit(UnitWithActions):
    """The frames of one episode."""

    samples: tuple[Sample, ...]
    actions_key: str | None

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the images."""
        ended = False
        for sample in self.samples:
            try:
                colors, gray = image_colors(sample.image.read(), log)
            except BadInput as bad:
                log.reject(self.name, sample.image.shard, bad, sample.number)
                continue
            details = {plain_name(name): value for name, value in _details(sample.details).items()}
            starts = ended or any(details.get(name) is True or details.get(name) == 1 for name in STARTS)
            yield Frame(self.name, sample.number, colors, gray, str(sample.image.shard), starts)
            ended = any(details.get(name) in (True, 1) for name in FLAGS)

    def metadata(self, episode: str, start: int, num_frames: int) -> dict[str, Any] | None:
        """The actions as controls; samples whose image is missing have actions too."""
        place = next(place for place, sample in enumerate(self.samples) if sample.number == start)
        return super().metadata(episode, place, num_frames)

    def controls(self, episode: str) -> Controls | str | None:
        """See `UnitWithActions`."""
        return _read_controls(self)


@lru_cache(maxsize=2)
def _read_controls(unit: WebDatasetUnit) -> Controls | str | None:
    actions = []
    for sample in unit.samples:
        details = _details(sample.details)
        names = [name for name in details if plain_name(name) in ACTIONS]
        name = unit.actions_key or next(iter(best_named(names, ACTIONS)), None)
        if name not in details:
            return "actions are missing from some frames" if actions else None
        actions.append(details[name])
    return controls_or_reason(actions)


def _list_files(shard: Path) -> Iterator[tuple[str, Place]]:
    size = shard.stat().st_size
    with tarfile.open(shard, "r:") as tar:
        for member in tar:
            if member.isfile():
                if member.offset_data + member.size > size:
                    raise BadInput(f"is truncated in {member.name}")
                yield member.name.removeprefix("./"), Place(shard, member.offset_data, member.size)


def _choose_suffix(suffixes: set[str], options: Mapping[str, Any]) -> str:
    images = sorted(suffix for suffix in suffixes if f".{suffix.rpartition('.')[2]}" in IMAGE_FORMATS)
    if wanted := options.get("frames_key"):
        images = [suffix for suffix in images if wanted.lower().strip(".") in suffix]
        if not images:
            raise UserError(f"--frames-key {wanted}: no files of the samples are named so")
    if not images:
        if packed := sorted(suffix for suffix in suffixes if suffix.endswith(_PACKED)):
            raise BadInput(
                f"holds {packed[0]} files, not images; unpack it with tar -xf, and give the folder"
            )
        raise BadInput(f"holds no images, but {', '.join(sorted(suffixes)) or 'nothing'}")
    named = [suffix for suffix in images if plain_name(suffix.strip(".").partition(".")[0]) in FRAMES]
    best = images if len(images) == 1 else named
    if len(best) != 1:
        raise UserError(f"samples hold several images: {', '.join(images)}; choose one with --frames-key")
    return best[0]


def _numbers(keys: list[str]) -> list[int]:
    """Numbers of frames by the numbers at the end of their names, so that a missing frame leaves a gap."""
    found = [re.search(r"(\d+)$", key) for key in keys]
    if not all(found):
        return list(range(len(keys)))
    numbers = [int(match[1]) for match in found if match]
    step = min((after - before for before, after in pairwise(numbers)), default=1)
    return [(number - numbers[0]) // step for number in numbers] if step > 0 else list(range(len(keys)))


def _details(place: Place | None) -> dict[str, Any]:
    """What is known of a sample beside its image: its JSON, or its action."""
    if place is None:
        return {}
    with damage_is("has a sample whose JSON or action cannot be read"):
        details = json.loads(place.read())
    return details if isinstance(details, dict) else {"action": details}
