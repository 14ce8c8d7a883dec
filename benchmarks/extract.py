"""How fast a data set is labelled, and in how much memory.

Candidates are timed in one run, in turn, with the same number of threads, and medians are compared:

    python benchmarks/extract.py [--data FOLDER_OR_STORE] [--model MODEL | --preset spec] [--rounds 5]

Without --data it records Breakout first; without --model the preset's encoder is not trained, which changes
no time, and its codebook is taken from its own outputs.
"""

import argparse
import dataclasses
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.labels.encoders import fast_encoder
from ghostpad.labels.engines import label_locally
from ghostpad.labels.extract import ExtractConfig, origin_of
from ghostpad.labels.shards import RUN, RunEncoder, plan_shards
from ghostpad.machine import num_cores, peak_memory_mb, resolve_device
from ghostpad.model.latent_action_model import LatentActionModel

EAGER_BATCHES = (32, 8, 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of episodes or frame store (default: record some)")
    parser.add_argument("--model", type=Path, help="model (default: the preset's, not trained)")
    parser.add_argument("--preset", default="spec", help="preset when there is no model (default: spec)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed (default: 5)")
    parser.add_argument("--pairs", type=int, default=1024, help="pairs each time (default: 1024)")
    parser.add_argument("--compared", type=int, default=10_000, help="pairs whose codes are compared")
    parser.add_argument("--frames", type=int, nargs="*", default=[5_000, 50_000], help="for memory")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = open_data(options.data or _record(Path(scratch)))
        device = resolve_device(options.device)
        model = (_load(options.model) if options.model else _untrained(options.preset, store)).to(device)
        encoder = fast_encoder(model, device)
        print(f"{options.model or options.preset}, {num_cores()} threads, {encoder.name}")
        speed(store, model, encoder, options.pairs, options.rounds, Path(scratch))
        agreement(store, model, encoder, options.compared)
        for num_frames in options.frames:
            memory(options, store.path, num_frames)


def _load(path: Path) -> LatentActionModel:
    return LatentActionModel.from_pretrained(path)


def _record(scratch: Path) -> Path:
    from ghostpad.sources.recorder import RecordConfig, record

    record(RecordConfig(out=scratch / "bulk_videos", episodes=10, max_frames=600))
    return scratch / "bulk_videos"


def _untrained(preset: str, store: FrameStore) -> LatentActionModel:
    """A model with the preset's sizes, whose statistics and codebook are those of 64 real pairs."""
    from ghostpad.presets import PRESETS
    from ghostpad.training.latent_action import model_config_for

    torch.manual_seed(0)
    model = LatentActionModel(model_config_for(PRESETS[preset](), store))
    rows = np.linspace(0, len(Transitions(store, None)) - 1, 64).astype(int)
    pairs = Transitions(store, None).read(rows, model.grayscale)
    both = model.scale.shrink(torch.cat([torch.tensor(part).float() / 255 for part in pairs], 1))
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.momentum = 1.0
        model.train()
        model.quantizer(model.encoder(both))
        model.quantizer.initialize(torch.Generator().manual_seed(0))
    return model.eval()


def alternate(candidates: dict[str, Callable[[], int]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median pairs per second, and per second of CPU, of each; in turn, after a round that does not count."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for round_number in range(rounds + 1):
        for name, run in candidates.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            num_pairs = run()
            if round_number:
                seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
                rates[name].append((num_pairs / seconds, num_pairs / cpu_seconds))
    medians = {name: np.median(values, axis=0) for name, values in rates.items()}
    return {name: (float(wall), float(cpu)) for name, (wall, cpu) in medians.items()}


def speed(
    store: FrameStore, model: LatentActionModel, encoder: RunEncoder, pairs: int, rounds: int, scratch: Path
) -> None:
    """Time the plain encoder, the fast one, and the whole way from store to Parquet."""
    threads = num_cores()
    part = longest(store, pairs)
    origin = origin_of(model, part, ExtractConfig())
    shards = plan_shards(part, 1, 1)
    total = sum(shard.num_transitions for shard in shards)
    run = part.read(0, np.arange(RUN + 1), model.grayscale)
    shown = torch.tensor(run[:65]).to(model.device).float() / 255

    def eager(batch: int) -> int:
        torch.set_num_threads(threads)
        with torch.no_grad():
            for start in range(0, 64, batch):
                both = torch.cat([shown[start : start + batch], shown[start + 1 : start + batch + 1]], 1)
                model.quantizer.nearest(model.encoder(model.scale.shrink(both))).cpu()
        return 64

    def alone() -> int:
        torch.set_num_threads(1)
        num_runs = max(threads, total // RUN // threads * threads)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: encoder(run, 1), range(num_runs)))
        return num_runs * RUN

    def whole() -> int:
        label_locally(part, origin, shards, encoder, scratch / "labels", threads)
        return total

    plain: dict[str, Callable[[], int]] = {
        f"plain eager PyTorch, batch {batch}": lambda batch=batch: eager(batch) for batch in EAGER_BATCHES
    }
    rates = alternate({**plain, "encoder alone": alone, "store to Parquet": whole}, rounds)
    for name, (wall, cpu) in rates.items():
        print(f"  {name:30} {wall:9.1f} pairs/s {cpu:9.1f} pairs per second of CPU")
    usual, alone_rate = next(iter(plain)), rates["encoder alone"]
    best = max(plain, key=lambda name: rates[name][0])
    for what, above, below in (
        (f"encoder alone / {usual}", alone_rate, rates[usual]),
        (f"encoder alone / {best} (its best)", alone_rate, rates[best]),
        ("store to Parquet / encoder alone", rates["store to Parquet"], alone_rate),
    ):
        print(f"  {what}: {above[0] / below[0]:.2f} by the clock, {above[1] / below[1]:.2f} by CPU time")


def longest(store: FrameStore, num_pairs: int) -> FrameStore:
    """A store of the longest episodes, again and again, a whole number for every core: no core waits."""
    ranked = sorted(store.episodes, key=lambda episode: -episode.num_frames)[: num_cores()]
    repeats = max(1, round(num_pairs / sum(episode.num_frames - 1 for episode in ranked)))
    return dataclasses.replace(store, episodes=tuple(ranked * repeats))


def agreement(store: FrameStore, model: LatentActionModel, encoder: RunEncoder, num_pairs: int) -> None:
    """Count codes that the fast encoder gives otherwise than the model, and how near a tie those are."""
    transitions = Transitions(store, None)
    num_pairs = min(num_pairs, len(transitions))
    rows = np.sort(np.random.default_rng(0).choice(len(transitions), num_pairs, replace=False))
    num_codes = num_different = 0
    farthest = 0.0
    torch.set_num_threads(num_cores())
    for start in range(0, num_pairs, 16):
        frames, next_frames = transitions.read(rows[start : start + 16], model.grayscale)
        expected = model.encode(frames, next_frames).cpu()
        codes = torch.from_numpy(encoder(np.concatenate([frames, next_frames]), len(frames)))
        differs = codes != expected
        num_codes, num_different = num_codes + codes.numel(), num_different + int(differs.sum())
        if differs.any():
            latents = model.embed(frames, next_frames).cpu().permute(0, 2, 3, 1)[differs].double()
            book = model.codebook.cpu().double()
            given, nearest = ((latents - book[c[differs]]).norm(dim=1) for c in (codes, expected))
            farthest = max(farthest, float((given / nearest - 1).max()))
    print(
        f"  {num_pairs:,} pairs: {num_different:,} of {num_codes:,} codes differ from the model's own; "
        f"the farthest of them lies {100 * farthest:.2g} % farther than the nearest code"
    )


def memory(options: argparse.Namespace, store: Path, num_frames: int) -> None:
    """Print the peak memory of a process that labels about `num_frames` frames."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    process = context.Process(target=_label_many, args=(options, store, num_frames, sender))
    process.start()
    num_labelled, megabytes = receiver.recv()
    process.join()
    print(f"  {num_labelled:,} pairs labelled: peak memory {megabytes:,.0f} MiB")


def _label_many(options: argparse.Namespace, path: Path, num_frames: int, sender: Connection) -> None:
    store = FrameStore.open(path)
    repeats = -(-num_frames // sum(episode.num_frames for episode in store.episodes))
    episodes = list(store.episodes) * repeats
    while sum(episode.num_frames for episode in episodes[:-1]) >= num_frames:
        episodes.pop()
    many = dataclasses.replace(store, episodes=tuple(episodes))
    device = resolve_device(options.device)
    model = (_load(options.model) if options.model else _untrained(options.preset, store)).to(device)
    shards = plan_shards(many, 1, None)
    with tempfile.TemporaryDirectory() as scratch:
        origin = origin_of(model, many, ExtractConfig())
        label_locally(many, origin, shards, fast_encoder(model, device), Path(scratch))
    sender.send((sum(shard.num_transitions for shard in shards), peak_memory_mb()))


if __name__ == "__main__":
    main()
