"""The registry: a recording format is one file with one source, found by its folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostpad.errors import UserError
from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.sources import formats, registry
from ghostpad.sources.base import BadInput, Frame, IngestLog, Source, Unit, damage_is
from ghostpad.sources.colors import pack_colors
from recordings import noise, write_pngs


class NumpyArray(Source):
    """The smallest format: frames (N, H, W, 3) in one `.array` file, which is one episode."""

    name = "NumPy arrays"
    layout, becomes = "a .array file", "an episode"
    is_episode = True

    def recognizes(self, path: Path) -> bool:
        return path.suffix == ".array"

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        status = path.stat()
        return [NumpyUnit(path.name, f"{status.st_size} {status.st_mtime_ns}", 0, path)]


@dataclass(frozen=True)
class NumpyUnit(Unit):
    def frames(self, log: IngestLog) -> Iterator[Frame]:
        for number, pixels in enumerate(np.load(self.path)):
            yield Frame(self.name, number, pack_colors(pixels), False, str(self.path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A PNG episode between two NumPy arrays."""
    folder = write_pngs(tmp_path / "in", {"b": noise(4, seed=1)})
    for seed, name in ((0, "a"), (2, "c")):
        with (folder / f"{name}.array").open("wb") as file:
            np.save(file, noise(4, seed=seed))
    return folder


def test_every_file_in_the_folder_of_formats_is_one_format() -> None:
    files = [path.stem for path in Path(formats.__file__).parent.glob("*.py") if path.stem != "__init__"]
    assert sorted(type(source).__module__.rpartition(".")[2] for source in registry.SOURCES) == sorted(files)


def test_the_table_of_formats_in_the_documentation_is_printed_from_the_registry() -> None:
    text = (Path(__file__).parent.parent / "docs" / "inputs.md").read_text(encoding="utf-8")
    assert f"## Formats\n\n{registry.format_table()}\n" in text, "print(registry.format_table()) gives it"


def test_a_new_format_needs_one_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match=r"a\.array and 1 more were not taken"):
        assert len(ingest(IngestConfig(folder, folder.parent / "without")).episodes) == 1
    monkeypatch.setattr(registry, "SOURCES", (*registry.SOURCES, NumpyArray()))
    store = ingest(IngestConfig(folder))
    assert [episode.name for episode in store.episodes] == ["a.array", "b", "c.array"]
    for index in range(3):
        expected = np.stack(noise(4, seed=index)).transpose(0, 3, 1, 2)
        assert np.array_equal(store.read(index, np.arange(4), grayscale=False), expected)


def test_a_folder_that_cannot_be_listed_is_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Iterator[Any]:
        if Path(path) == folder / "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    from ghostpad.sources.formats import images

    scandir = images.os.scandir
    monkeypatch.setattr(images.os, "scandir", refuse)
    with pytest.raises(UserError, match=r"in/b: cannot be read \(Permission denied\)"):
        ingest(IngestConfig(folder))


def test_any_error_while_parsing_becomes_one_line() -> None:
    for error in (KeyError("fps"), OSError(5, "Input/output error"), RuntimeError("two\nlines")):
        with pytest.raises(BadInput) as caught, damage_is("cannot be read"):
            raise error
        assert str(caught.value).startswith("cannot be read (")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"^choose one$"), damage_is("cannot be read"):
        raise UserError("choose one")
