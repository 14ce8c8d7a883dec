"""What is at the place of a store before an ingest: nothing, or the store as it was."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostpad.errors import UserError
from ghostpad.frames.assemble import Coding
from ghostpad.frames.manifest import read_manifest
from ghostpad.frames.splits import Splitting
from ghostpad.frames.store import FrameStore
from ghostpad.sources.registry import MANIFEST, is_store
from ghostpad.sources.units import Unit


@dataclass(frozen=True)
class Old:
    """What is at the place of the store before an ingest: nothing, or an earlier state of it."""

    path: Path
    manifest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, out: Path, options: dict[str, Any]) -> "Old":
        """Read the store at `out`, if there is one.

        Raises:
            UserError: `out` holds something else, or a store that was made with other options.
        """
        if not is_store(out):
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise UserError(
                    f"{out} holds something that is no frame store; choose another place with --out"
                )
            return cls(out)
        FrameStore.open(out)  # which refuses a damaged one
        old = cls(out, read_manifest(out))
        old._require(options)
        return old

    def _require(self, options: dict[str, Any]) -> None:
        manifest = self.manifest
        try:
            made_with, _ = dict(manifest["options"]), dict(manifest["units"])
            _ = (
                self.splitting,
                self.coding,
                [row["unit"] + row["first_frame"] for row in manifest["episodes"]],
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"{self.path / MANIFEST}: damaged; delete {self.path} and ingest again") from None
        for name, value in options.items():
            if made_with.get(name) != value:
                was = f"{self.path} was made with {name} = {made_with.get(name)}, not {value}"
                raise UserError(f"{was}; choose another --out, or delete it")

    @property
    def coding(self) -> Coding | None:
        """How its frames are written; None if there is no store."""
        if not self.manifest:
            return None
        colors = self.manifest["colors"]
        return Coding(
            self.manifest["encoding"], tuple(red | green << 8 | blue << 16 for red, green, blue in colors)
        )

    @property
    def splitting(self) -> Splitting:
        """How its episodes were split."""
        return Splitting(**self.manifest.get("splitting", {}))

    def has(self, unit: Unit) -> bool:
        """Whether `unit` was ingested already and has not changed since."""
        return self.manifest.get("units", {}).get(unit.name) == unit.state

    def remove_unused(self) -> None:
        """Remove files that the manifest does not name: of episodes that are gone, or of a killed ingest."""
        used = {row["file"] for row in self.manifest.get("episodes", [])}
        for file in self.path.iterdir() if self.manifest else ():
            stem = file.name.split(".")[0]
            if stem.isdecimal() and stem not in used:
                file.unlink()
        for left in self.path.parent.glob(f".{self.path.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)

    def is_of_others(self, units: list[Unit]) -> bool:
        """Whether there is a store, and it shares no episode with `units`."""
        return bool(self.manifest) and not any(unit.name in self.manifest["units"] for unit in units)

    def is_current(self, units: list[Unit], splitting: Splitting) -> bool:
        """Whether nothing at all is to be done."""
        states = {unit.name: unit.state for unit in units}
        return bool(self.manifest) and self.manifest["units"] == states and self.splitting == splitting
