"""Labelling on a Ray cluster: the same shards, the same function, the same files.

Data and output folder must lie where every machine sees them under the same path.
"""

import importlib
import logging
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.labels.extract import ExtractConfig
from ghostpad.labels.format import Origin, Shard
from ghostpad.machine import num_cores
from ghostpad.progress import progress


@dataclass(frozen=True)
class Job:
    """What an actor needs to know; plain data, as it travels between machines."""

    model: str
    store: str
    out: str
    origin: Origin
    runtime: Any
    precision: Any
    device: str


class ShardLabeller:
    """An actor: loads model and store once, then labels shard after shard.

    A user's mistake comes back in the row: an exception would drag all of Ray's tracebacks along.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.mistake = ""
        try:
            self._load()
        except UserError as mistake:
            self.mistake = str(mistake)

    def _load(self) -> None:
        import torch

        from ghostpad.labels.encoders import fast_encoder
        from ghostpad.machine import resolve_device
        from ghostpad.model.latent_action_model import LatentActionModel

        torch.set_num_threads(1)
        job = self.job
        device = resolve_device(job.device)
        model = LatentActionModel.from_pretrained(job.model).to(device)
        self.store = FrameStore.open(Path(job.store))
        if (model.model_hash, self.store.fingerprint) != (
            job.origin.model_hash,
            job.origin.store_fingerprint,
        ):
            raise UserError(
                f"{job.model} or {job.store} is another one on {os.uname().nodename}; copy it there"
            )
        self.encoder = fast_encoder(model, device, job.runtime, job.precision)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Label the shard that `row` describes."""
        from ghostpad.labels.shards import label_shard

        try:
            if not self.mistake:
                shard = Shard(**{name: int(value) for name, value in row.items()})
                label_shard(self.store, shard, self.encoder, self.job.origin, Path(self.job.out))
        except UserError as mistake:
            self.mistake = str(mistake)
        return {"num_transitions": row["num_transitions"], "mistake": self.mistake}


def label_with_ray(config: ExtractConfig, store: FrameStore, origin: Origin, shards: list[Shard]) -> None:
    """Label `shards` by actors of a Ray cluster.

    Raises:
        UserError: Ray is not installed, the cluster does not answer, or an actor found a user's mistake.
    """
    ray = _import_ray()
    ours = not ray.is_initialized()
    _connect(ray, config)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    bar = progress(what="extract", unit="transitions", total=sum(shard.num_transitions for shard in shards))
    try:
        with bar:
            for row in _dataset(ray, config, store, origin, shards).iter_rows():
                if row["mistake"]:
                    raise UserError(row["mistake"])
                bar.update(row["num_transitions"])
    finally:
        if ours:
            ray.shutdown()


def _import_ray() -> Any:
    # Ray would report its use to its makers, and what its parts think of each other to the user.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        # By name: Ray is not among what every checkout installs, and the type checker would miss it.
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError:
        raise UserError('--engine ray needs Ray; install it with: pip install "ghostpad[ray]"') from None


def _connect(ray: Any, config: ExtractConfig) -> None:
    """Join the cluster, or start one on this machine, unless there is a connection already."""
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    address = config.ray_address or "local"
    if config.ray_address is None:
        options |= {"num_cpus": config.workers or num_cores(), "include_dashboard": False}
    try:
        _knock(address)
        ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise UserError(f"--ray-address {address}: no cluster answers there ({reason})") from None


def _knock(address: str) -> None:
    """Raise OSError when nobody listens at `[ray://]HOST:PORT`; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _dataset(ray: Any, config: ExtractConfig, store: FrameStore, origin: Origin, shards: list[Shard]) -> Any:
    job = Job(
        model=str(config.model.resolve()) if config.model.exists() else str(config.model),
        store=str(store.path.resolve()),
        out=str(config.out.resolve()),
        origin=origin,
        runtime=config.runtime,
        precision=config.precision,
        device=config.device,
    )
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if config.device != "cpu" else 0
    most = config.workers or int(gpus or resources.get("CPU", 1))
    # A block per shard, so that a lost machine costs the shards in its hands and no more.
    rows = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards))
    return rows.map(
        ShardLabeller,
        fn_constructor_args=(job,),
        num_cpus=1,
        num_gpus=1 if gpus else 0,
        compute=ray.data.ActorPoolStrategy(size=min(most, len(shards))),
    )
