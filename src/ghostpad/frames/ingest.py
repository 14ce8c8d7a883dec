"""Turn recordings into a frame store: `ghostpad ingest`."""

import errno
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.assemble import Draft, join_pieces
from ghostpad.frames.manifest import store_beside
from ghostpad.frames.old import Old
from ghostpad.frames.revision import Revision
from ghostpad.frames.splits import Splitting, read_split_file, too_few
from ghostpad.frames.store import FrameStore
from ghostpad.locking import writing
from ghostpad.machine import num_cores
from ghostpad.progress import progress
from ghostpad.sources.decode import Decoded, Task, decode
from ghostpad.sources.faults import Faults, OnBad, Rejected
from ghostpad.sources.registry import Wishes, is_store, list_units
from ghostpad.sources.units import MAX_SIDE, Fit, Frame, Unit
from ghostpad.sources.video import Cutting
from ghostpad.workers import map_in_order

_ROOM = 0.9  # share of the free space that a suggestion fills
_FEW_FRAMES = 3000  # below this, starting processes costs more than they save


# what decides the frames of a store, so that all of one store must agree on it
_DECIDING = ("height", "width", "crop", "fps", "episode_seconds", "scene_cut", "camera")


@dataclass(frozen=True)
class IngestConfig:
    """Where frames come from, and how they enter the store."""

    source: Path
    """folder of PNG episodes or of videos, one video, a Minari dataset, or a LeRobotDataset (v3)"""
    out: Path | None = None
    """store to make or to bring up to date; SOURCE.store, beside the source, when not given"""
    on_bad: OnBad = "fail"
    """at a bad file, fail and leave no store, or skip it and list it in rejected.json"""
    height: int | None = None
    """pixels; as the frames are when not given, or in proportion to --width"""
    width: int | None = None
    """pixels; as the frames are when not given, or in proportion to --height"""
    crop: bool = False
    """when a size is given, keep the proportions and cut off what sticks out, instead of squeezing"""
    fps: float | None = None
    """of videos, keep about so many frames per second; all when not given"""
    episode_seconds: float | None = None
    """of videos, begin a new episode after so many seconds; a video is an episode when not given"""
    scene_cut: float | None = None
    """of videos, begin a new episode where brightness changes by more (mean, 0 to 1): 0.3 finds hard cuts"""
    camera: str | None = None
    """of datasets with several pictures per step, the one to take; the only one when not given"""
    split_file: Path | None = None
    """CSV with lines `episode,split` (train, validation or test) instead of the seeded draw"""
    seed: int = 0
    """seed that draws the validation and test episodes"""
    workers: int | None = None
    """processes that decode at once; all cores when not given"""


def ingest(config: IngestConfig) -> FrameStore:
    """Make a frame store of `config.source`, or add to it what is new since the last time.

    Raises:
        UserError: a file is bad (with `on_bad="fail"`), the store is being written by somebody else, or it
        would
            not fit on the disk.
    """
    out = config.out or store_beside(config.source)
    own = read_split_file(config.split_file) if config.split_file else None
    store = _ingest(config, out, Splitting(config.seed, own), wait=False)
    frames = sum(episode.num_frames for episode in store.episodes)
    size = f"{store.width}x{store.height}"
    print(f"{out}: {len(store.episodes)} episodes, {frames:,} frames, {size}, {store.encoding}")
    return store


def open_data(path: Path, workers: int | None = None, min_episodes: int = 1) -> FrameStore:
    """Open a store, or a folder of episodes, which is ingested once into `<path>.store` beside it.

    That store is reused while the folder is unchanged, and brought up to date when it is not.

    Args:
        path: a store or a folder of episodes.
        workers: processes that decode (default: one per core).
        min_episodes: refuse a folder with fewer, before anything is ingested.

    Raises:
        UserError: there is nothing to read at `path`, a file in it is bad, or there are too few episodes.
    """
    if is_store(path):
        return FrameStore.open(path)
    config = IngestConfig(path, workers=workers)
    return _ingest(config, store_beside(path), None, wait=True, min_episodes=min_episodes)


def _ingest(
    config: IngestConfig, out: Path, splitting: Splitting | None, wait: bool, min_episodes: int = 1
) -> FrameStore:
    if out.resolve().is_relative_to(config.source.resolve()):
        raise UserError(
            f"{out} lies inside the source, which is never written to; choose another place with --out"
        )
    faults = Faults(config.on_bad)
    units = list_units(config.source, _wishes(config), faults)
    if (found := len({unit.name for unit in units})) < min_episodes:
        raise UserError(f"{config.source}: {too_few(found)}")
    options = {name: getattr(config, name) for name in _DECIDING}
    with writing(out, wait):
        old = Old.load(out, options)
        old.remove_unused()
        if old.is_of_others(units):
            raise UserError(
                f"{out} holds other episodes than {config.source}; choose another --out, or delete it"
            )
        splitting = splitting or old.splitting
        if not old.is_current(units, splitting):
            with _staging(out) as folder:
                fresh = [unit for unit in units if not old.has(unit)]
                fit, palette = _probe(fresh, config, old)
                check_space(out, sum(unit.num_frames for unit in fresh), fit, is_palette=bool(palette))
                tasks = [
                    Task(unit, folder, f"part-{index:06d}", fit, palette, config.on_bad)
                    for index, unit in enumerate(fresh)
                ]
                revision = Revision(old, folder, units, fit, faults)
                coding = revision.add(list(_decode_all(tasks, config.workers, faults)))
                revision.publish(coding, splitting, options, faults.rejected)
    return FrameStore.open(out)


def _wishes(config: IngestConfig) -> Wishes:
    for name in ("fps", "episode_seconds", "scene_cut"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} {value}: must be more than 0")
    return Wishes(Cutting(config.fps, config.episode_seconds, config.scene_cut), config.camera)


def check_space(out: Path, num_frames: int, fit: Fit, is_palette: bool) -> None:
    """Refuse a store that the disk has no room for, and say which height would fit.

    Args:
        out: the store.
        num_frames: frames that are to be added.
        fit: their size.
        is_palette: whether a byte per pixel will do (as far as the first frame tells).

    Raises:
        UserError: the disk has not that much free.
    """
    free = shutil.disk_usage(out.parent).free
    pixels = num_frames * fit.height * fit.width
    needed = pixels * (1 if is_palette else 3)
    if needed <= free:
        return
    # smaller pictures are mixtures of colours, so that a palette does not survive: three bytes per pixel
    height = int(fit.height * (_ROOM * free / (3 * pixels)) ** 0.5)
    smaller = f", or give --height {height}" if height >= 8 else ""
    have = f"{needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free there"
    raise UserError(f"{out} would need about {have}: free some, choose another --out{smaller}")


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder beside `out` that goes when the ingest ends, and a clear line when the disk is full."""
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    folder.chmod(0o755)
    try:
        yield folder
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(f"{out}: the disk is full; free some space, or give a smaller --height") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _probe(units: list[Unit], config: IngestConfig, old: Old) -> tuple[Fit, tuple[int, ...]]:
    """Size and first colours of the store: from the store that is there, else from the first good frame."""
    if old.coding is not None:
        height, width = old.manifest["height"], old.manifest["width"]
        return Fit(height, width, _is_resized(config), config.crop), old.coding.colors
    for unit in units:
        for item in unit.frames():
            if isinstance(item, Frame):
                fit = _target_size(item, config)
                colors = np.unique(fit(item.colors))
                return fit, tuple(colors.tolist()) if len(colors) <= 256 else ()
            if isinstance(item, Rejected) and config.on_bad == "fail":
                Faults("fail").add(item)
    raise UserError(f"{config.source} holds no frame that can be read; see docs/inputs.md")


def _target_size(frame: Frame, config: IngestConfig) -> Fit:
    height, width = frame.colors.shape
    for name, value in (("height", config.height), ("width", config.width)):
        if value is not None and not 1 <= value <= MAX_SIDE:
            raise UserError(f"--{name} {value}: must be 1 to {MAX_SIDE}")
    wanted_height = config.height or (round(height * config.width / width) if config.width else height)
    wanted_width = config.width or (round(width * config.height / height) if config.height else width)
    return Fit(max(1, wanted_height), max(1, wanted_width), _is_resized(config), config.crop)


def _is_resized(config: IngestConfig) -> bool:
    return config.height is not None or config.width is not None


def _decode_all(tasks: list[Task], workers: int | None, faults: Faults) -> Iterator[Draft]:
    total = sum(task.unit.num_frames for task in tasks)
    num_workers = 1 if total < _FEW_FRAMES else workers or num_cores()
    told: set[str] = set()
    with progress(what="ingest", unit="frames", total=total) as bar:
        decoded = zip(tasks, map_in_order(decode, tasks, num_workers), strict=True)
        for name, group in groupby(decoded, key=lambda pair: pair[0].unit.name):
            pieces = []
            for _, result in group:
                bar.update(result.num_frames)
                pieces += result.pieces
                faults.rejected += result.rejected
                _tell(result, told)
            for draft in join_pieces(name, pieces):
                if draft.num_frames > 1:
                    yield draft
                    continue
                faults.rejected.append(
                    Rejected(name, draft.name, draft.start, "has no neighbour to pair it with")
                )
                draft.pieces[0].path.unlink()


def _tell(result: Decoded, told: set[str]) -> None:
    for notice in result.notices:
        if notice not in told:
            told.add(notice)
            warnings.warn(notice, stacklevel=2)
