"""Minari dataset folders, read directly: one HDF5 file, or Arrow or Parquet files per episode.

Minari keeps N + 1 observations and N actions per episode. Images are raw, or JPEG (Minari's own default).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from ghostpad.io import read_json
from ghostpad.sources.actions import Controls, UnitWithActions, controls_or_reason
from ghostpad.sources.base import (
    BadInput,
    Frame,
    IngestLog,
    Source,
    Unit,
    choose_camera,
    damage_is,
    fingerprint,
    import_reader,
    natural_key,
    stamps,
)
from ghostpad.sources.pixels import array_colors, image_colors, is_picture

_METADATA = Path("data") / "metadata.json"
_HDF5 = "main_data.hdf5"
_BLOCK = 64  # rows in memory at a time
Keys = tuple[str, ...]  # keys that lead from the observations to an image


class MinariDataset(Source):
    """A Minari dataset."""

    name = "Minari datasets"
    layout = "the folder with `data/metadata.json`; HDF5, Arrow or Parquet"
    becomes = "its episodes and actions"
    needs = "h5py"
    rank = 0
    options = ("camera",)

    def recognizes(self, path: Path) -> bool:
        """Whether `path` has the metadata file of the format."""
        return (path / _METADATA).is_file()

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """The episodes of the dataset."""
        data = path / _METADATA.parent
        space = read_json(path / _METADATA).get("observation_space")
        shapes = _images_of_space(json.loads(space) if isinstance(space, str) else space or {})
        if (data / _HDF5).exists():
            with import_reader("h5py", path).File(data / _HDF5, "r") as file:
                groups = sorted((str(name) for name in file), key=natural_key)
                shapes = shapes or _images_of_group(file[groups[0]]["observations"])
                counts = [1 + int(file[group].attrs.get("total_steps", 0)) for group in groups]
            episodes = [(group, data / _HDF5, group) for group in groups]
        else:
            folders = [path for path in data.iterdir() if path.is_dir()]
            folders.sort(key=lambda path: natural_key(path.name))
            counts = [_announced_frames(folder) for folder in folders]
            episodes = [(f"episode_{folder.name}", folder, "") for folder in folders]
        cameras = {".".join(keys) or "observations": keys for keys in shapes}
        keys = cameras[choose_camera(path, list(cameras), options.get("camera"))]
        units: list[Unit] = []
        for (name, place, group), count in zip(episodes, counts, strict=True):
            own = fingerprint(repr([name, keys, stamps(place)]))
            units.append(MinariUnit(name, own, count, place, group, keys, shapes[keys]))
        return units


@dataclass(frozen=True)
class MinariUnit(UnitWithActions):
    """One episode of a Minari dataset."""

    group: str
    """Name of the episode in the HDF5 file; empty for Arrow and Parquet, where `path` is its folder."""
    camera: Keys
    shape: tuple[int, ...] | None
    """Shape of an image, from the observation space; None when the dataset does not declare it."""

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the episode."""
        for number, value in enumerate(self.values("observations", self.camera)):
            yield Frame(self.name, number, *_colors(value, self.shape, log), str(self.path))

    def controls(self, episode: str) -> Controls | str | None:
        """See `UnitWithActions`."""
        return _read_controls(self)

    def values(self, column: str, keys: Keys) -> Iterator[Any]:
        """The rows of a column, a block at a time in memory."""
        if self.group:
            with import_reader("h5py", self.path).File(self.path, "r") as file:
                node = file[self.group][column]
                for key in keys:
                    node = node[key if key in node else f"_index_{key}"]  # the latter in tuples
                yield from _hdf5_rows(node)
            return
        kind = "parquet" if any(self.path.glob("*.parquet")) else "arrow"
        files = sorted(str(path) for path in self.path.glob(f"*.{kind}"))
        for batch in pads.dataset(files, format=kind).to_batches(columns=[column], batch_size=_BLOCK):
            array = batch.column(0)
            for key in keys:
                array = array.field(key)
            if pa.types.is_fixed_size_list(array.type):
                yield from np.asarray(array.flatten()).reshape(len(array), -1)
            else:
                yield from (value.as_py() for value in array)


def _hdf5_rows(node: Any) -> Iterator[Any]:
    """The rows of an array, a block at a time; of a group (a Dict or Tuple space) mappings."""
    if hasattr(node, "items"):
        rows = zip(*(_hdf5_rows(part) for part in node.values()), strict=True)
        yield from (dict(zip(node, row, strict=True)) for row in rows)
        return
    for start in range(0, len(node), _BLOCK):
        yield from node[start : start + _BLOCK]


@lru_cache(maxsize=2)
def _read_controls(unit: MinariUnit) -> Controls | str:
    with damage_is("has actions that cannot be read"):
        actions = list(unit.values("actions", ()))
        while actions and actions[-1] is None:  # padded to the number of observations
            actions.pop()
        return controls_or_reason(actions)


def _colors(value: Any, shape: tuple[int, ...] | None, log: IngestLog) -> tuple[np.ndarray, bool]:
    """Colours of one observation, raw or encoded, and whether it is gray; errors as for `array_colors`."""
    array = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.asarray(value)
    if array.ndim == 1 and shape is not None and array.size == np.prod(shape):
        array = array.reshape(shape)
    if array.ndim == 1 and array.dtype == np.uint8:
        return image_colors(array.tobytes(), log, ("JPEG", "PNG"))
    return array_colors(array, log)


def _announced_frames(folder: Path) -> int:
    """Number of frames by the metadata of an episode, for the progress bar and the disk space needed."""
    path = folder / _METADATA.name
    return 1 + int(read_json(path)["total_steps"]) if path.exists() else 0


def _images_of_space(space: dict[str, Any], keys: Keys = ()) -> dict[Keys, tuple[int, ...] | None]:
    """Shapes of the images in a serialized observation space."""
    parts = space.get("subspaces")
    if parts is not None:
        named = parts.items() if isinstance(parts, dict) else ((str(i), part) for i, part in enumerate(parts))
        return {k: shape for key, part in named for k, shape in _images_of_space(part, (*keys, key)).items()}
    if space.get("type") != "Box":
        return {}
    shape = tuple(space["shape"])
    return {keys: shape} if is_picture(shape, space["dtype"], space.get("low"), space.get("high")) else {}


def _images_of_group(node: Any, keys: Keys = ()) -> dict[Keys, tuple[int, ...] | None]:
    """Images among the observations of an HDF5 file that does not declare its space."""
    if hasattr(node, "items"):
        return {k: None for key, part in node.items() for k in _images_of_group(part, (*keys, key))}
    if node.dtype != object:
        return {keys: None} if is_picture(node.shape[1:], node.dtype) else {}
    try:
        with damage_is("holds no image"):
            _colors(node[0], None, IngestLog("fail"))
    except BadInput:
        return {}
    return {keys: None}
