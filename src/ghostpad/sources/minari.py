"""Frames from a Minari dataset folder, read directly: one HDF5 file, or Arrow or Parquet files per episode.

Minari keeps N + 1 observations and N actions per episode. Pictures are raw, or JPEG (Minari's own default).
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.sources.episodes import natural_key
from ghostpad.sources.faults import BadInput, Faults, Rejected
from ghostpad.sources.units import MAX_SIDE, Frame, Notice, Unit, gray_to_colors, rgb_to_colors

METADATA = Path("data") / "metadata.json"
_HDF5 = "main_data.hdf5"
_BLOCK = 64
_JPEG = "the pictures are JPEG, which has changed their colours already: use jpeg_encoding=False if you can"
# what json, h5py and pyarrow raise for files that are damaged or of another form
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, OSError, RuntimeError, MemoryError,
           OverflowError, pa.ArrowException)  # fmt: skip


@dataclass(frozen=True)
class MinariUnit(Unit):
    """One episode of a Minari dataset."""

    path: Path
    """The HDF5 file, or the folder of the episode."""
    group: str
    """Name of the episode in the HDF5 file; empty for Arrow and Parquet."""
    camera: tuple[str, ...]
    """Keys that lead from the observations to the pictures."""
    shape: tuple[int, ...] | None
    """Shape of a picture, from the observation space; None when the space is not told."""

    def frames(self) -> Iterator[Frame | Rejected | Notice]:
        """Decode the episode."""
        number, told = 0, False
        try:
            for value in self._values("observations", self.camera):
                picture, is_jpeg = _picture(value, self.shape)
                if is_jpeg and not told:
                    told = True
                    yield Notice(_JPEG)
                gray = picture.ndim == 2
                colors = gray_to_colors(picture) if gray else rgb_to_colors(picture)
                yield Frame(self.name, number, colors, gray, str(self.path))
                number += 1
        except BadInput as bad:
            yield Rejected(self.name, str(self.path), number, str(bad))
        except _DAMAGE as error:
            yield Rejected(self.name, str(self.path), number, f"cannot be read ({_brief(error)})")

    def source(self) -> str:
        """The file or folder."""
        return str(self.path)

    def metadata(self, episode: str, start: int, num_frames: int) -> dict[str, Any] | None:
        """The actions as controls, when they are single whole numbers."""
        try:
            actions = list(self._values("actions", ()))[start : start + num_frames - 1]
        except _DAMAGE as error:
            raise BadInput(f"has actions that cannot be read ({_brief(error)})") from None
        if len(actions) != num_frames - 1 or not all(_is_control(action) for action in actions):
            return None
        return {"controls": [int(action) for action in actions]}

    def _values(self, column: str, keys: tuple[str, ...]) -> Iterator[Any]:
        """The rows of a column, a block at a time in memory."""
        if self.group:
            with _h5py().File(self.path, "r") as file:
                node = file[self.group][column]
                for key in keys:
                    node = node[key]
                for start in range(0, len(node), _BLOCK):
                    yield from node[start : start + _BLOCK]
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


def _picture(value: Any, shape: tuple[int, ...] | None) -> tuple[np.ndarray, bool]:
    """One observation as (H, W) or (H, W, 3) uint8, and whether it was JPEG."""
    encoded = value if isinstance(value, bytes) else np.asarray(value, np.uint8)
    if isinstance(encoded, np.ndarray):
        if encoded.ndim == 1 and shape is not None and encoded.size == np.prod(shape):
            encoded = encoded.reshape(shape)
        if encoded.ndim == 3 and encoded.shape[2] == 1:
            encoded = encoded[..., 0]
        if encoded.ndim == 2 or (encoded.ndim == 3 and encoded.shape[2] == 3):
            return encoded, False
        encoded = encoded.tobytes()
    try:
        with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
            if max(image.size) > MAX_SIDE:
                raise BadInput(f"is larger than {MAX_SIDE}x{MAX_SIDE}")
            return np.asarray(image if image.mode == "L" else image.convert("RGB")), image.format == "JPEG"
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"holds no picture ({_brief(error)})") from None


def _is_control(action: Any) -> bool:
    return isinstance(action, int | np.integer) and not isinstance(action, bool) and 0 <= int(action) <= 127


def scan_minari(root: Path, camera: str | None, faults: Faults) -> list[MinariUnit]:
    """List the episodes of the dataset at `root`.

    Raises:
        UserError: the dataset is damaged, or `camera` does not decide between several.
    """
    data = root / METADATA.parent
    try:
        space = json.loads((root / METADATA).read_text(encoding="utf-8")).get("observation_space")
        pictures = _pictures_of_space(json.loads(space) if isinstance(space, str) else space or {})
        if (data / _HDF5).exists():
            with _h5py().File(data / _HDF5, "r") as file:
                groups = sorted((str(name) for name in file), key=natural_key)
                pictures = pictures or _pictures_of_group(file[groups[0]]["observations"])
                counts = [1 + int(file[group].attrs.get("total_steps", 0)) for group in groups]
            places = [(data / _HDF5, group) for group in groups]
        else:
            folders = sorted(
                (path for path in data.iterdir() if path.is_dir()), key=lambda path: natural_key(path.name)
            )
            places, counts = [(folder, "") for folder in folders], [_count(folder) for folder in folders]
    except _DAMAGE as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{root}: not a readable Minari dataset ({_brief(error)}); see docs/inputs.md"
        ) from None
    keys = _choose(root, pictures, camera)
    units = []
    for (path, group), count in zip(places, counts, strict=True):
        name = group or f"episode_{path.name}"
        state = hashlib.sha256(repr([name, keys, _stamps(path)]).encode()).hexdigest()
        units.append(MinariUnit(name, state, count, path, group, keys, pictures[keys]))
    del faults
    return units


def _count(folder: Path) -> int:
    """Frames of an episode, as its metadata tell; only the progress bar and the space needed depend on it."""
    path = folder / METADATA.name
    return 1 + int(json.loads(path.read_text(encoding="utf-8"))["total_steps"]) if path.exists() else 0


def _pictures_of_space(space: dict[str, Any], keys: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Keys and shapes of the pictures in a serialized observation space."""
    if space.get("type") == "Dict":
        found = {}
        for key, part in space["subspaces"].items():
            found |= _pictures_of_space(part, (*keys, key))
        return found
    shape = tuple(space.get("shape") or ())
    is_picture = space.get("dtype") == "uint8" and (
        len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    )
    return {keys: shape} if is_picture else {}


def _pictures_of_group(node: Any, keys: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Keys of the pictures among the observations of an HDF5 file that does not tell its space."""
    if hasattr(node, "items"):
        found = {}
        for key, part in node.items():
            found |= _pictures_of_group(part, (*keys, key))
        return found
    try:
        _picture(node[0], None)
    except (BadInput, *_DAMAGE):
        return {}
    return {keys: None}


def _choose(root: Path, pictures: dict[tuple[str, ...], Any], camera: str | None) -> tuple[str, ...]:
    names = {".".join(keys) or "observations": keys for keys in pictures}
    if camera is None and len(names) == 1:
        return next(iter(names.values()))
    if camera in names:
        return names[camera]
    if not names:
        raise UserError(f"{root}: this dataset has no pictures among its observations; see docs/inputs.md")
    which = "" if camera is None else f"no camera {camera}; "
    raise UserError(f"{root}: {which}choose one with --camera: {', '.join(names)}")


def _stamps(path: Path) -> list[tuple[str, int, int]]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError(
            "this Minari dataset is an HDF5 file; install its reader with: pip install h5py"
        ) from None
    return h5py


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:100]
