"""Turn recordings into a frame store."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ghostpad.atomic import whole_folder, write_json
from ghostpad.errors import UserError
from ghostpad.frames.episodes import EpisodeFolder, read_metadata, scan
from ghostpad.frames.splits import MIN_EPISODES, assign_splits
from ghostpad.frames.store import MANIFEST, VERSION, FrameStore, is_store, read_manifest
from ghostpad.progress import progress


def ingest_folder(source: Path, out: Path, workers: int | None = None) -> FrameStore:
    """Ingest the PNG episodes below `source` into a store at `out`, unless it is there already and
    unchanged.
    """
    folders = scan(source)
    states = [folder.state for folder in folders]
    if is_store(out):
        if read_manifest(out).get("states") == states:
            return FrameStore.open(out)
        shutil.rmtree(out)
    palette: dict[int, int] = {}
    rows: list[dict[str, Any]] = []
    splits = ["train"] * len(folders) if len(folders) < MIN_EPISODES else assign_splits(len(folders))
    with whole_folder(out) as folder, progress(what="ingest", unit="frames", total=None) as bar:
        shape = None
        for index, episode in enumerate(folders):
            stem = f"{index:06d}"
            frames = np.stack([_decode(path) for path in episode.frames])
            if shape is None:
                shape = frames.shape[1:3]
            if frames.shape[1:3] != shape:
                raise UserError(f"{episode.frames[0]}: of another size")
            np.save(folder / f"{stem}.npy", _index(frames, palette))
            rows.append(_row(episode, stem, splits[index], frames, folder))
            bar.update(len(frames))
        assert shape is not None
        colors = [[code >> 16, code >> 8 & 255, code & 255] for code in palette]
        write_json(
            folder / MANIFEST,
            {
                "version": VERSION,
                "height": shape[0],
                "width": shape[1],
                "encoding": "palette",
                "palette": colors,
                "fingerprint": hashlib.sha256(repr([row["sha256"] for row in rows]).encode()).hexdigest(),
                "states": states,
                "episodes": rows,
            },
        )
    return FrameStore.open(out)


def _row(episode: EpisodeFolder, stem: str, split: str, frames: np.ndarray, out: Path) -> dict[str, Any]:
    home = episode.frames[0].parent
    if (home / "truth.npz").exists():
        shutil.copyfile(home / "truth.npz", out / f"{stem}.truth.npz")
    return {
        "name": episode.name,
        "num_frames": len(frames),
        "source": str(home),
        "split": split,
        "sha256": hashlib.sha256(frames.tobytes()).hexdigest(),
        "metadata": read_metadata(home),
        "file": stem,
    }


def _decode(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception:
        raise UserError(
            f"{path}: not a readable PNG; restore it, or leave it out with --on-bad skip"
        ) from None


def _index(frames: np.ndarray, palette: dict[int, int]) -> np.ndarray:
    red, green, blue = (frames[..., channel].astype(np.uint32) for channel in range(3))
    values = red << 16 | green << 8 | blue
    unique, inverse = np.unique(values, return_inverse=True)
    indices = [palette.setdefault(int(code), len(palette)) for code in unique]
    if len(palette) > 256:
        raise UserError("more than 256 colours: not yet")
    return np.array(indices, np.uint8)[inverse].reshape(values.shape)
