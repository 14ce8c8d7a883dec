"""Find out what a recording is, and list what has to be decoded."""

import warnings
from pathlib import Path

from ghostpad.errors import UserError
from ghostpad.frames.episodes import natural_key, scan_episode
from ghostpad.frames.faults import Faults
from ghostpad.frames.store import is_store
from ghostpad.frames.units import Unit


def list_units(source: Path, faults: Faults) -> list[Unit]:
    """List everything in `source` that holds frames, episodes in natural order.

    Raises:
        UserError: the folder is missing, or there is nothing in it that can be read.
    """
    if is_store(source):
        raise UserError(f"{source} is a frame store already; give it to --data as it is")
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; record one with: ghostpad record --out {source}")
    units = _list_folder(source, faults)
    if not units:
        raise UserError(
            f"{source} holds no episodes, that is folders with 0.png, 1.png, …; see docs/inputs.md"
        )
    return units


def _list_folder(source: Path, faults: Faults) -> list[Unit]:
    root = source.resolve()
    units: list[Unit] = []
    ignored = []
    for path in sorted(source.iterdir(), key=lambda path: natural_key(path.name)):
        name = path.name
        found = [] if name.startswith(".") or not path.is_dir() else scan_episode(path, root, faults)
        units += found
        if not found and not name.startswith("."):
            ignored.append(name)
    if not units and any(name.lower().endswith(".png") for name in ignored):
        raise UserError(f"{source} is itself an episode; give the folder above it, or move it into one")
    if ignored and units:
        more = f" and {len(ignored) - 1} more" if len(ignored) > 1 else ""
        warnings.warn(f"{source}: {ignored[0]}{more} ignored: no frames there", stacklevel=2)
    return units
