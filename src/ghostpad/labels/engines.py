"""The engines that label shards: threads on this machine, or actors of a Ray cluster.

Both run `label_shard` and write the same files. Every machine of a cluster must see the data and the output
folder under the same path.
"""

import importlib
import logging
import os
import socket
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.labels.encoders import Precision, Runtime, fast_encoder
from ghostpad.labels.shards import Origin, RunEncoder, Shard, label_shard
from ghostpad.machine import num_cores, resolve_device
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.progress import progress


class _Stopped(Exception):
    """Another thread failed, or the user interrupted."""


def label_locally(
    store: FrameStore,
    origin: Origin,
    shards: list[Shard],
    encoder: RunEncoder,
    out: Path,
    workers: int | None = None,
) -> None:
    """Label `shards` of `store` into the folder `out` in `workers` threads; None for one per core.

    Threads are enough: encoders and readers release Python's lock while they work.
    """
    stop = threading.Event()
    bar = progress(what="extract", unit="transitions", total=sum(shard.num_transitions for shard in shards))

    def advance(num_transitions: int) -> None:
        if stop.is_set():
            raise _Stopped
        bar.update(num_transitions)

    threads_per_call = torch.get_num_threads()
    torch.set_num_threads(1)  # shards are labelled in parallel instead
    try:
        with bar, ThreadPoolExecutor(workers or num_cores()) as pool:
            jobs = [pool.submit(label_shard, store, shard, encoder, origin, out, advance) for shard in shards]
            try:
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                for job in done:
                    job.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads_per_call)


@dataclass(frozen=True)
class Job:
    """What an actor needs to label shards; plain data, as it travels between machines."""

    model: str
    store: str
    out: str
    origin: Origin
    runtime: Runtime
    precision: Precision
    device: str


class ShardLabeller:
    """An actor: loads model and store once, then labels shard after shard.

    A UserError comes back in the row: raised, it would come with Ray's own tracebacks.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.error = ""
        try:
            self._load()
        except UserError as error:
            self.error = str(error)

    def _load(self) -> None:
        torch.set_num_threads(1)
        job = self.job
        device = resolve_device(job.device)
        model = LatentActionModel.from_pretrained(job.model).to(device)
        self.store = FrameStore.open(Path(job.store))
        found = (model.model_hash, self.store.fingerprint)
        if found != (job.origin.model_hash, job.origin.store_fingerprint):
            raise UserError(f"{job.model} or {job.store} differs on {os.uname().nodename}; copy it there")
        self.encoder = fast_encoder(model, device, job.runtime, job.precision)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Label the shard that `row` describes."""
        try:
            if not self.error:
                shard = Shard(**{name: int(value) for name, value in row.items()})
                label_shard(self.store, shard, self.encoder, self.job.origin, Path(self.job.out))
        except UserError as error:
            self.error = str(error)
        return {"num_transitions": row["num_transitions"], "error": self.error}


def label_with_ray(job: Job, shards: list[Shard], workers: int | None, address: str | None) -> None:
    """Label `shards` by actors of a Ray cluster; without an address one is started on this machine.

    There is an actor for each GPU, or for each core without GPUs, unless `workers` says how many.

    Raises:
        UserError: Ray is not installed, the cluster does not answer, or an actor raised it.
    """
    ray = _import_ray()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, workers, address)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    bar = progress(what="extract", unit="transitions", total=sum(shard.num_transitions for shard in shards))
    try:
        with bar:
            for row in _dataset(ray, job, shards, workers).iter_rows():
                if row["error"]:
                    raise UserError(row["error"])
                bar.update(row["num_transitions"])
    finally:
        if ours:
            ray.shutdown()


def _import_ray() -> Any:
    # No usage reports to Ray's makers, no log lines of its own to the user.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        # By name: Ray is optional, and the type checker would miss it.
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError:
        raise UserError('--engine ray needs Ray; install it with: pip install "ghostpad[ray]"') from None


def _connect(ray: Any, workers: int | None, address: str | None) -> None:
    """Join the cluster at `address`, or start one on this machine."""
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        address = "local"
        options |= {"num_cpus": workers or num_cores(), "include_dashboard": False}
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host and port.isdigit():
            # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise UserError(f"--ray-address {address}: no cluster answers there ({reason})") from None


def _dataset(ray: Any, job: Job, shards: list[Shard], workers: int | None) -> Any:
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if job.device != "cpu" else 0
    num_actors = workers or int(gpus or resources.get("CPU", 1))
    # A block per shard, so that a lost machine costs only the shards it was labelling.
    rows = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards))
    return rows.map(
        ShardLabeller,
        fn_constructor_args=(job,),
        num_cpus=1,
        num_gpus=1 if gpus else 0,
        compute=ray.data.ActorPoolStrategy(size=min(num_actors, len(shards))),
    )
