"""Finding and reading a trained model: checkpoints, exported folders and shipped weights.

Nothing is ever unpickled: checkpoints are read with `weights_only=True`, exports are safetensors.
"""

import hashlib
import json
import pickle
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ghostpad.config import ConfigT, from_plain, to_plain
from ghostpad.errors import UserError
from ghostpad.io import read_json
from ghostpad.renamed import current_config, current_weights, former_config, former_weights

CHECKPOINT_FORMAT = 1
KIND = "latent_action_model"
NAMES = {KIND: "a latent action model", "world": "a world model"}
VERBS = {KIND: "train", "world": "world"}


def shipped_models(kind: str = KIND) -> dict[str, Path]:
    """Names and folders of the models of one kind inside the package."""
    weights = Path(str(resources.files("ghostpad"))) / "weights"
    folders = sorted(path.parent for path in weights.glob("*/model.safetensors"))
    return {folder.name: folder for folder in folders if read_json(folder / "config.json")["kind"] == kind}


def find_model(path_or_name: str | Path, kind: str = KIND) -> Path:
    """Return the file that holds the model of one kind; a UserError if there is none."""
    path = Path(path_or_name)
    if path.is_dir():
        for name in ("best.pt", "last.pt", "model.safetensors"):
            if (path / name).is_file():
                return path / name
        raise UserError(f"{path}: no best.pt, last.pt or model.safetensors in this folder; train one first")
    if path.is_file():
        return path
    shipped = shipped_models(kind)
    if str(path_or_name) in shipped:
        return shipped[str(path_or_name)] / "model.safetensors"
    known = f"; shipped models: {', '.join(shipped)}" if shipped else ""
    raise UserError(
        f"{path_or_name}: no such model; train one with 'ghostpad {VERBS[kind]}' or name a checkpoint{known}"
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors and plain data onto the CPU; a UserError if it cannot be read."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable checkpoint ({reason}); use another or train again") from None
    if not isinstance(content, dict) or "format" not in content or "kind" not in content:
        raise UserError(f"{path}: not a checkpoint of Ghostpad")
    if content["format"] != CHECKPOINT_FORMAT:
        raise UserError(
            f"{path}: checkpoint format {content['format']}, but this version of Ghostpad reads "
            f"{CHECKPOINT_FORMAT}; use the Ghostpad version {content.get('version', '?')} that wrote it"
        )
    return _with_current_names(content)


def read_weights(
    path_or_name: str | Path, kind: str, config_type: type[ConfigT]
) -> tuple[ConfigT, dict[str, Tensor]]:
    """Read configuration and weights of a model; a UserError if there is none of this kind."""
    path = find_model(path_or_name, kind)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else read_checkpoint(path)
    if content.get("kind") != kind:
        found = NAMES.get(content.get("kind", ""), "something else")
        raise UserError(f"{path}: holds {found}, not {NAMES[kind]}")
    return from_plain(config_type, content.get("model_config"), f"{path}: config"), content["model"]


def load_weights(model: nn.Module, weights: dict[str, Tensor], path_or_name: str | Path) -> None:
    """Load the weights that were read together with the model's config; a UserError if they do not fit."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path_or_name}: the weights do not fit their own config ({reason})") from None


def hash_of(config: Any, weights: dict[str, Tensor]) -> str:
    """SHA-256 (hex) over configuration and weights, which no renaming changes."""
    digest = hashlib.sha256(json.dumps(former_config(to_plain(config)), sort_keys=True).encode())
    for name, tensor in sorted(former_weights(weights).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Read an export in the form of a checkpoint."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config_path = path.with_name("config.json")
    try:
        plain = read_json(config_path)
        weights = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: its config.json is missing beside it") from None
    except (ValueError, SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable export ({str(error)[:80]})") from None
    if not isinstance(plain, dict):
        raise UserError(f"{config_path}: not the config of a model")
    # Half precision is for the file alone.
    model = {name: t.float() if t.is_floating_point() else t for name, t in weights.items()}
    return _with_current_names({**plain, "model": model})


def _with_current_names(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a file of any version under today's names."""
    configs = {name: current_config(content[name]) for name in ("config", "model_config") if name in content}
    return {**content, **configs, "model": current_weights(content["model"])}
