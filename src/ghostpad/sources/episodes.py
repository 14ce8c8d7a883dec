"""Folders of PNG episodes, `<folder>/<episode>/0.png, 1.png, …`: listed and checked before any decoding."""

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.sources.faults import BadInput, Faults, Rejected
from ghostpad.sources.png import decode_png, read_bytes
from ghostpad.sources.units import PIECE_FRAMES, Frame, Notice, Unit, slice_metadata

_FRAME_NAME = re.compile(r"\d{1,15}\.png", re.ASCII | re.IGNORECASE)
# what numpy and zipfile raise for archives that are none, or of a kind that they cannot read
_DAMAGE = (OSError, ValueError, EOFError, LookupError, TypeError, RuntimeError, MemoryError, OverflowError,
           zlib.error, zipfile.BadZipFile)  # fmt: skip
_BESIDE = ("episode.json", "truth.npz")


def natural_key(name: str) -> list[Any]:
    """Sort key that puts `episode_2` before `episode_10`."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)] + [name]


@dataclass(frozen=True)
class PngUnit(Unit):
    """Consecutive PNGs of one episode."""

    folder: Path
    first_number: int
    origin: int
    """Number of the episode's very first frame, which `episode.json` counts from."""
    files: tuple[str, ...]

    def frames(self) -> Iterator[Frame | Rejected | Notice]:
        """Decode the files in order."""
        folder, before, decoded = str(self.folder), b"", None
        for number, name in enumerate(self.files, self.first_number):
            file = os.path.join(folder, name)  # noqa: PTH118 (a Path for each frame costs a tenth of its decoding)
            try:
                data = read_bytes(file)
                if decoded is None or data != before:  # a still picture is not decoded again
                    before, decoded = data, None
                    decoded = decode_png(data)
            except BadInput as bad:
                yield Rejected(self.name, file, number, str(bad))
                continue
            colors, gray, lost = decoded
            if lost:
                yield Notice(lost)
            yield Frame(self.name, number, colors, gray, file)

    def source(self) -> str:
        """The folder of the episode."""
        return str(self.folder)

    def metadata(self, episode: str, start: int, num_frames: int) -> dict[str, Any] | None:
        """`episode.json`, cut to the frames asked for."""
        metadata = _read_metadata(self.folder / "episode.json")
        return None if metadata is None else slice_metadata(metadata, start - self.origin, num_frames)

    def truth(self, start: int, num_frames: int) -> dict[str, np.ndarray] | None:
        """`truth.npz`, cut to the frames asked for."""
        path = self.folder / "truth.npz"
        if not path.is_file():
            return None
        begin = start - self.origin
        try:
            with np.load(path, allow_pickle=False) as archive:
                cut = {name: archive[name][begin : begin + num_frames] for name in archive.files}
        except _DAMAGE:
            raise BadInput("has a truth.npz that cannot be read") from None
        if any(len(values) != num_frames for values in cut.values()):
            raise BadInput("has a truth.npz of another length")
        return cut


def scan_episode(folder: Path, root: Path, faults: Faults) -> list[PngUnit]:
    """List the frames of the episode in `folder`, in order; empty if it holds no numbered PNGs.

    Args:
        folder: the episode.
        root: the recording that the episode belongs to, resolved; links must not lead out of it.
        faults: collects what is wrong.
    """
    if folder.is_symlink() and not folder.resolve().is_relative_to(root):
        faults.add(Rejected(folder.name, str(folder), None, "is a link that leads out of the recording"))
        return []
    numbered, state = _list_frames(folder, root, faults)
    numbers = sorted(numbered)
    if len(numbers) == 1:
        faults.add(
            Rejected(folder.name, str(folder), None, "has a single frame, so there is no transition in it")
        )
        return []
    units: list[PngUnit] = []
    start = 0
    for end in range(1, len(numbers) + 1):
        gap = end < len(numbers) and numbers[end] != numbers[end - 1] + 1
        if gap:
            _report_gap(folder, numbers[end - 1], numbers[end], faults)
        if gap or end == len(numbers) or end - start == PIECE_FRAMES:
            files = tuple(numbered[number] for number in numbers[start:end])
            units.append(PngUnit(folder.name, state, end - start, folder, numbers[start], numbers[0], files))
            start = end
    return units


def _list_frames(folder: Path, root: Path, faults: Faults) -> tuple[dict[int, str], str]:
    """File name by frame number, and a fingerprint of names, sizes and times."""
    digest = hashlib.sha256()
    numbered: dict[int, str] = {}
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (len(entry.name), entry.name))
    except OSError as error:
        faults.add(Rejected(folder.name, str(folder), None, f"cannot be read ({error.strerror})"))
        return {}, ""
    for entry in entries:
        is_frame = _FRAME_NAME.fullmatch(entry.name) is not None
        if not is_frame and not (entry.name in _BESIDE and entry.is_file()):
            continue
        if is_frame and not _is_good(entry, folder, root, numbered, faults):
            continue
        status = entry.stat()
        digest.update(f"{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        if is_frame:
            numbered[int(entry.name[:-4])] = entry.name
    return numbered, digest.hexdigest()


def _is_good(
    entry: "os.DirEntry[str]", folder: Path, root: Path, numbered: dict[int, str], faults: Faults
) -> bool:
    number = int(entry.name[:-4])
    reason = ""
    if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
        reason = "is a link that leads out of the recording"
    elif not entry.is_file():
        reason = "is not a file"
    elif number in numbered:
        reason = f"has the same number as {numbered[number]}"
    if reason:
        faults.add(Rejected(folder.name, entry.path, number, reason))
    return not reason


def _report_gap(folder: Path, before: int, after: int, faults: Faults) -> None:
    which = "is missing" if after == before + 2 else f"to {after - 1}.png are missing"
    missing = str(folder / f"{before + 1}.png")
    faults.add(Rejected(folder.name, missing, before + 1, f"{which} (the episode would be split there)"))


def _read_metadata(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise BadInput("has an episode.json that cannot be read") from None
    if not isinstance(metadata, dict) or not _is_sound(metadata):
        raise BadInput("has an episode.json of another form")
    return metadata


def _is_sound(metadata: dict[str, Any]) -> bool:
    """Whether controls are small whole numbers and every one of them has a name."""
    controls, names = metadata.get("controls", []), metadata.get("control_names", [])
    if not isinstance(controls, list) or not isinstance(names, list):
        return False
    highest = min(127, len(names) - 1) if names else 127
    return all(type(control) is int and 0 <= control <= highest for control in controls)
