"""The contents of a frame store at a glance: `ghostpad info`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.frames.manifest import REJECTED, is_store, read_rejected, store_beside
from ghostpad.frames.splits import SPLITS
from ghostpad.frames.store import FrameStore

_SHEET_ROWS, _SHEET_COLUMNS, _SHEET_GAP = 8, 6, 4


@dataclass(frozen=True)
class InfoConfig:
    """Which store to look at."""

    store: Path
    """frame store, or a folder whose store lies beside it"""
    sheet: Path | None = None
    """where the contact sheet goes, a PNG; contact_sheet.png in the store when not given"""


def info(config: InfoConfig) -> None:
    """Print the contents of a store, and draw a contact sheet: episodes in rows, time to the right.

    Raises:
        UserError: there is no store, or `sheet` cannot be written.
    """
    path = config.store if is_store(config.store) else store_beside(config.store)
    store = FrameStore.open(path if is_store(path) else config.store)
    drawn = sheet = config.sheet or store.path / "contact_sheet.png"
    try:
        contact_sheet(store).save(sheet, format="PNG")
    except OSError as error:
        drawn = f"{sheet}: cannot be written ({error.strerror}); choose another place with --sheet"
        if config.sheet is not None:
            raise UserError(drawn) from None
    print("\n".join([*describe(store), f"contact sheet  {drawn}"]))
    print(f"best stride    measured by: ghostpad doctor --data {store.path}")


def describe(store: FrameStore) -> list[str]:
    """The lines that `ghostpad info` prints, except for the contact sheet."""
    lengths = np.array([episode.num_frames for episode in store.episodes])
    transitions = int((lengths - 1).sum())
    still = sum(episode.num_still for episode in store.episodes)
    disk = sum(file.stat().st_size for file in store.path.iterdir() if file.suffix != ".png")
    rgb = int(lengths.sum()) * store.height * store.width * 3
    colors = "any" if store.encoding == "rgb" else str(len(store.pixel_encoding.colors))
    of_split = {split: sum(episode.split == split for episode in store.episodes) for split in SPLITS}
    rates = sorted({float(episode.fps) for episode in store.episodes if episode.fps})
    fps = ", ".join(f"{rate:.5g}" for rate in rates)
    median = f"median {np.median(lengths):.0f}" + (f", {fps} frames a second" if fps else "")
    lines = [
        f"store          {store.path}",
        f"frames         {lengths.sum():,} of {store.width}x{store.height} in {len(lengths)} episodes",
        f"episodes       {lengths.min()} to {lengths.max()} frames long, {median}",
        f"colours        {colors}, stored as {store.encoding}",
        f"splits         {', '.join(f'{count} {split}' for split, count in of_split.items())}",
        f"transitions    {transitions:,}, {still / max(1, transitions):.1%} of them still (no pixel changes)",
        f"disk           {disk / 1e6:,.1f} MB ({disk / rgb:.0%} of RGB)",
        f"known beside   {_known(store)}",
    ]
    if store.action_offset or store.action_offset_why:
        lines.append(f"action offset  {store.action_offset:+d} ({store.action_offset_why})")
    if rejected := read_rejected(store.path):
        lines.append(f"left out       {len(rejected)}, see {store.path / REJECTED}")
    lines += [f"notice         {text}" for text in store.notices]
    return lines


def _known(store: FrameStore) -> str:
    every = range(len(store.episodes))
    controls = sum(store.controls(index) is not None for index in every)
    truth = sum(episode.files.with_suffix(".truth.npz").exists() for episode in store.episodes)
    branches = [len(found) for index in every if (found := store.branches(index)) is not None]
    known = [
        f"{name} of {count} episodes" for name, count in (("controls", controls), ("truth", truth)) if count
    ]
    if branches:
        known.append(f"branches of {sum(branches)} frames in {len(branches)} episodes")
    return ", ".join(known) or "nothing (frames alone are enough)"


def contact_sheet(store: FrameStore) -> Image.Image:
    """Evenly chosen episodes in rows, each with frames evenly spread over its time."""
    chosen = np.unique(np.linspace(0, len(store.episodes) - 1, _SHEET_ROWS).round().astype(int))
    height, width = store.height + _SHEET_GAP, store.width + _SHEET_GAP
    size = (len(chosen) * height + _SHEET_GAP, _SHEET_COLUMNS * width + _SHEET_GAP, 3)
    sheet = np.full(size, 255, np.uint8)
    for row, episode in enumerate(chosen):
        times = np.linspace(0, store.episodes[episode].num_frames - 1, _SHEET_COLUMNS).round().astype(int)
        for column, frame in enumerate(store.read(int(episode), times, grayscale=False)):
            top, left = row * height + _SHEET_GAP, column * width + _SHEET_GAP
            sheet[top : top + store.height, left : left + store.width] = frame.transpose(1, 2, 0)
    return Image.fromarray(sheet)
