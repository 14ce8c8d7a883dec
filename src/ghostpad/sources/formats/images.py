"""Folders of numbered images, `<episode>/0.png, …`, and the `episode.json` and arrays beside them."""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ghostpad.io import read_json
from ghostpad.sources.actions import MOST_CONTROLS
from ghostpad.sources.base import (
    IMAGE_FORMATS,
    BadInput,
    Frame,
    IngestLog,
    Source,
    Unit,
    damage_is,
    fingerprint,
)
from ghostpad.sources.branches import Branches
from ghostpad.sources.pixels import image_colors

_FRAME_NAME = re.compile(r"(.*?)(?<!\d)(\d{1,15})(\.\w+)", re.ASCII | re.DOTALL)
_METADATA, _TRUTH, _BRANCHES = "episode.json", "truth.npz", "branches.npz"


class Series(NamedTuple):
    """What the names of the frames of an episode share."""

    prefix: str
    suffix: str


def _parse(name: str) -> tuple[Series, int] | None:
    """The series and number of a frame by its file name; None if it is no numbered image."""
    found = _FRAME_NAME.fullmatch(name)
    if found is None or found[3].lower() not in IMAGE_FORMATS:
        return None
    return Series(found[1], found[3].lower()), int(found[2])


class ImageEpisode(Source):
    """A folder of numbered images, which is one episode."""

    name = "image episodes"
    layout = "a folder of episode folders: `<episode>/0.png, 1.png, …`, or any prefix and kind of image"
    becomes = "an episode per folder, bit-exact unless the images are lossy"
    rank = 2
    is_episode = True
    stands_alone = False

    def recognizes(self, path: Path) -> bool:
        """Whether `path` is a folder with `0.png`, or two frames `frame_0.png` (or cannot be looked into)."""
        seen = set[Series]()
        try:
            for entry in path.iterdir() if path.is_dir() else ():
                if parsed := _parse(entry.name):
                    if not parsed[0].prefix or parsed[0] in seen:
                        return True
                    seen.add(parsed[0])
            return False
        except OSError:
            return True  # `list_units` rejects it with the reason

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """The whole folder is one unit."""
        files, stamps = _list_files(path, log)
        numbers = sorted(files)
        if len(numbers) == 1:
            log.reject(path.name, path, "has a single frame, so there is no transition in it")
            return []
        step = math.gcd(*(after - before for before, after in pairwise(numbers))) if len(numbers) > 2 else 1
        if step > 1:
            log.note("frames are numbered in steps, as every n-th was kept; they count as consecutive")
        for before, after in pairwise(numbers):
            if missing := (after - before) // step - 1:
                name = f"{before + step}{Path(files[after]).suffix}"
                which = "is missing" if missing == 1 else f"and {missing - 1} after it are missing"
                log.reject(
                    path.name, path / name, f"{which} (the episode would be split there)", before + step
                )
        frames = tuple((number // step, files[number]) for number in numbers)
        return [ImageUnit(path.name, fingerprint(stamps), len(frames), path, frames)] if frames else []


@dataclass(frozen=True)
class ImageUnit(Unit):
    """The images of one folder."""

    files: tuple[tuple[int, str], ...]
    """Number and name of each, in order; what lies beside them counts from the first."""

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the files in order."""
        folder, before, decoded = str(self.path), b"", None
        only = IMAGE_FORMATS[Path(self.files[0][1]).suffix.lower()]
        for number, name in self.files:
            file = os.path.join(folder, name)  # noqa: PTH118 (a Path for each frame costs a tenth of its decoding)
            try:
                with open(file, "rb") as opened:  # noqa: PTH123
                    data = opened.read()
                if decoded is None or data != before:  # a still picture is not decoded again
                    before, decoded = data, None
                    decoded = image_colors(data, log, only)
            except (BadInput, OSError) as error:
                reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
                log.reject(self.name, file, reason, number)
                continue
            yield Frame(self.name, number, *decoded, file)

    def metadata(self, episode: str, start: int, num_frames: int) -> dict[str, Any] | None:
        """`episode.json`, its lists cut to the frames asked for."""
        path = self.path / _METADATA
        if not path.is_file():
            return None
        with damage_is(f"has an {_METADATA} that cannot be read"):
            metadata = read_json(path)
        if not isinstance(metadata, dict) or not _has_sound_controls(metadata):
            raise BadInput(f"has an {_METADATA} of another form")
        begin, num_transitions = start - self.files[0][0], num_frames - 1
        lengths = {"controls": num_transitions, "rewards": num_transitions, "lives": num_frames}
        cut = {}
        for name, value in metadata.items():
            if name in lengths:
                value = value[begin : begin + lengths[name]] if isinstance(value, list) else []
                if len(value) != lengths[name]:
                    raise BadInput(f"has an {_METADATA} with too few {name} for its frames")
            cut[name] = value
        return cut

    def truth(self, start: int, num_frames: int) -> dict[str, np.ndarray] | None:
        """`truth.npz`, cut to the frames asked for."""
        path = self.path / _TRUTH
        if not path.is_file():
            return None
        begin = start - self.files[0][0]
        with damage_is(f"has a {_TRUTH} that cannot be read"), np.load(path, allow_pickle=False) as archive:
            cut = {name: archive[name][begin : begin + num_frames] for name in archive.files}
        if any(len(values) != num_frames for values in cut.values()):
            raise BadInput(f"has a {_TRUTH} of another length")
        return cut

    def branches(self, start: int, num_frames: int) -> Branches | None:
        """`branches.npz`, cut to the frames asked for."""
        path = self.path / _BRANCHES
        if not path.is_file():
            return None
        with damage_is(f"has a {_BRANCHES} that cannot be read"):
            return Branches.load(path).part(start - self.files[0][0], num_frames)


def _list_files(folder: Path, log: IngestLog) -> tuple[dict[int, str], str]:
    """File name by frame number, and a text of the names, sizes and times of all files that matter."""
    found: dict[Series, dict[int, str]] = defaultdict(dict)
    stamps = ""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (len(entry.name), entry.name))
    except OSError as error:
        log.reject(folder.name, folder, f"cannot be read ({error.strerror})")
        return {}, ""
    for entry in entries:
        parsed = _parse(entry.name)
        if parsed is not None:
            series, number = parsed
            try:
                _check_usable(entry, folder.parent, found[series].get(number), log)
            except BadInput as bad:
                log.reject(folder.name, entry.path, bad, number)
                continue
            found[series][number] = entry.name
        elif not (entry.name in (_METADATA, _TRUTH, _BRANCHES) and entry.is_file()):
            log.unused(entry.path)
            continue
        status = entry.stat()
        stamps += f"{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\n"
    # The longest series; of equally long ones that without a prefix.
    best, *others = sorted(found, key=lambda series: (-len(found[series]), series)) or [Series("", "")]
    for other in others:
        names = list(found[other].values())
        more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
        reason = f"{more} named unlike {next(iter(found[best].values()))}, so no frames of the same episode"
        log.reject(folder.name, folder / names[0], reason.strip())
    return found[best], stamps


def _check_usable(entry: "os.DirEntry[str]", root: Path, same_number: str | None, log: IngestLog) -> None:
    if entry.is_symlink():
        log.check_link(Path(entry.path), root)
    if not entry.is_file():
        raise BadInput("is not a file")
    if same_number:
        raise BadInput(f"has the same number as {same_number}")


def _has_sound_controls(metadata: dict[str, Any]) -> bool:
    """Whether the controls are small integers and each has a name, if there are names."""
    controls, names = metadata.get("controls", []), metadata.get("control_names", [])
    if not isinstance(controls, list) or not isinstance(names, list):
        return False
    most = min(len(names) or MOST_CONTROLS, MOST_CONTROLS)
    return all(type(control) is int and 0 <= control < most for control in controls)
