"""Tables of images as Hugging Face `datasets` writes them: Parquet files, or Arrow files of `save_to_disk`.

A row is a frame, or, where its images are a list, an episode. An episode may continue in the next file.

Dimensions: N frames.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.sources.actions import Controls, UnitWithActions, controls_or_reason
from ghostpad.sources.array_keys import FLAGS, IDS, STARTS, find_starts, plain_name
from ghostpad.sources.base import (
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
from ghostpad.sources.columns import (
    Columns,
    decode_cell,
    find_columns,
    image_kind,
    list_lengths,
    read_batches,
    read_schema,
    row_images,
    value_names,
)

_SUFFIXES = (".parquet", ".arrow")


class ImageTables(Source):
    """Parquet or Arrow files with a column of images."""

    name = "Hugging Face tables"
    layout = "`.parquet` files or folders of them (`data/train-00000-of-00002.parquet`), or `save_to_disk`"
    becomes = "an episode between changes of `episode_id` or `done` flags, or per row with a list of images"
    options = ("frames_key", "actions_key", "scene_cut")
    is_episode = True

    def recognizes(self, path: Path) -> bool:
        """Whether `path` is a table or a folder of tables."""
        if path.is_dir():
            return any(any(path.glob(f"*{suffix}")) for suffix in _SUFFIXES)
        return path.suffix.lower() in _SUFFIXES

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """A unit for each run of files that share an episode; only small columns are read."""
        files = [path]
        if path.is_dir():
            files = sorted(filter(self.recognizes, path.iterdir()), key=lambda file: natural_key(file.name))
        groups: list[list[Table]] = []
        for file in files:
            with damage_is_rejected(file, log):
                log.check_link(file, file.parent)
                table = Table.open(file, options)
                if groups and table.continues(groups[-1][-1]):
                    groups[-1].append(table)
                else:
                    groups.append([table])
        units: list[Unit] = []
        for group in groups:
            name, count = group[0].path.name, sum(table.num_rows for table in group)
            stamps = repr([(name, table.path.name, stamp(table.path), table.columns) for table in group])
            tables, cut = tuple(group), options.get("scene_cut")
            own = fingerprint(stamps)
            units.append(TablesUnit(name, own, count, group[0].path, tables, scene_cut=cut))
        return units


@dataclass(frozen=True)
class Table:
    """One file of a table."""

    path: Path
    columns: Columns
    num_rows: int
    has_episodes: bool
    """Whether a row is an episode."""
    first: tuple[Any, ...]
    last: tuple[Any, ...]
    """Values of the columns of borders in the first and last row."""

    @classmethod
    def open(cls, path: Path, options: Mapping[str, Any]) -> "Table":
        """Find the columns of a file; errors as for `find_trajectories`."""
        schema = read_schema(path)
        columns = find_columns(schema, options.get("frames_key"), options.get("actions_key"))
        rows = [row for batch in read_batches(path, list(columns.borders)) for row in batch.to_pylist()]
        num_rows = len(rows) if columns.borders else sum(len(b) for b in read_batches(path, [columns.frames]))
        ends = [tuple(row[name] for name in columns.borders) for row in (rows[:1] + rows[-1:])] or [(), ()]
        ids = [name for name in columns.borders if plain_name(name) in IDS]
        if ids:
            values = [row[ids[0]] for row in rows]
            if 1 + sum(a != b for a, b in pairwise(values)) > len(set(values)):
                raise BadInput(f"mixes episodes: sort its rows by {ids[0]} and frame")
        has_episodes = image_kind(schema.field(columns.frames).type)[1]
        return cls(path, columns, num_rows, has_episodes, ends[0], ends[-1])

    def continues(self, before: "Table") -> bool:
        """Whether the last episode of the file before may go on in this one."""
        columns, split = self.columns, self.path.name.split("-")[0]
        if self.has_episodes or columns != before.columns or split != before.path.name.split("-")[0]:
            return False
        for name, last, first in zip(columns.borders, before.last, self.first, strict=True):
            kind = plain_name(name)
            ended = last if kind in FLAGS else first if kind in STARTS else kind in IDS and last != first
            if ended:
                return False
        return True


@dataclass(frozen=True)
class TablesUnit(UnitWithActions):
    """The frames of files that belong together."""

    tables: tuple[Table, ...]

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the images."""
        name, starts, number = self.tables[0].columns.frames, self._starts(), 0
        for table in self.tables:
            for batch in read_batches(table.path, [name]):
                column = batch.column(0)
                for row in range(len(column)):
                    images = row_images(column.slice(row, 1), table.has_episodes)
                    for place, image in enumerate(images):
                        is_new = place == 0 if table.has_episodes else number in starts
                        decoded = decode_cell(image, table.path, log)
                        yield Frame(self.name, number, *decoded, str(table.path), is_new)
                        number += 1

    def _starts(self) -> set[int]:
        found = set[int]()
        for name in self.tables[0].columns.borders:
            values = np.array([row[name] for table in self.tables for row in _rows(table.path, name)])
            if values.dtype.kind in "OSU":  # texts
                values = np.unique(values, return_inverse=True)[1]
            found |= set(find_starts(plain_name(name), values, len(values)).tolist())
        return found

    def controls(self, episode: str) -> Controls | str | None:
        """See `UnitWithActions`."""
        with damage_is("has actions that cannot be read"):
            return _read_controls(self.tables, tuple(stamp(table.path) for table in self.tables))


@lru_cache(maxsize=2)
def _read_controls(tables: tuple[Table, ...], when: tuple[Any, ...]) -> Controls | str | None:
    name, actions = tables[0].columns.actions, []
    if name is None:
        return None
    for table in tables:
        rows = [row[name] for row in _rows(table.path, name)]
        if table.has_episodes:
            lengths = [
                n for b in read_batches(table.path, [table.columns.frames]) for n in list_lengths(b.column(0))
            ]
            for row, length in zip(rows, lengths, strict=True):
                row = [*row, *row[-1:]] if len(row) == length - 1 else row
                if len(row) != length:
                    return f"actions are {len(row)}, but there are {length} frames"
                actions += row
        else:
            actions += rows
    return controls_or_reason(actions, value_names(read_schema(tables[0].path), name))


def _rows(path: Path, name: str) -> Iterator[dict[str, Any]]:
    for batch in read_batches(path, [name]):
        yield from batch.to_pylist()
