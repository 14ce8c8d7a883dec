"""Find out what a recording is, and list what has to be decoded."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from ghostpad.errors import UserError
from ghostpad.sources.episodes import natural_key, scan_episode
from ghostpad.sources.faults import Faults
from ghostpad.sources.lerobot import INFO, scan_lerobot
from ghostpad.sources.minari import METADATA, scan_minari
from ghostpad.sources.units import Unit
from ghostpad.sources.video import SUFFIXES, Cutting, VideoUnit, scan_video

_WHOLE = Cutting()
MANIFEST = "manifest.json"
"""File that makes a folder a frame store."""


def is_store(path: Path) -> bool:
    """Whether `path` looks like a frame store."""
    return (path / MANIFEST).is_file()


@dataclass(frozen=True)
class Wishes:
    """What the user asked of sources that leave a choice."""

    cutting: Cutting = _WHOLE
    camera: str | None = None


def list_units(source: Path, wishes: Wishes, faults: Faults) -> list[Unit]:
    """List everything in `source` that holds frames, episodes in natural order.

    Raises:
        UserError: the folder is missing, nothing in it can be read, or the wishes make no sense for it.
    """
    if is_store(source):
        raise UserError(f"{source} is a frame store already; give it to --data as it is")
    if not source.exists():
        raise UserError(f"{source}: no such folder; record one with: ghostpad record --out {source}")
    units = _list(source, wishes, faults)
    if not units and not faults.rejected:
        raise UserError(
            f"{source} holds no episodes, that is folders with 0.png, 1.png, …; see docs/inputs.md"
        )
    if not units:
        raise UserError(f"{source} holds nothing but bad files, {faults.rejected[0].file} for one; mend them")
    if wishes.cutting != _WHOLE and not any(isinstance(unit, VideoUnit) for unit in units):
        raise UserError(
            f"{source} holds no videos: --fps, --episode-seconds and --scene-cut are for videos only"
        )
    return units


def _list(source: Path, wishes: Wishes, faults: Faults) -> list[Unit]:
    if source.is_file():
        if source.suffix.lower() not in SUFFIXES:
            raise UserError(
                f"{source} is neither a folder nor a video ({', '.join(SUFFIXES)}); see docs/inputs.md"
            )
        return [*scan_video(source, source.resolve().parent, wishes.cutting, faults)]
    if (source / INFO).is_file():
        return [*scan_lerobot(source, wishes.camera, faults)]
    if (source / METADATA).is_file():
        return [*scan_minari(source, wishes.camera, faults)]
    return _list_folder(source, wishes.cutting, faults)


def _list_folder(source: Path, cutting: Cutting, faults: Faults) -> list[Unit]:
    root = source.resolve()
    units: list[Unit] = []
    ignored = []
    for path in sorted(source.iterdir(), key=lambda path: natural_key(path.name)):
        known = len(units) + len(faults.rejected)
        if path.name.startswith("."):
            continue
        if path.is_dir():
            units += scan_episode(path, root, faults)
        elif path.suffix.lower() in SUFFIXES:
            units += scan_video(path, root, cutting, faults)
        if len(units) + len(faults.rejected) == known:
            ignored.append(path.name)
    if not units and any(name.lower().endswith(".png") for name in ignored):
        raise UserError(f"{source} is itself an episode; give the folder above it, or move it into one")
    if ignored and units:
        more = f" and {len(ignored) - 1} more" if len(ignored) > 1 else ""
        warnings.warn(f"{source}: {ignored[0]}{more} ignored: no frames there", stacklevel=2)
    return units
