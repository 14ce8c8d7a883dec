"""How fast frames go into a store and come out of it, beside the plain ways of doing the same.

Everything is timed in one run, the candidates alternating, and medians are compared:

    python benchmarks/frames.py [--data FOLDER_OF_EPISODES] [--rounds 7] [--only ingest|formats|pairs|memory]

Without --data it records Breakout first. OpenCV and h5py take part when they are installed.
"""

import argparse
import contextlib
import hashlib
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.frames.pairs import FramePairDataset
from ghostpad.frames.store import FrameStore

PAIRS = 64
INGESTED_FRAMES = 2000
MEMORY_FRAMES = (5_000, 50_000)
# runs in a process of its own, without torch
_INGEST_AND_REPORT = """
import resource, sys, time
from pathlib import Path
from ghostpad.frames.ingest import IngestConfig, ingest
start = time.perf_counter()
store = ingest(IngestConfig(Path(sys.argv[1]), workers=2))
rate = sum(episode.num_frames for episode in store.episodes) / (time.perf_counter() - start)
status = Path("/proc/self/status").read_text()  # getrusage would count what the parent had before exec
main = int(status.split("VmHWM:")[1].split()[0]) / 1024
worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"main {main:.0f} MB, largest worker {worker:.0f} MB, {rate:,.0f} frames/s")
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of PNG episodes (default: record some Breakout)")
    parser.add_argument(
        "--rounds", type=int, default=7, help="how often each candidate is timed (default: 7)"
    )
    parser.add_argument(
        "--only", choices=["ingest", "formats", "pairs", "memory"], help="one of the four (default: all)"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data = options.data or _record(scratch)
        if options.only in (None, "ingest"):
            ingest_speed(data, scratch, options.rounds)
        if options.only in (None, "formats"):
            format_speed(data, scratch, options.rounds)
        if options.only in (None, "pairs"):
            random_pairs(data, scratch, options.rounds)
        if options.only in (None, "memory"):
            memory(data, scratch)


def _record(scratch: Path) -> Path:
    from ghostpad.sources.recorder import RecordConfig, record

    record(RecordConfig(out=scratch / "bulk_videos", episodes=8, max_frames=600))
    return scratch / "bulk_videos"


def alternate(
    candidates: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each candidate, timed in turn, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(rounds + 1):
        for name, run in candidates.items():
            start = clock()
            run()
            if round_number:
                times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def print_rates(medians: dict[str, float], count: int, unit: str) -> None:
    """Print a table: rate of each candidate, and its ratio to the first."""
    baseline = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(f"  {name:42} {count / seconds:10,.0f} {unit}   x{baseline / seconds:.2f}")


def _silently_ingest(source: Path, out: Path) -> FrameStore:
    with contextlib.redirect_stdout(io.StringIO()):
        return ingest(IngestConfig(source, out, workers=1))


def ingest_speed(folder: Path, scratch: Path, rounds: int) -> None:
    """PNG to store on one core (read, check, hash, palette, write) beside decoding alone."""
    source, count = scratch / "some", 0
    for episode in sorted(path for path in folder.iterdir() if path.is_dir()):
        if count < INGESTED_FRAMES:
            shutil.copytree(episode, source / episode.name)
            count += len(list(episode.glob("*.png")))
    files = [str(path) for path in source.glob("*/*.png")]
    outs = iter(range(10**6))

    def with_pil() -> None:
        for file in files:
            with Image.open(file) as picture:
                np.asarray(picture)

    candidates: dict[str, Callable[[], object]] = {
        "PIL decoding alone": with_pil,
        "ghostpad ingest, one process": lambda: _silently_ingest(source, scratch / f"store{next(outs)}"),
    }
    with contextlib.suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)
        candidates["OpenCV decoding alone"] = lambda: [cv2.imread(file) for file in files] and None
        candidates["OpenCV decoding, SHA-256 of the pixels"] = lambda: [
            hashlib.sha256(cv2.imread(file)).digest() for file in files
        ]
    print(f"PNG ingest, {count:,} frames, one core (median of {rounds} rounds)")
    print_rates(alternate(candidates, rounds), count, "frames/s")


def format_speed(folder: Path, scratch: Path, rounds: int) -> None:
    """JPEG episodes and compressed npz files to store beside decoding alone, by CPU time of one process."""
    jpegs, archives, count = scratch / "jpegs", scratch / "archives", 0
    archives.mkdir()
    for episode in sorted(path for path in folder.iterdir() if path.is_dir()):
        if count < INGESTED_FRAMES:
            names = sorted(episode.glob("*.png"), key=lambda path: int(path.stem))
            frames = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in names])
            np.savez_compressed(archives / f"{episode.name}.npz", frames=frames)
            (jpegs / episode.name).mkdir(parents=True)
            for number, frame in enumerate(frames):
                Image.fromarray(frame).save(jpegs / episode.name / f"{number}.jpg", quality=95)
            count += len(frames)
    files, outs = sorted(jpegs.glob("*/*.jpg")), iter(range(10**6))

    def with_pil() -> None:
        for file in files:
            with Image.open(file) as picture:
                np.asarray(picture)

    def with_numpy() -> None:
        for file in archives.glob("*.npz"):
            np.load(file)["frames"]

    for name, alone, source in (("JPEG", with_pil, jpegs), ("npz", with_numpy, archives)):
        candidates: dict[str, Callable[[], object]] = {
            f"{name} decoding alone": alone,
            "ghostpad ingest": lambda source=source: _silently_ingest(source, scratch / f"made{next(outs)}"),
        }
        print(f"{name} ingest, {count:,} frames, CPU seconds of one process (median of {rounds} rounds)")
        print_rates(alternate(candidates, rounds, time.process_time), count, "frames/s")


def random_pairs(folder: Path, scratch: Path, rounds: int) -> None:
    """Random pairs (grayscale, float32, [0, 1]) from the store and from what others keep frames in."""
    episodes = sorted(path for path in folder.iterdir() if path.is_dir())
    stored = FramePairDataset(_silently_ingest(folder, scratch / "pairs.store"), split=None)
    plain = PlainDataset(episodes)
    readers: dict[str, Dataset] = {"PIL Dataset over PNGs": plain, "store, FramePairDataset": stored}
    few = episodes[:4]  # of the slow ones a few episodes tell enough
    readers["LeRobot's way: seek in a video (g=2)"] = VideoDataset(few, scratch)
    with contextlib.suppress(ImportError):
        readers["HDF5, a chunk per RGB frame"] = Hdf5Dataset(few, scratch)
    rng = np.random.default_rng(0)
    for index in rng.integers(0, len(plain), 16):
        assert all(torch.equal(a, b) for a, b in zip(plain[index], stored[index], strict=True))

    def read(dataset: Dataset) -> Callable[[], None]:
        def run() -> None:
            for index in rng.integers(0, len(dataset), PAIRS):  # type: ignore[arg-type]
                dataset[int(index)]

        return run

    candidates: dict[str, Callable[[], object]] = {name: read(dataset) for name, dataset in readers.items()}
    transitions = stored.transitions
    candidates["store, Transitions.read of 64"] = lambda: transitions.read(
        rng.integers(0, len(plain), PAIRS), grayscale=True
    )
    print(f"random pairs of {len(plain):,}, grayscale, one thread (median of {rounds} rounds of {PAIRS})")
    print_rates(alternate(candidates, rounds), PAIRS, "pairs/s ")


def _to_pair(frame: np.ndarray, next_frame: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    grays = (np.array(Image.fromarray(rgb).convert("L")) for rgb in (frame, next_frame))
    first, second = (torch.from_numpy(gray).float()[None] / 255 for gray in grays)
    return first, second


class PlainDataset(Dataset):
    """What one would write in ten lines: two PNGs per pair, opened when asked for."""

    def __init__(self, episodes: list[Path]) -> None:
        self.pairs = [
            (episode / f"{number}.png", episode / f"{number + 1}.png")
            for episode in episodes
            for number in range(len(list(episode.glob("*.png"))) - 1)
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        frame, next_frame = (
            torch.from_numpy(np.array(Image.open(path).convert("L"))).float()[None] / 255
            for path in self.pairs[index]
        )
        return frame, next_frame


class Hdf5Dataset(PlainDataset):
    """RGB frames in one HDF5 file, a chunk each, LZF-compressed."""

    def __init__(self, episodes: list[Path], scratch: Path) -> None:
        import h5py

        super().__init__(episodes)
        places = {
            path: row for row, path in enumerate(sorted({path for pair in self.pairs for path in pair}))
        }
        self.rows = [(places[frame], places[next_frame]) for frame, next_frame in self.pairs]
        self.file = h5py.File(scratch / "frames.hdf5", "w")
        shape = np.asarray(Image.open(next(iter(places)))).shape
        self.frames = self.file.create_dataset(
            "frames", (len(places), *shape), np.uint8, chunks=(1, *shape), compression="lzf"
        )
        for path, row in places.items():
            self.frames[row] = np.asarray(Image.open(path))

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        frame, next_frame = self.rows[index]
        return _to_pair(self.frames[frame], self.frames[next_frame])


class VideoDataset(PlainDataset):
    """What LeRobot does: H.264 with a key frame every two frames; seek, decode up to the times wanted."""

    def __init__(self, episodes: list[Path], scratch: Path) -> None:
        import av

        super().__init__(episodes)
        self.containers = {}
        for episode in episodes:
            path = scratch / f"{episode.name}.mp4"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264rgb", rate=15, options={"qp": "0", "g": "2"})
                stream.width, stream.height = Image.open(episode / "0.png").size
                stream.pix_fmt = "rgb24"
                for number in range(len(list(episode.glob("*.png")))):
                    rgb = np.array(Image.open(episode / f"{number}.png").convert("RGB"))
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
                container.mux(stream.encode())
            self.containers[episode] = av.open(str(path))  # kept open, which flatters it

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        path = self.pairs[index][0]
        container, number = self.containers[path.parent], int(path.stem)
        stream = container.streams.video[0]
        container.seek(int(number / 15 / stream.time_base), stream=stream)
        wanted = []
        for picture in container.decode(stream):
            if round(picture.time * 15) >= number:
                wanted.append(picture.to_ndarray(format="rgb24"))
            if len(wanted) == 2:
                break
        return _to_pair(*wanted)


def memory(folder: Path, scratch: Path) -> None:
    """Peak memory of an ingest of few and of many frames: the same frames over and over."""
    files = sorted(folder.glob("*/*.png"))[:500]
    print("peak memory of an ingest, two processes")
    for count in MEMORY_FRAMES:
        source = scratch / f"{count}"
        for number in range(count):
            episode, frame = divmod(number, 10_000)
            (source / f"{episode}").mkdir(parents=True, exist_ok=True)
            (source / f"{episode}" / f"{frame}.png").write_bytes(files[number % len(files)].read_bytes())
        command = [sys.executable, "-c", _INGEST_AND_REPORT, str(source)]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        print(f"  {count:6,} frames  {line}")


if __name__ == "__main__":
    main()
