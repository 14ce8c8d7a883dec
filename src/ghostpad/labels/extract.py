"""Label every transition of a data set with its latent action: codes; buttons are added to them above."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ghostpad.config import check_minimum
from ghostpad.errors import UserError
from ghostpad.frames.ingest import open_data
from ghostpad.frames.store import FrameStore
from ghostpad.labels.folder import Labels, complete, missing_shards, reopen
from ghostpad.labels.shards import Origin, plan_shards
from ghostpad.machine import resolve_device

if TYPE_CHECKING:
    from ghostpad.model import LatentActionModel


@dataclass(frozen=True)
class ExtractConfig:
    """What to label, with which model, and how."""

    model: Path = Path("checkpoints/latent_action")
    """checkpoint, folder with checkpoints, exported model or name of a shipped one"""
    data: Path = Path("bulk_videos")
    """frame store, or folder of episodes (ingested once into a store beside it)"""
    out: Path = Path("data/latent_actions")
    """folder for the labels; files that it already holds are kept"""
    engine: Literal["local", "ray"] = "local"
    """this machine alone, or a Ray cluster"""
    ray_address: str | None = None
    """address of a running cluster (ray://HOST:10001 or auto); without it one starts on this machine"""
    with_frames: bool = False
    """put the frames into the files too (PNG, lossless), for use without the store"""
    buttons: bool = False
    """add the column `button`: one of a few actions, inferred from motion without labels, in any game"""
    num_buttons: int = 12
    """buttons to infer; more than the game has controls, as a control may have several effects"""
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
    """Label every transition of `config.data` and return the labels; an interrupted run is continued.

    Raises:
        UserError: model and data do not fit, or `config.out` holds something else (which stays untouched).
    """
    # Here and below, so that help does not load torch.
    from ghostpad.model import LatentActionModel

    check_minimum(config, dict.fromkeys(("shard_size", "workers", "verify_transitions"), 1))
    if config.ray_address is not None and config.engine != "ray":
        raise UserError("--ray-address is for --engine ray; add that, or leave the address out")
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
    if missing and config.engine == "ray":
        from ghostpad.labels.engines import Job, label_with_ray

        model_path = config.model.resolve() if config.model.exists() else config.model
        job = Job(
            model=str(model_path),
            store=str(store.path.resolve()),
            out=str(config.out.resolve()),
            origin=origin,
            runtime=config.runtime,
            precision=config.precision,
            device=config.device,
        )
        label_with_ray(job, missing, config.workers, config.ray_address)
    elif missing:
        from ghostpad.labels.encoders import fast_encoder
        from ghostpad.labels.engines import label_locally

        encoder = fast_encoder(model.to(device), device, config.runtime, config.precision)
        label_locally(store, origin, missing, encoder, config.out, config.workers)
    labels = complete(config.out, origin, shards, store)
    total, num_episodes = labels.manifest["num_transitions"], labels.manifest["num_episodes"]
    print(f"{total:,} transitions of {num_episodes:,} episodes are labelled in {config.out}")
    if config.verify:
        from ghostpad.labels.verify import verify

        print(verify(labels, store, model.to(device), config.verify_transitions, config.seed))
    return labels


def origin_of(model: "LatentActionModel", store: FrameStore, config: ExtractConfig) -> Origin:
    """What the labels are made from; a UserError if the model takes frames of another size."""
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
