"""What a recording format provides: a `Source` lists the units of a recording, a `Unit` decodes frames.

The flow: `registry.list_units` asks each format whether it recognizes a path. The `Source` that does lists
`Unit`s without decoding anything. Workers decode these into `Frame`s, which `ghostpad.frames` stores.
To add a format, subclass `Source` and `Unit` in a new file in `formats/`; the registry finds it there.
The functions at the end are shared by several formats.
"""

import hashlib
import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from ghostpad.errors import UserError
from ghostpad.sources.branches import Branches
from ghostpad.sources.colors import is_scene_cut

IMAGE_FORMATS: dict[str, tuple[str, ...] | None] = {".png": ("PNG",)}
IMAGE_FORMATS |= dict.fromkeys((".jpg", ".jpeg"), ("JPEG", "MPO"))
IMAGE_FORMATS |= dict.fromkeys((".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".tga", ".jp2", ".avif"))
"""By suffix of an image file: Pillow's names of the formats that it may hold, None for any."""
MAX_SIDE = 4096  # largest height and width of a frame, in pixels
_NTSC_ROUNDING = Fraction(1, 2000)  # 23.976, 29.97 and 59.94 are written with two or three digits
OnBad = Literal["fail", "skip"]


class BadInput(Exception):
    """Input that cannot be used. The message continues a sentence about its file: "is truncated"."""


@contextmanager
def damage_is(problem: str) -> Iterator[None]:
    """Turn any error into a `BadInput` that states `problem`; a `BadInput` or `UserError` passes as it is.

    Third-party parsers (zipfile, pyarrow, h5py, FFmpeg, Pillow) raise almost anything on damaged bytes.
    """
    try:
        yield
    except (BadInput, UserError):
        raise
    except Exception as error:
        reason = str(getattr(error, "strerror", None) or f"{type(error).__name__}: {error}")
        raise BadInput(f"{problem} ({reason.splitlines()[0][:100]})") from None


@contextmanager
def damage_is_rejected(path: Path, log: "IngestLog") -> Iterator[None]:
    """Reject a file whose frames cannot be found, and go on after the block; a UserError names the file."""
    try:
        with damage_is("cannot be read"):
            yield
    except BadInput as bad:
        log.reject(path.name, path, bad)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


@dataclass(frozen=True)
class Rejected:
    """A frame or file that was left out."""

    unit: str
    file: str
    frame: int | None
    """Number of the frame in its episode, None when the whole file is meant."""
    reason: str


@dataclass
class IngestLog:
    """Collects rejected input and notices; with `on_bad="fail"` the first rejection is an error."""

    on_bad: OnBad
    follow_links: bool = False
    rejected: list[Rejected] = field(default_factory=list)
    notices: set[str] = field(default_factory=set)
    """What a frame store does not keep, or keeps changed, a sentence each."""
    unused_files: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Record what a frame store does not keep; however often it happens, it is said once."""
        self.notices.add(text)

    def check_link(self, path: Path, root: Path) -> None:
        """Raise a BadInput for a link that leads out of a recording, unless such links are read.

        The cache of the Hugging Face hub keeps files in `blobs/`, linked from `snapshots/<commit>/`.
        """
        target, root = path.resolve(), root.resolve()
        hubs = (parent.parent / "blobs" for parent in (root, *root.parents) if parent.name == "snapshots")
        if not self.follow_links and not any(target.is_relative_to(place) for place in (root, *hubs)):
            raise BadInput("is a link that leads out of the recording; --follow-links reads it")

    def unused(self, path: Path | str) -> None:
        """Record a file that holds no frames and is not taken."""
        self.unused_files.append(str(path))

    def summary(self) -> list[str]:
        """All notices, and how much was left out and what for example."""
        lines = sorted(self.notices)
        if self.unused_files:
            lines.append(f"{_count(self.unused_files)} not taken: no frames there")
        if self.rejected:
            count = _count([each.file for each in self.rejected])
            lines.append(f"{count} left out ({self.rejected[0].reason}); see rejected.json")
        return lines

    def reject(self, unit: str, file: Path | str, reason: BadInput | str, frame: int | None = None) -> None:
        """Record that a file, or one frame of it, is left out; a UserError if `on_bad` is "fail"."""
        if self.on_bad == "fail":
            named = frame is None or Path(file).suffix.lower() in IMAGE_FORMATS
            what = reason if named else f"frame {frame} {reason}"
            raise UserError(f"{file}: {what}; repair it, or leave it out with --on-bad skip")
        self.rejected.append(Rejected(unit, str(file), frame, str(reason)))


def _count(files: list[str]) -> str:
    return f"{files[0]} and {len(files) - 1} more were" if len(files) > 1 else f"{files[0]} was"


class Frame(NamedTuple):
    """A decoded frame."""

    episode: str
    number: int
    """Its number in the episode; a gap in the numbers starts a new episode."""
    colors: np.ndarray
    """(H, W) uint32, each `red | green << 8 | blue << 16`."""
    gray: bool
    """Whether the source has no colour at all."""
    file: str
    """File it was decoded from, for error messages."""
    starts_episode: bool = False
    """Whether a new episode starts here although the numbers are consecutive (a scene cut)."""


@dataclass(frozen=True)
class Unit(ABC):
    """Frames that one worker decodes in one go. Small and picklable: files are opened in the worker."""

    name: str
    """Name of the episode or file, unique in its recording."""
    fingerprint: str
    """Changes whenever the files behind `name` change; until then they are not read again."""
    num_frames: int
    """Expected number of frames (an estimate for some videos)."""
    path: Path
    """The file or folder that holds the frames."""
    fps: Fraction | None = field(default=None, kw_only=True)
    """Frames per second, None where the recording does not say."""
    scene_cut: float | None = field(default=None, kw_only=True)
    """Start a new episode where the mean brightness (0 to 1) changes by more than this."""

    @abstractmethod
    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the frames in order; `log` collects frames that are left out and notices.

        Any error but `UserError` is taken for damage of everything from there on.
        """

    def decode(self, log: IngestLog) -> Iterator[Frame]:
        """The frames up to the first error, which is logged; cut where the scene changes."""
        number, before = 0, None
        try:
            with damage_is("cannot be read"):
                for frame in self.frames(log):
                    cut = is_scene_cut(before, frame.colors, self.scene_cut)
                    number, before = frame.number + 1, frame.colors
                    yield frame._replace(starts_episode=True) if cut else frame
        except BadInput as bad:
            log.reject(self.name, self.path, bad, number)

    def metadata(self, episode: str, start: int, num_frames: int) -> dict[str, Any] | None:
        """Metadata of `num_frames` frames from `start` on, as in `episode.json`; BadInput if damaged."""
        return None

    def truth(self, start: int, num_frames: int) -> dict[str, np.ndarray] | None:
        """The true state of the game in these frames, as in `truth.npz`; errors as for `metadata`."""
        return None

    def branches(self, start: int, num_frames: int) -> Branches | None:
        """The branches of these frames, as in `branches.npz`; errors as for `metadata`."""
        return None


class Source(ABC):
    """A recording format."""

    name: ClassVar[str]
    """What messages call it, in the plural."""
    layout: ClassVar[str]
    """What to give to `ghostpad ingest`, for the table in docs/inputs.md."""
    becomes: ClassVar[str]
    """What the frame store holds then, for the same table."""
    needs: ClassVar[str] = ""
    """Package that reads it, when the dependencies of Ghostpad do not."""
    rank: ClassVar[int] = 1
    """Formats of lower rank are asked first: 0 for those that a file of metadata identifies."""
    options: ClassVar[tuple[str, ...]] = ()
    """Options of `ghostpad ingest` that only such formats understand."""
    is_episode: ClassVar[bool] = False
    """Whether one file or folder may be an episode, so that a recording is a folder of them."""
    stands_alone: ClassVar[bool] = True
    """Whether a single episode may be given as a recording."""

    @abstractmethod
    def recognizes(self, path: Path) -> bool:
        """Whether `path` is of this format, judged by names alone."""

    @abstractmethod
    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """List everything that holds frames in a `path` that it recognizes, in order, without decoding it.

        `options` are those that the user gave, by name; `log` collects what is wrong. Any error but
        `UserError` is taken for damage of the recording as a whole.
        """


def frame_rate(value: Any) -> Fraction | None:
    """The exact frame rate that a number or text says (29.97 is NTSC's 30000/1001); None if it is no rate."""
    try:
        exact = Fraction(value)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    ntsc = Fraction(round(exact * 1001 / 1000) * 1000, 1001)
    if exact.denominator > 1 and abs(exact - ntsc) < _NTSC_ROUNDING:
        return ntsc
    return exact.limit_denominator(1001) if 0 < exact < 100_000 else None


def import_reader(package: str, path: Path) -> Any:
    """Import the package that reads a file; a UserError says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"{path}: reading it needs {package}; install it with: pip install {package}"
        ) from None


def natural_key(name: str) -> list[Any]:
    """Sort key that puts `episode_2` before `episode_10`."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)] + [name]


def fingerprint(text: str) -> str:
    """SHA-256 (hex) of names, sizes, times and options, for `Unit.fingerprint`."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def stamp(path: Path) -> tuple[int, int]:
    """Size and modification time of a file, for fingerprints; zeros if it is missing."""
    status = path.stat() if path.exists() else None
    return (status.st_size, status.st_mtime_ns) if status else (0, 0)


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a file, or of the files in a folder."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [(file.name, *stamp(file)) for file in files]


def choose_camera(root: Path, cameras: list[str], wanted: str | None) -> str:
    """The image stream of a dataset: the wanted one, or the only one; a UserError lists several."""
    if wanted in cameras or (wanted is None and len(cameras) == 1):
        return wanted or cameras[0]
    if not cameras:
        raise UserError(
            f"{root}: no pictures here, that is arrays (H, W) or (H, W, C) of bytes; see docs/inputs.md"
        )
    unknown = "" if wanted is None else f"no camera {wanted}; "
    raise UserError(f"{root}: {unknown}choose one with --camera: {', '.join(cameras)}")
