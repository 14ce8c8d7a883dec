"""Folders of PNG frames, `<episode>/0.png, …`, beside them `episode.json`, `truth.npz`, `branches.npz`."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.sources.base import BadInput, Frame, IngestLog, Source, Unit, damage_is, is_control
from ghostpad.sources.branches import Branches
from ghostpad.sources.pixels import image_colors

_FRAME_NAME = re.compile(r"\d{1,15}\.png", re.ASCII | re.IGNORECASE)
_METADATA, _TRUTH, _BRANCHES = "episode.json", "truth.npz", "branches.npz"


class PngEpisode(Source):
    """A folder of numbered PNGs, which is one episode."""

    name = "PNG episodes"
    layout = "a folder of episode folders: `<episode>/0.png, 1.png, …`"
    becomes = "an episode per folder, bit-exact"
    rank = 2
    is_episode = True

    def recognizes(self, path: Path) -> bool:
        """Whether `path` is a folder with at least one numbered PNG (or one that cannot be looked into)."""
        try:
            return path.is_dir() and any(_FRAME_NAME.fullmatch(entry.name) for entry in path.iterdir())
        except OSError:
            return True  # `list_units` rejects it with the reason

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """The whole folder is one unit."""
        files, fingerprint = _list_files(path, log)
        numbers = sorted(files)
        if len(numbers) == 1:
            log.reject(path.name, path, "has a single frame, so there is no transition in it")
            return []
        for before, after in pairwise(numbers):
            if after != before + 1:
                which = "is missing" if after == before + 2 else f"to {after - 1}.png are missing"
                reason = f"{which} (the episode would be split there)"
                log.reject(path.name, path / f"{before + 1}.png", reason, before + 1)
        frames = tuple((number, files[number]) for number in numbers)
        return [PngUnit(path.name, fingerprint, len(frames), path, frames)] if frames else []


@dataclass(frozen=True)
class PngUnit(Unit):
    """The PNGs of one folder."""

    files: tuple[tuple[int, str], ...]
    """Number and name of each, in order; what lies beside them counts from the first."""

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the files in order."""
        folder, before, decoded = str(self.path), b"", None
        for number, name in self.files:
            file = os.path.join(folder, name)  # noqa: PTH118 (a Path for each frame costs a tenth of its decoding)
            try:
                with open(file, "rb") as opened:  # noqa: PTH123
                    data = opened.read()
                if decoded is None or data != before:  # a still picture is not decoded again
                    before, decoded = data, None
                    decoded = image_colors(data, log, only=("PNG",))
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
            metadata = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(metadata, dict) or not _has_sound_controls(metadata):
            raise BadInput(f"has an {_METADATA} of another form")
        begin, num_transitions = start - self.files[0][0], num_frames - 1
        lengths = {"controls": num_transitions, "rewards": num_transitions, "lives": num_frames}
        cut = {}
        for name, value in metadata.items():
            if name in lengths:
                value = value[begin : begin + lengths[name]] if isinstance(value, list) else []
                if len(value) != lengths[name]:
                    continue
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
    """File name by frame number, and a fingerprint of the names, sizes and times of all files that matter."""
    digest = hashlib.sha256()
    files: dict[int, str] = {}
    root = folder.parent.resolve()
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (len(entry.name), entry.name))
    except OSError as error:
        log.reject(folder.name, folder, f"cannot be read ({error.strerror})")
        return {}, ""
    for entry in entries:
        if _FRAME_NAME.fullmatch(entry.name):
            number = int(entry.name[:-4])
            if reason := _why_unusable(entry, root, files.get(number)):
                log.reject(folder.name, entry.path, reason, number)
                continue
            files[number] = entry.name
        elif not (entry.name in (_METADATA, _TRUTH, _BRANCHES) and entry.is_file()):
            continue
        status = entry.stat()
        digest.update(f"{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return files, digest.hexdigest()


def _why_unusable(entry: "os.DirEntry[str]", root: Path, same_number: str | None) -> str:
    if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
        return "is a link that leads out of the recording"
    if not entry.is_file():
        return "is not a file"
    return f"has the same number as {same_number}" if same_number else ""


def _has_sound_controls(metadata: dict[str, Any]) -> bool:
    """Whether the controls are small integers and each has a name, if there are names."""
    controls, names = metadata.get("controls", []), metadata.get("control_names", [])
    if not isinstance(controls, list) or not isinstance(names, list):
        return False
    return all(is_control(control) and (not names or control < len(names)) for control in controls)
