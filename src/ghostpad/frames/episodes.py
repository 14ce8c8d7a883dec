"""Folders of episodes: `<folder>/<episode>/0.png, 1.png, …`, checked before a single frame is decoded."""

import hashlib
import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpad.errors import UserError

_FRAME_NAME = re.compile(r"\d+\.png", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class EpisodeFolder:
    """One episode on disk: its frames in order and a fingerprint of the listing."""

    name: str
    frames: tuple[Path, ...]
    state: str
    """SHA-256 over the names, sizes and times of its files: unchanged as long as nobody touches them."""


def natural_key(name: str) -> list[Any]:
    """Sort key that puts `episode_2` before `episode_10`."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)] + [name]


def scan(folder: Path) -> list[EpisodeFolder]:
    """List the episodes of `folder` in natural order.

    Raises:
        UserError: the folder is missing or empty, holds no frames, or the numbering of an episode has a gap.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder of episodes; make one with: ghostpad record --out {folder}"
        )
    episodes = []
    for entry in sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name)):
        if entry.is_dir() and not entry.name.startswith("."):
            episode = _scan_episode(Path(entry.path))
            if episode is not None:
                episodes.append(episode)
    if not episodes:
        raise UserError(f"{folder} holds no episodes (folders with 0.png, 1.png, …); see docs/inputs.md")
    return episodes


def _scan_episode(folder: Path) -> EpisodeFolder | None:
    digest = hashlib.sha256()
    numbered: dict[int, Path] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        is_frame = _FRAME_NAME.fullmatch(entry.name)
        if not is_frame and entry.name not in ("episode.json", "truth.npz"):
            continue
        status = entry.stat()
        digest.update(f"{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        if is_frame:
            number = int(entry.name[:-4])
            if number in numbered:
                raise UserError(f"{entry.path}: same number as {numbered[number].name}; remove one of them")
            numbered[number] = Path(entry.path)
    if not numbered:
        return None
    numbers = sorted(numbered)
    for before, after in itertools.pairwise(numbers):
        if after != before + 1:
            raise UserError(
                f"{folder}: frame {before + 1}.png is missing; restore it, or split there with --on-bad skip"
            )
    return EpisodeFolder(folder.name, tuple(numbered[number] for number in numbers), digest.hexdigest())


def read_metadata(folder: Path) -> dict[str, Any] | None:
    """Read `episode.json` of one episode, None when there is none.

    Raises:
        UserError: the file is not JSON.
    """
    path = folder / "episode.json"
    if not path.exists():
        return None
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path}: not readable as JSON; restore or remove it") from None
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: not a JSON object; restore or remove it")
    return metadata
