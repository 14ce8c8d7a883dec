"""All recording formats, found by their folder, and how a path finds its format."""

import importlib
import inspect
import os
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ghostpad.errors import UserError
from ghostpad.sources import formats
from ghostpad.sources.base import BadInput, IngestLog, Source, Unit, damage_is, natural_key

_PICKLES = (".pkl", ".pickle", ".pt", ".pth")


def _find_sources() -> Iterator[Source]:
    """One object of every `Source` that a file in `ghostpad/sources/formats` defines."""
    for file in pkgutil.iter_modules(formats.__path__, f"{formats.__name__}."):
        for value in vars(importlib.import_module(file.name)).values():
            if inspect.isclass(value) and issubclass(value, Source) and value.__module__ == file.name:
                yield value()


SOURCES: tuple[Source, ...] = tuple(sorted(_find_sources(), key=lambda source: source.rank))
"""The formats, in the order in which they are asked whether they recognize a path."""


def format_table() -> str:
    """The table of formats in docs/inputs.md, in Markdown."""
    lines = ["| format | what to give | becomes | options | needs |", "|---|---|---|---|---|"]
    for source in sorted(SOURCES, key=lambda source: source.name.lower()):
        flags = ", ".join(f"`--{name.replace('_', '-')}`" for name in source.options)
        needs = f"`pip install {source.needs}`" if source.needs else ""
        lines.append(f"| {source.name} | {source.layout} | {source.becomes} | {flags} | {needs} |")
    return "\n".join(lines)


def list_units(path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
    """List everything in `path` that holds frames: a dataset, a video, or a folder of episodes and videos.

    Raises:
        UserError: `path` is missing, nothing in it can be read, or an option does not apply to it.
    """
    if not path.exists():
        raise UserError(f"{path}: no such folder; record one with: ghostpad record --out {path}")
    source = _recognize(path, SOURCES)
    if source is not None and source.stands_alone:
        used, units = {source}, _list_dataset(path, source, options, log)
    elif path.is_dir():
        used, units = _list_folder(path, options, log)
    elif path.suffix.lower() in _PICKLES:
        raise UserError(f"{path} may hold pickled objects, which could run code; save plain arrays as .npz")
    else:
        raise UserError(f"{path} is of no format that can be read; docs/inputs.md lists them")
    if not units and log.rejected:
        raise UserError(f"{path} holds only damaged files, for example {log.rejected[0].file}; repair them")
    if not units and source is not None:
        raise UserError(f"{path} is itself an episode; give the folder above it, or move it into one")
    if not units:
        known = "folders of images, videos, or files of arrays"
        raise UserError(f"{path} holds no episodes: {known}; docs/inputs.md lists the formats")
    # As text: names of old archives may not be UTF-8.
    units = [replace(unit, name=os.fsencode(unit.name).decode("utf-8", "backslashreplace")) for unit in units]
    for name in options:
        if not any(name in source.options for source in used):
            names = sorted({source.name for source in SOURCES if name in source.options}, key=str.lower)
            formats = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} is for {formats}, and {path} holds none; leave it out")
    return units


def _recognize(path: Path, sources: tuple[Source, ...]) -> Source | None:
    return next((source for source in sources if source.recognizes(path)), None)


def _list_dataset(path: Path, source: Source, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
    try:
        with damage_is("cannot be read"):
            return source.list_units(path, options, log)
    except BadInput as bad:
        raise UserError(f"{path}: {bad}; see docs/inputs.md") from None


def _list_folder(folder: Path, options: Mapping[str, Any], log: IngestLog) -> tuple[set[Source], list[Unit]]:
    """Units of the episodes in `folder`, in natural order, and the formats that they have."""
    used, units = set[Source](), list[Unit]()
    nested = tuple(source for source in SOURCES if source.is_episode)
    for path in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if path.name.startswith("."):
            continue
        source, found = _recognize(path, nested), list[Unit]()
        try:
            log.check_link(path, folder)
        except BadInput as bad:
            log.reject(path.name, path, bad)
            continue
        if source is not None:
            used.add(source)
            found = source.list_units(path, options, log)
        elif path.is_dir() and not path.is_symlink():
            formats, nested_units = _list_folder(path, options, log)
            used |= formats
            found = [replace(unit, name=f"{path.name}/{unit.name}") for unit in nested_units]
        else:
            log.unused(path)
        units += found
    return used, units
