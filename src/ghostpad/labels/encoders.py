"""The fastest way that this machine has from frames to codes.

Dimensions: T frames, N pairs, C colour channels, H W frame, h w grid.
"""

import importlib.util
from typing import Literal, Protocol

import numpy as np
import torch

from ghostpad.machine import resolve_precision
from ghostpad.model.export import PairEncoder
from ghostpad.model.latent_action_model import LatentActionModel

Runtime = Literal["auto", "onnx", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# On a CPU the activations of two pairs stay in its caches (measured: benchmarks/extract.py).
CPU_BATCH, GPU_BATCH = 2, 512


class RunEncoder(Protocol):
    """Encodes consecutive frames, each of which is the next frame of one pair and the frame of another.

    May be called from several threads at once; each call computes in one thread on a CPU.
    """

    name: str
    """What computes, for the record."""
    batch: int
    """Pairs that are computed at once; a run of a multiple of it wastes nothing."""

    def __call__(self, frames_TCHW: np.ndarray, stride: int) -> np.ndarray:
        """Return the codes (T − stride, h, w) int64 of uint8 frames."""
        ...


class OnnxEncoder:
    """ONNX Runtime on the CPU, a thread per call."""

    def __init__(self, model: LatentActionModel, batch: int = CPU_BATCH) -> None:
        import onnxruntime

        from ghostpad.model.export import encoder_onnx

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            encoder_onnx(model, "uint8"), options, providers=["CPUExecutionProvider"]
        )
        self.name = f"onnxruntime {onnxruntime.__version__} cpu fp32"
        self.batch = batch

    def __call__(self, frames_TCHW: np.ndarray, stride: int) -> np.ndarray:
        """Return the codes (T − stride, h, w) int64 of uint8 frames."""
        frames, next_frames = frames_TCHW[:-stride], frames_TCHW[stride:]
        starts = range(0, len(frames), self.batch)
        return np.concatenate(
            [self._batch(frames[i : i + self.batch], next_frames[i : i + self.batch]) for i in starts]
        )

    def _batch(self, frames_NCHW: np.ndarray, next_frames_NCHW: np.ndarray) -> np.ndarray:
        (codes,) = self._session.run(["codes"], {"frames": frames_NCHW, "next_frames": next_frames_NCHW})
        assert isinstance(codes, np.ndarray)
        return codes


class TorchEncoder:
    """PyTorch with folded batch norm and channels last; in half precision and compiled on a GPU."""

    def __init__(
        self, model: LatentActionModel, device: torch.device, precision: Precision, batch: int | None = None
    ) -> None:
        on_gpu = device.type == "cuda"
        self.device = device
        self.batch = batch or (GPU_BATCH if on_gpu else CPU_BATCH)
        # A CPU stays exact unless told otherwise: its labels are those of `model.encode`.
        resolved = resolve_precision(precision, device) if on_gpu or precision != "auto" else "fp32"
        encoder = PairEncoder(model).to(device)
        encoder.encoder.to(_DTYPES[resolved]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._encode = torch.compile(encoder) if on_gpu else encoder
        self._pads = on_gpu
        self.name = f"torch {torch.__version__} {device.type} {resolved}"
        if on_gpu:
            # Compiles in this thread, before others ask for it at the same time.
            self(np.zeros((self.batch + 1, *_frame_shape(model)), np.uint8), 1)

    @torch.inference_mode()
    def __call__(self, frames_TCHW: np.ndarray, stride: int) -> np.ndarray:
        """Return the codes (T − stride, h, w) int64 of uint8 frames."""
        frames = torch.from_numpy(frames_TCHW)
        if self._pads:
            frames = frames.pin_memory().to(self.device, non_blocking=True)
        num_pairs = len(frames) - stride
        codes = []
        for start in range(0, num_pairs, self.batch):
            end = min(start + self.batch, num_pairs)
            both = frames[start:end], frames[start + stride : end + stride]
            if self._pads and end - start < self.batch:
                # Another size would be compiled again.
                both = tuple(torch.cat([f, f[-1:].expand(self.batch - len(f), -1, -1, -1)]) for f in both)
            codes.append(self._encode(*both)[: end - start])
        return torch.cat(codes).cpu().numpy()


def fast_encoder(
    model: LatentActionModel, device: torch.device, runtime: Runtime = "auto", precision: Precision = "auto"
) -> RunEncoder:
    """Return the fastest encoder for `device`: ONNX Runtime on a CPU when it is installed, else PyTorch."""
    if runtime == "auto":
        fitting = device.type == "cpu" and precision in ("auto", "fp32")
        runtime = "onnx" if fitting and _onnx_installed() else "torch"
    return OnnxEncoder(model) if runtime == "onnx" else TorchEncoder(model, device, precision)


def _onnx_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


def _frame_shape(model: LatentActionModel) -> tuple[int, int, int]:
    frames = model.config.frames
    return model.num_channels, frames.height, frames.width
