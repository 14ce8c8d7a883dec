"""Turn recordings into a frame store: `ghostpad ingest`, and `open_data` for everything that takes `--data`.

The flow, downwards: `sources.registry` lists the units of a recording, `encode` decodes and writes them in
workers, `update` makes them part of the store, `store` reads them.
"""

import errno
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.errors import Notice, UserError
from ghostpad.frames.encode import EncodeTask, NewEpisode, encode_unit, fit
from ghostpad.frames.encoding import MAX_COLORS, Size
from ghostpad.frames.manifest import is_store, store_beside
from ghostpad.frames.splits import Splitting, read_split_file, too_few
from ghostpad.frames.store import FrameStore
from ghostpad.frames.update import StoreUpdate, open_previous, set_action_offset
from ghostpad.locking import writing
from ghostpad.machine import num_cores
from ghostpad.progress import progress
from ghostpad.sources.base import MAX_SIDE, IngestLog, OnBad, Unit
from ghostpad.sources.registry import list_units
from ghostpad.workers import map_in_order

_USABLE = 0.9  # share of the free space that a suggested size fills
_FEW_FRAMES = 3000  # below this, starting processes costs more than they save
_MOST_OFFSET = 8


@dataclass(frozen=True)
class IngestConfig:
    """Where frames come from, and how they enter the store."""

    source: Path
    """folder of episodes (pictures, videos, arrays), one file, or a dataset; docs/inputs.md lists formats"""
    out: Path | None = None
    """store to make or to update; SOURCE.store, beside the source, when not given"""
    on_bad: OnBad = "fail"
    """at a bad file, fail and leave no store, or skip it and list it in rejected.json"""
    height: int | None = None
    """pixels; as the frames are when not given, or in proportion to --width"""
    width: int | None = None
    """pixels; as the frames are when not given, or in proportion to --height"""
    crop: bool = False
    """when a size is given, keep the proportions and cut off what does not fit, instead of stretching"""
    fps: float | None = None
    """resample videos to this many frames a second; for arrays, the rate at which they were recorded"""
    episode_seconds: float | None = None
    """of videos and arrays, start a new episode after this many seconds; a file is one when not given"""
    scene_cut: float | None = None
    """start a new episode where brightness (0 to 1) changes by more in the mean: 0.3 finds hard cuts"""
    track: int | None = None
    """video track to take, counted from 1; the default track when not given"""
    camera: str | None = None
    """of datasets with several images per step, the one to take; the only one when not given"""
    frames_key: str | None = None
    """array or column that holds the frames, by the end of its path; found by form and name otherwise"""
    actions_key: str | None = None
    """array, column or entry that holds the actions; found by its name when not given"""
    action_offset: str | None = None
    """N (-8 to 8) if the control of frame t is stored with frame t + N, or auto to measure it; else 0"""
    split_file: Path | None = None
    """CSV with lines `episode,split` (train, validation or test) instead of the seeded draw"""
    follow_links: bool = False
    """read links that lead out of SOURCE too; in a cache of the Hugging Face hub links are always read"""
    seed: int = 0
    """seed that draws the validation and test episodes"""
    workers: int | None = None
    """processes that decode at once; all cores when not given"""


def ingest(config: IngestConfig) -> FrameStore:
    """Make a frame store of `config.source`, or add to it what is new since the last time.

    Raises:
        UserError: a file is bad (with `on_bad="fail"`), another process is writing the store, or it would not
            fit on the disk.
    """
    out = config.out or store_beside(config.source)
    own = read_split_file(config.split_file) if config.split_file else None
    offset = _action_offset(config)
    store = _ingest(config, out, Splitting(config.seed, own))
    if offset is not None:
        store = set_action_offset(store, offset, "given with --action-offset")
    frames = sum(episode.num_frames for episode in store.episodes)
    size = f"{store.width}x{store.height}"
    print(f"{out}: {len(store.episodes)} episodes, {frames:,} frames, {size}, {store.encoding}")
    return store


def open_data(path: Path, workers: int | None = None, min_episodes: int = 1) -> FrameStore:
    """Open a store, or a recording, which is ingested once into `<path>.store` beside it.

    That store is reused while the recording is unchanged, and updated when it is not.

    Raises:
        UserError: there is nothing to read at `path`, a file in it is bad, or there are too few episodes
            (before anything is ingested).
    """
    if is_store(path):
        return FrameStore.open(path)
    config = IngestConfig(path, workers=workers)
    return _ingest(config, store_beside(path), beside=True, min_episodes=min_episodes)


def _ingest(
    config: IngestConfig,
    out: Path,
    splitting: Splitting | None = None,
    beside: bool = False,
    min_episodes: int = 1,
) -> FrameStore:
    """Make or update a store; one `beside` its recording is made for another verb, which waits for others."""
    source, log = config.source, IngestLog(config.on_bad, config.follow_links)
    if is_store(source):
        raise UserError(f"{source} is a frame store already; give it to --data as it is")
    if out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{out} lies inside the source, which is never written to; choose another --out")
    of_formats = _format_options(config)
    units = list_units(source, {name: value for name, value in of_formats.items() if value is not None}, log)
    by_name = {unit.name: unit for unit in units}
    if len(by_name) < min_episodes:
        raise UserError(f"{source}: {too_few(len(by_name))}")
    # What decides the frames of a store, so that every update must agree on it.
    options = {"height": config.height, "width": config.width, "crop": config.crop, **of_formats}
    advice = "choose another place with --out"
    if beside:
        advice = f"make the store elsewhere (ghostpad ingest {source} --out STORE), and give --data STORE"
    with writing(out, beside, advice):
        previous = open_previous(out, options)
        if previous.episodes and previous.units.keys().isdisjoint(by_name):
            raise UserError(f"{out} holds other episodes than {source}; choose another --out, or delete it")
        splitting = splitting or previous.splitting
        kept = {name for name, unit in by_name.items() if previous.units.get(name) == unit.fingerprint}
        if kept == by_name.keys() == previous.units.keys() and splitting == previous.splitting:
            return previous
        with _staging(out) as staging:
            new = [unit for unit in units if unit.name not in kept]
            size, palette = _find_size(new, config, previous)
            _check_space(out, sum(unit.num_frames for unit in new), size, is_palette=bool(palette))
            how = (size, _is_resized(config), config.crop, palette, config.on_bad, config.follow_links)
            tasks = [EncodeTask(unit, f"{staging}/unit-{i:06d}", *how) for i, unit in enumerate(new)]
            episodes = _encode(tasks, config.workers, log)
            StoreUpdate(previous, kept, by_name, size, staging, log).publish(episodes, splitting, options)
    return FrameStore.open(out)


def _action_offset(config: IngestConfig) -> int | None:
    """The offset that was given; None where it is to stay as it was, or to be measured."""
    if config.action_offset in (None, "auto"):
        return None
    try:
        offset = int(config.action_offset or "")
    except ValueError:
        offset = _MOST_OFFSET + 1
    if abs(offset) > _MOST_OFFSET:
        limits = f"auto or a whole number from {-_MOST_OFFSET} to {_MOST_OFFSET}"
        raise UserError(f"--action-offset {config.action_offset}: must be {limits}")
    return offset


def _format_options(config: IngestConfig) -> dict[str, Any]:
    """The options for some recording formats only, None where not given."""
    options = {
        "fps": config.fps,
        "episode_seconds": config.episode_seconds,
        "scene_cut": config.scene_cut,
        "track": config.track,
        "camera": config.camera,
        "frames_key": config.frames_key,
        "actions_key": config.actions_key,
    }
    for name, value in options.items():
        if not (value is None or isinstance(value, str) or 0 < value < float("inf")):
            raise UserError(f"--{name.replace('_', '-')} {value}: must be more than 0")
    return options


def _is_resized(config: IngestConfig) -> bool:
    return config.height is not None or config.width is not None


def _find_size(units: list[Unit], config: IngestConfig, previous: FrameStore) -> tuple[Size, tuple[int, ...]]:
    """Size and first colours of the store: from the store as it was, else from the first good frame."""
    if previous.episodes:
        return (previous.height, previous.width), previous.pixel_encoding.colors
    for unit in units:
        for frame in unit.decode(IngestLog(config.on_bad, config.follow_links)):
            size = _target_size(frame.colors, config)
            colors = np.unique(fit(frame.colors, size, _is_resized(config), config.crop))
            return size, tuple(colors.tolist()) if len(colors) <= MAX_COLORS else ()
    raise UserError(f"{config.source} holds no frame that can be read; see docs/inputs.md")


def _target_size(colors: np.ndarray, config: IngestConfig) -> Size:
    height, width = colors.shape
    for name, value in (("height", config.height), ("width", config.width)):
        if value is not None and not 1 <= value <= MAX_SIDE:
            raise UserError(f"--{name} {value}: must be 1 to {MAX_SIDE}")
    wanted_height = config.height or (round(height * config.width / width) if config.width else height)
    wanted_width = config.width or (round(width * config.height / height) if config.height else width)
    return max(1, wanted_height), max(1, wanted_width)


def _check_space(out: Path, num_frames: int, size: Size, is_palette: bool) -> None:
    """Refuse a store that the disk has no room for, and say which height would fit.

    `is_palette` says whether a byte per pixel is enough, as far as the first frame shows.
    """
    free = shutil.disk_usage(out.parent).free
    pixels = num_frames * size[0] * size[1]
    needed = pixels * (1 if is_palette else 3)
    if needed <= free:
        return
    # Resizing mixes colours, so that a palette does not survive: three bytes per pixel.
    height = int(size[0] * (_USABLE * free / (3 * pixels)) ** 0.5)
    smaller = f", or give --height {height}" if height >= 8 else ""
    have = f"{needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free there"
    raise UserError(f"{out} would need about {have}: free some, choose another --out{smaller}")


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder beside `out` that is removed when the ingest ends, and a clear error when the disk is full."""
    options = {"prefix": f".{out.name}.", "suffix": ".partial", "dir": out.parent}
    try:
        with tempfile.TemporaryDirectory(**options, ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o755)
            yield Path(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(f"{out}: the disk is full; free some space, or give a smaller --height") from None


def _encode(tasks: list[EncodeTask], workers: int | None, log: IngestLog) -> list[NewEpisode]:
    """Decode the units in worker processes, which write their episodes."""
    episodes: list[NewEpisode] = []
    total = sum(task.unit.num_frames for task in tasks)
    num_workers = 1 if total < _FEW_FRAMES else workers or num_cores()
    with progress(what="ingest", unit="frames", total=total) as bar:
        for written, unit_log in map_in_order(encode_unit, tasks, num_workers):
            episodes += written
            bar.update(sum(new.episode.num_frames for new in written))
            log.rejected += unit_log.rejected
            log.notices |= unit_log.notices
    for text in log.summary():
        warnings.warn(text, Notice, stacklevel=2)
    return episodes
