"""A trained model as files for others: safetensors with its config, or ONNX from frames to codes."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ghostpad import __version__
from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.io import whole_folder
from ghostpad.model.inference import PairEncoder
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.model.pretrained import KIND

ModelFormat = Literal["safetensors", "onnx"]
ONNX_NAME = "encoder.onnx"
OPSET = 18


def export_model(model: LatentActionModel, file_format: ModelFormat, out: Path, half: bool = False) -> None:
    """Write `model` into the new folder `out`: weights or graph, and `config.json` beside it.

    A safetensors export is read by `LatentActionModel.from_pretrained`. The ONNX graph takes `frames` and
    `next_frames`, float32 (N, C, H, W) in [0, 1] with any N, and gives `codes` (N, h, w) int64.

    With `half`, safetensors hold float16; the model itself is rounded so, and is then what will be read.

    Raises:
        UserError: `out` holds something, or ONNX is not installed.
    """
    refuse_full(out)
    if half:
        model.half().float()
    with whole_folder(out) as folder:
        if file_format == "onnx":
            (folder / ONNX_NAME).write_bytes(encoder_onnx(model))
        else:
            weights = model.state_dict()
            if half:
                weights = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
            write_safetensors(folder / "model.safetensors", weights)
        plain = {
            "kind": KIND,
            "version": __version__,
            "model_hash": model.model_hash,
            "grid": list(model.grid),
            "codebook_size": model.codebook_size,
            "model_config": to_plain(model.config),
        }
        (folder / "config.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def write_safetensors(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write `weights` as safetensors that everybody may read."""
    from safetensors.torch import save_file

    plain = {name: tensor.cpu().contiguous() for name, tensor in weights.items()}
    save_file(plain, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library leaves it to its owner alone


def refuse_full(out: Path) -> None:
    """Make sure that `out` is not there, or an empty folder.

    Raises:
        UserError: it is something else, which stays untouched.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already; choose another --out, or delete it")


def encoder_onnx(model: LatentActionModel, pixels: Literal["float32", "uint8"] = "float32") -> bytes:
    """Return the graph from a pair of frames to codes, with batch norm folded, as a serialized ONNX model.

    Args:
        model: its weights go into the graph.
        pixels: what the graph takes: floats in [0, 1], or bytes.

    Raises:
        UserError: the extra `onnx` is not installed.
    """
    frames = model.config.frames
    # Two pairs, not one: the exporter takes a size of one for a constant. And two tensors, not the same one
    # twice: it would take both inputs for one.
    shape = (2, model.num_channels, frames.height, frames.width)
    example = tuple(torch.zeros(shape, dtype=getattr(torch, pixels)) for _ in range(2))
    any_number = {0: torch.export.Dim("N")}
    names = ["frames", "next_frames"]
    return to_onnx(PairEncoder(model).cpu(), example, names, "codes", (any_number, any_number))


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    output: str,
    dynamic_shapes: tuple[Any, ...] | None = None,
) -> bytes:
    """Return what a module computes as a serialized ONNX model, its weights inside.

    Args:
        module: in evaluation mode, on the CPU.
        example: inputs of the shapes that the graph is for.
        inputs: their names.
        output: name of the one output.
        dynamic_shapes: sizes that may differ from the example's, as `torch.export` takes them.

    Raises:
        UserError: the extra `onnx` is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError('ONNX needs onnx and onnxscript: pip install "ghostpad[onnx]"') from None
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=dynamic_shapes,
            input_names=inputs,
            output_names=[output],
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the exporter has to say about torchvision and about its own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
