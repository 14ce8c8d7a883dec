"""The tables of docs/inputs.md, each row of which is a test, and the checks that these tests share."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostpad.errors import UserError
from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.frames.store import FrameStore

Case = Callable[..., None]
SPLIT_AT_3 = {"a": 6, "b": 3, "b@4": 2, "c": 6}
"""Lengths of the episodes of the `source` fixture without frame 3 of episode b."""


def table(heading: str) -> dict[str, str]:
    """The first two cells of each row of the table under `heading`."""
    text = (Path(__file__).parent.parent / "docs" / "inputs.md").read_text(encoding="utf-8")
    lines = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: row[1] for row in rows[2:]}


RECORDINGS, PROBLEMS = table("Recordings"), table("Rejected input")


class Rows:
    """The tests of a table, by row."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}

    def __call__(self, name: str) -> Callable[[Case], Case]:
        """Register the test of a row."""

        def register(case: Case) -> Case:
            self.cases[name] = case
            return case

        return register

    def run(self, row: str, /, **fixtures: object) -> None:
        """Run a test with those of the fixtures that it takes."""
        case = self.cases[row]
        case(**{key: value for key, value in fixtures.items() if key in case.__annotations__})


def lengths(store: FrameStore) -> dict[str, int]:
    return {episode.name: episode.num_frames for episode in store.episodes}


def fingerprint(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pattern(name: str) -> str:
    """The message that the table states for a problem, as a regular expression."""
    return ".*".join(re.escape(part) for part in PROBLEMS[name].strip("`").split("…"))


def fails(name: str, source: Path, **options: object) -> None:
    """Ingest fails with the message of the table, leaves no file behind, and does not touch the source."""
    before, around = fingerprint(source) if source.is_dir() else {}, set(source.parent.iterdir())
    with pytest.raises(UserError) as mistake:
        ingest(IngestConfig(source, **options))  # type: ignore[arg-type]
    assert re.fullmatch(pattern(name), str(mistake.value)), str(mistake.value)
    assert set(source.parent.iterdir()) == around
    assert not source.is_dir() or fingerprint(source) == before


def skips(source: Path, kept: dict[str, int], reason: str, frame: int | None = 3) -> FrameStore:
    """Ingest with `--on-bad skip` keeps episodes of these lengths; `rejected.json` names the problem."""
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert lengths(store) == kept
    rejected = json.loads((store.path / "rejected.json").read_text())
    assert [(row["frame"], reason in row["reason"]) for row in rejected] == [(frame, True)]
    assert Path(rejected[0]["file"]).is_relative_to(source)
    return store
