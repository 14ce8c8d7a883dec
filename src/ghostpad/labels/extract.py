"""The verb `extract`: label every transition of a data set with its latent action."""

import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ghostpad.errors import UserError
from ghostpad.frames.ingest import open_data
from ghostpad.frames.store import FrameStore
from ghostpad.labels.folder import Labels, complete, missing_shards, reopen
from ghostpad.labels.format import Origin, Shard, plan_shards
from ghostpad.machine import num_cores, resolve_device
from ghostpad.progress import progress

if TYPE_CHECKING:
    from ghostpad.labels.encoders import RunEncoder
    from ghostpad.model.latent_action_model import LatentActionModel


@dataclass(frozen=True)
class ExtractConfig:
    """What to label, with which model, and how."""

    model: Path = Path("checkpoints/latent_action")
    """checkpoint, folder with checkpoints, exported model or name of a shipped one"""
    data: Path = Path("bulk_videos")
    """frame store, or folder of episodes (ingested once into a store beside it)"""
    out: Path = Path("data/latent_actions")
    """folder for the labels; what is there already is not computed again"""
    engine: Literal["local", "ray"] = "local"
    """this machine alone, or a Ray cluster"""
    ray_address: str | None = None
    """address of a running cluster (ray://HOST:10001 or auto); without it one starts on this machine"""
    with_frames: bool = False
    """put the frames into the files too (PNG, lossless), for use without the store"""
    verify: bool = False
    """afterwards compute a sample again with the plain model, and compare"""
    verify_transitions: int = 512
    """transitions in that sample"""
    shard_size: int | None = None
    """least transitions per file (whole episodes); from 1,024 to 65,536 by the data when not given"""
    runtime: Literal["auto", "onnx", "torch"] = "auto"
    """what runs the encoder; auto takes ONNX Runtime on a CPU where it is installed, else PyTorch"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """numbers of the encoder; auto takes fp32 on a CPU and bf16 on a GPU that has it"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    seed: int = 0
    """seed of the sample for verify"""
    workers: int | None = None
    """threads (local) or actors (ray) at once; all cores when not given"""


def extract(config: ExtractConfig) -> Labels:
    """Label every transition of `config.data` and return the labels; goes on from where a run was cut off.

    Raises:
        UserError: model and data do not fit, or `config.out` holds something else (which stays untouched).
    """
    from ghostpad.model.latent_action_model import LatentActionModel

    _check(config)
    device = resolve_device(config.device)
    model = LatentActionModel.from_pretrained(config.model)
    store = open_data(config.data, config.workers)
    origin = origin_of(model, store, config)
    shards = plan_shards(store, origin.stride, config.shard_size)
    if not shards:
        raise UserError(
            f"{store.path}: no transitions; an episode needs more than {origin.stride} frames, "
            "record longer ones"
        )
    missing = missing_shards(config.out, origin, shards)
    if missing:
        reopen(config.out)
        if config.engine == "ray":
            from ghostpad.labels.ray import label_with_ray

            label_with_ray(config, store, origin, missing)
        else:
            from ghostpad.labels.encoders import fast_encoder

            encoder = fast_encoder(model.to(device), device, config.runtime, config.precision)
            label_here(store, origin, missing, encoder, config.out, config.workers)
    labels = complete(config.out, origin, shards, store)
    total, num_episodes = labels.content["num_transitions"], labels.content["num_episodes"]
    print(f"{total:,} transitions of {num_episodes:,} episodes are labelled in {config.out}")
    if config.verify:
        from ghostpad.labels.verify import verify

        print(verify(labels, store, model.to(device), config.verify_transitions, config.seed))
    return labels


def _check(config: ExtractConfig) -> None:
    for name in ("shard_size", "workers", "verify_transitions"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    if config.ray_address is not None and config.engine != "ray":
        raise UserError("--ray-address is for --engine ray; add that, or leave the address out")


def origin_of(model: "LatentActionModel", store: FrameStore, config: ExtractConfig) -> Origin:
    """Say what the labels are made from.

    Raises:
        UserError: the model was trained on frames of another size.
    """
    frames = model.config.frames
    if (frames.height, frames.width) != (store.height, store.width):
        raise UserError(
            f"{config.model}: takes frames {frames.height} high and {frames.width} wide, but those of "
            f"{store.path} are {store.height} by {store.width}; use a model trained on such frames"
        )
    return Origin(
        model_hash=model.model_hash,
        store_fingerprint=store.fingerprint,
        stride=model.stride,
        grid=model.grid,
        codebook_size=model.codebook_size,
        grayscale=model.grayscale,
        with_frames=config.with_frames,
    )


class _Stopped(Exception):
    """Another thread failed, or the user interrupted."""


def label_here(
    store: FrameStore,
    origin: Origin,
    shards: list[Shard],
    encoder: "RunEncoder",
    out: Path,
    workers: int | None = None,
) -> None:
    """Label `shards` into `out` in threads: encoders and readers let go of Python's lock while they work.

    Args:
        store: the frames.
        origin: what the labels are made from.
        shards: what to label.
        encoder: is called from all threads.
        out: folder for the files.
        workers: number of threads; None for one per core.
    """
    from ghostpad.labels.shards import label_shard

    stop = threading.Event()
    bar = progress(what="extract", unit="transitions", total=sum(shard.num_transitions for shard in shards))

    def advance(num_transitions: int) -> None:
        if stop.is_set():
            raise _Stopped
        bar.update(num_transitions)

    with bar, _one_thread_per_call(), ThreadPoolExecutor(workers or num_cores()) as pool:
        jobs = [pool.submit(label_shard, store, shard, encoder, origin, out, advance) for shard in shards]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _one_thread_per_call() -> Iterator[None]:
    """Let PyTorch compute each call in the thread that makes it: here shards run beside each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
