"""A trained model for other programs: safetensors with its config, or ONNX from frames to codes.

Dimensions: N pairs, C colour channels, H W frame, h w grid.
"""

import copy
import importlib.util
import io
import json
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ghostpad import __version__
from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.io import whole_folder
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.model.pretrained import KIND

ONNX_NAME = "encoder.onnx"
OPSET = 18


class PairEncoder(nn.Module):
    """Encoder and codebook of a model for labelling, with batch norm folded into the convolutions.

    A copy: the model stays as it is. Frames are bytes (0–255) or floats in [0, 1], not checked.
    """

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.encoder = fold_batch_norms(copy.deepcopy(model.encoder).eval())
        self.quantizer = copy.deepcopy(model.quantizer).eval()
        self.scale = model.scale

    def forward(self, frames_NCHW: Tensor, next_frames_NCHW: Tensor) -> Tensor:
        """Return codes (N, h, w) int64, the same as the model's `encode` but for ties."""
        both = torch.cat([frames_NCHW, next_frames_NCHW], 1)
        if self.scale.picks:
            # First, so that fewer pixels are converted.
            both = self.scale.shrink(both)
        if both.dtype == torch.uint8:
            both = both.float() / 255
        if not self.scale.picks:
            both = self.scale.shrink(both)
        latents = self.encoder(both.to(next(self.encoder.parameters()).dtype))
        return self.quantizer.nearest(latents.float())


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Fold, in place, every batch norm that follows a convolution in an `nn.Sequential` into its weights.

    Only right in evaluation mode: y = γ·(W∗x + b − μ)/√(σ² + ε) + β is itself a convolution of x.
    """
    for part in [part for part in module.modules() if isinstance(part, nn.Sequential)]:
        for before, after in pairwise(list(part._modules)):
            conv, norm = part._modules[before], part._modules[after]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(part, before, fuse_conv_bn_eval(conv, norm))
                setattr(part, after, nn.Identity())
    return module


def export_model(
    model: LatentActionModel,
    file_format: Literal["safetensors", "onnx"],
    out: Path,
    half: bool = False,
    card: str = "",
) -> None:
    """Write `model` into the new folder `out`: weights or graph, `config.json`, and `card` as `README.md`.

    A safetensors export is read by `LatentActionModel.from_pretrained`. The ONNX graph takes `frames`,
    float32 (N, T·C, H, W) in [0, 1] with any N and T frames of history, oldest first, and `next_frames`
    (N, C, H, W); it gives `codes` (N, h, w) int64.

    With `half`, safetensors hold float16; the weights of `model` itself are rounded to it too.

    Raises:
        UserError: `out` is not empty, or ONNX is not installed.
    """
    require_empty(out)
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
        if card:
            (folder / "README.md").write_text(card, encoding="utf-8")


def write_safetensors(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write `weights` as safetensors, readable by everyone."""
    from safetensors.torch import save_file

    plain = {name: tensor.cpu().contiguous() for name, tensor in weights.items()}
    save_file(plain, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library makes it readable by its owner alone


def require_empty(out: Path) -> None:
    """Make sure that `out` does not exist, or is an empty folder.

    Raises:
        UserError: it is something else, which stays untouched.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: already exists; choose another --out, or delete it")


def encoder_onnx(model: LatentActionModel, pixels: Literal["float32", "uint8"] = "float32") -> bytes:
    """Return the graph from a pair of frames to codes, with batch norm folded, as a serialized ONNX model.

    Raises:
        UserError: the extra `onnx` is not installed.
    """
    frames = model.config.frames
    # Two pairs, not one: the exporter would make a size of one constant. And two tensors, not the same one
    # twice: it would merge the two inputs.
    example = tuple(
        torch.zeros(2, num * model.num_channels, frames.height, frames.width, dtype=getattr(torch, pixels))
        for num in (model.history, 1)
    )
    any_number = {0: torch.export.Dim("N")}
    names = ["frames", "next_frames"]
    return to_onnx(PairEncoder(model).cpu(), example, names, "codes", (any_number, any_number))


def has_onnx() -> bool:
    """Whether all that exports and runs ONNX is installed."""
    return all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime")))


def onnx_session(graph: bytes) -> Any:
    """An `InferenceSession` of ONNX Runtime on the CPU, with one thread a call."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    output: str,
    dynamic_shapes: tuple[Any, ...] | None = None,
) -> bytes:
    """Return a module, in evaluation mode and on the CPU, as a serialized ONNX model with its weights inside.

    The graph has named `inputs` of the shapes of `example` (where `dynamic_shapes` of `torch.export` says so,
    of any size) and one `output`.

    Raises:
        UserError: the extra `onnx` is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError('ONNX needs onnx and onnxscript: pip install "ghostpad[onnx]"') from None
    # The exporter has much to say about torchvision and its own deprecations.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    hidden = io.StringIO()
    with torch.no_grad(), redirect_stdout(hidden), redirect_stderr(hidden), warnings.catch_warnings():
        warnings.simplefilter("ignore")
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
