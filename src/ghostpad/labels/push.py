"""The verb `push`: labels or a model, with their card, to a repository on the Hugging Face hub."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ghostpad import __version__
from ghostpad.errors import UserError
from ghostpad.labels.export import ExportConfig, write_export


@dataclass(frozen=True)
class PushConfig:
    """What to upload, and where to."""

    name: str
    """repository on the Hugging Face hub, USER/NAME; created if it does not exist"""
    model: Path | None = None
    """checkpoint, folder with checkpoints or name of a shipped model"""
    labels: Path | None = None
    """folder written by extract"""
    license: str = "unknown"
    """license on the card, as the hub names it, such as apache-2.0"""
    report: Path = Path("reports/latent_action")
    """folder written by evaluate; its numbers go on the card of the model that they were measured on"""
    private: bool = False
    """make a new repository private"""
    dry_run: bool = False
    """list what would be uploaded, and do nothing else"""


def push(config: PushConfig) -> None:
    """Upload a model as safetensors, or labels as a data set that `datasets` loads.

    Raises:
        UserError: not exactly one of both is given, the name is invalid, or the hub refuses.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if (config.model is None) == (config.labels is None):
        raise UserError("give either --model or --labels")
    try:
        validate_repo_id(config.name)
    except HFValidationError as error:
        raise UserError(f"{config.name}: not a valid repository name ({str(error).split('.')[0]})") from None
    kind = "model" if config.model is not None else "dataset"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "export"
        file_format = "safetensors" if kind == "model" else "datasets"
        write_export(
            ExportConfig(
                model=config.model,
                labels=config.labels,
                format=file_format,
                out=out,
                license=config.license,
                report=config.report,
            )
        )
        files = sorted(path for path in out.rglob("*") if path.is_file())
        for path in files:
            print(f"{path.stat().st_size:14,}  {path.relative_to(out)}")
        size = sum(path.stat().st_size for path in files) / 1e6
        print(f"{len(files)} files, {size:,.1f} MB, to the {kind} {config.name}")
        if config.dry_run:
            print("nothing was uploaded (--dry-run)")
            return
        print(f"uploaded to {_upload(config, kind, out)}")


def _upload(config: PushConfig, kind: str, out: Path) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(library_name="ghostpad", library_version=__version__)
    try:
        place = api.create_repo(config.name, repo_type=kind, private=config.private, exist_ok=True)
        api.upload_folder(repo_id=place.repo_id, repo_type=kind, folder_path=out)
    except LocalTokenNotFoundError:
        raise UserError("the Hugging Face hub needs a token; log in with: hf auth login") from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{config.name}: the hub refuses or cannot be reached ({reason[:150]})") from None
    return str(place)
