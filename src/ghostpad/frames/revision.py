"""From the store as it was to the store as it will be: files first, the manifest last and at once.

Whenever an ingest is killed, the old manifest or the new one is there, and all that it names.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.assemble import (
    Coding,
    Draft,
    choose_coding,
    recode_file,
    recoding,
    write_episode,
)
from ghostpad.frames.manifest import MANIFEST, REJECTED, VERSION, read_rejected
from ghostpad.frames.old import Old
from ghostpad.frames.splits import Splitting, find_originals
from ghostpad.io import write_json
from ghostpad.sources.faults import BadInput, Faults, Rejected
from ghostpad.sources.pieces import HEADER_BYTES, palette_rgb
from ghostpad.sources.units import Fit, Unit


class Revision:
    """The next state of a store, prepared in a folder beside it."""

    def __init__(self, old: Old, folder: Path, units: list[Unit], fit: Fit, faults: Faults) -> None:
        """Begin with what stays from the old state.

        Args:
            old: the state before.
            folder: where new files are prepared.
            units: all that the store will hold, in order.
            fit: size of the frames.
            faults: collects what is wrong beside the frames.
        """
        self._old, self._folder, self._fit, self._faults = old, folder, fit, faults
        self._units = {unit.name: unit for unit in units}
        rows = old.manifest.get("episodes", [])
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in self._units}
        for row in rows:
            if row["unit"] in self._units and old.has(self._units[row["unit"]]):
                self._rows[row["unit"]].append(row)
        self._next = 1 + max((int(row["file"]) for row in rows), default=-1)

    def add(self, drafts: list[Draft]) -> Coding:
        """Write new episodes, all episodes in the coding that suits them all; returns that coding."""
        kept = [row for rows in self._rows.values() for row in rows]
        coding = choose_coding(
            [piece for draft in drafts for piece in draft.pieces], self._old.coding if kept else None
        )
        old_coding = self._old.coding
        if kept and old_coding is not None and recoding(old_coding.palette, coding) is not None:
            for row in kept:
                self._recode(row, old_coding, coding)
        for draft in drafts:
            stem = self._stem()
            write_episode(draft, self._folder / f"{stem}.npy", coding, self._fit.height, self._fit.width)
            self._rows[draft.unit].append(self._describe(draft, stem))
        return coding

    def publish(
        self, coding: Coding, splitting: Splitting, options: dict[str, Any], rejected: list[Rejected]
    ) -> None:
        """Write the manifest and put everything in its place."""
        rows = [row for name in self._units for row in self._rows[name]]
        if not rows:
            raise UserError("there is no frame that can be read; see docs/inputs.md")
        first_frames, lengths = [row["first_frame"] for row in rows], [row["num_frames"] for row in rows]
        originals = find_originals(
            first_frames, lengths, lambda episode, frame: self._read(rows[episode], frame, coding)
        )
        splits = splitting.assign([row["name"] for row in rows], originals)
        for row, split in zip(rows, splits, strict=True):
            row["split"] = split
        manifest = {
            "version": VERSION,
            "height": self._fit.height,
            "width": self._fit.width,
            "encoding": coding.encoding,
            "colors": palette_rgb(coding.colors).tolist(),
            "fingerprint": _fingerprint(self._fit, rows),
            "options": options,
            "splitting": {"seed": splitting.seed, "own": splitting.own},
            "units": {name: unit.state for name, unit in self._units.items()},
            "episodes": rows,
        }
        self._write_rejected(rejected)
        if self._old.manifest:
            self._replace(manifest)
        else:
            write_json(self._folder / MANIFEST, manifest)
            self._folder.rename(self._old.path)

    def _stem(self) -> str:
        self._next += 1
        return f"{self._next - 1:06d}"

    def _describe(self, draft: Draft, stem: str) -> dict[str, Any]:
        """The manifest's row for a new episode; writes what is known beside its frames."""
        unit, count = self._units[draft.unit], draft.num_frames
        try:
            metadata, truth = (
                unit.metadata(draft.pieces[0].episode, draft.start, count),
                unit.truth(draft.start, count),
            )
        except BadInput as bad:
            self._faults.add(Rejected(draft.unit, unit.source(), None, str(bad)))
            metadata = truth = None
        if metadata is not None:
            (self._folder / f"{stem}.json").write_text(json.dumps(metadata), encoding="utf-8")
        if truth is not None:
            np.savez(self._folder / f"{stem}.truth.npz", allow_pickle=False, **truth)
        return {
            "name": draft.name,
            "num_frames": count,
            "source": unit.source(),
            "split": "",
            "sha256": draft.sha256,
            "first_frame": draft.pieces[0].first.hex(),
            "still": draft.num_still,
            "unit": draft.unit,
            "file": stem,
        }

    def _recode(self, row: dict[str, Any], old: Coding, new: Coding) -> None:
        before, row["file"] = row["file"], self._stem()
        size = (self._fit.height, self._fit.width)
        source, target = self._old.path / before, self._folder / row["file"]
        recode_file(
            source.with_suffix(".npy"), target.with_suffix(".npy"), old, new, (row["num_frames"], *size)
        )
        for suffix in (".json", ".truth.npz"):
            if source.with_suffix(suffix).exists():
                shutil.copyfile(source.with_suffix(suffix), target.with_suffix(suffix))

    def _read(self, row: dict[str, Any], frame: int, coding: Coding) -> bytes:
        """Bytes of a frame, wherever the file of its episode lies for now."""
        path = self._folder / f"{row['file']}.npy"
        path = path if path.exists() else self._old.path / path.name
        size = self._fit.height * self._fit.width * coding.pixel_bytes
        with path.open("rb") as file:  # not a memory map, whose pages would count as memory of this process
            file.seek(HEADER_BYTES + frame * size)
            return file.read(size)

    def _write_rejected(self, rejected: list[Rejected]) -> None:
        """List what was left out, now and in those earlier ingests whose episodes stay."""
        rows = [vars(fault) for fault in rejected]
        fresh = {row["unit"] for row in rows}
        stays = {name for name, unit in self._units.items() if self._old.has(unit)} - fresh
        rows += [row for row in read_rejected(self._old.path) if row.get("unit") in stays]
        if rows:
            write_json(self._folder / REJECTED, rows)

    def _replace(self, manifest: dict[str, Any]) -> None:
        any_rejected = (self._folder / REJECTED).exists()
        for file in self._folder.iterdir():
            file.replace(self._old.path / file.name)
        write_json(self._old.path / MANIFEST, manifest)
        if not any_rejected:
            (self._old.path / REJECTED).unlink(missing_ok=True)
        Old(self._old.path, manifest).remove_unused()


def _fingerprint(fit: Fit, rows: list[dict[str, Any]]) -> str:
    """Hash of everything that a model could see."""
    content = [fit.height, fit.width, [(row["name"], row["num_frames"], row["sha256"]) for row in rows]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
