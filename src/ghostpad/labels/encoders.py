"""Encoders for labelling: the fastest way from frames to codes on this machine.

Dimensions: T frames, N pairs, C colour channels, H W frame, h w grid.
"""

from typing import Any, Literal

import numpy as np
import torch

from ghostpad.labels.shards import RunEncoder
from ghostpad.machine import resolve_precision
from ghostpad.model.export import PairEncoder, encoder_onnx, has_onnx, onnx_session
from ghostpad.model.latent_action_model import LatentActionModel

Runtime = Literal["auto", "onnx", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# On a CPU the activations of two pairs stay in its caches (measured: benchmarks/extract.py).
CPU_BATCH, GPU_BATCH = 2, 512


class OnnxEncoder:
    """ONNX Runtime on the CPU, a thread per call."""

    def __init__(self, model: LatentActionModel, batch: int = CPU_BATCH) -> None:
        import onnxruntime

        self._session = onnx_session(encoder_onnx(model, "uint8"))
        self.name = f"onnxruntime {onnxruntime.__version__} cpu fp32"
        self.batch, self.history = batch, model.history

    def __call__(self, frames_TCHW: np.ndarray, stride: int) -> np.ndarray:
        """See `RunEncoder`."""
        frames, next_frames = (
            _with_history(frames_TCHW, self.history, stride),
            frames_TCHW[self.history * stride :],
        )
        codes = []
        for start in range(0, len(frames), self.batch):
            part = slice(start, start + self.batch)
            pairs = {"frames": frames[part], "next_frames": next_frames[part]}
            codes.append(np.asarray(self._session.run(["codes"], pairs)[0]))
        return np.concatenate(codes)


class TorchEncoder:
    """PyTorch with folded batch norm and channels last; in half precision and compiled on a GPU."""

    def __init__(
        self, model: LatentActionModel, device: torch.device, precision: Precision, batch: int | None = None
    ) -> None:
        on_gpu = device.type == "cuda"
        self.device, self.history = device, model.history
        self.batch = batch or (GPU_BATCH if on_gpu else CPU_BATCH)
        # By default a CPU computes in fp32: its codes are those of `model.encode`.
        resolved = resolve_precision(precision, device) if on_gpu or precision != "auto" else "fp32"
        encoder = PairEncoder(model).to(device)
        encoder.encoder.to(_DTYPES[resolved]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._encode = torch.compile(encoder) if on_gpu else encoder
        self._pads = on_gpu
        self.name = f"torch {torch.__version__} {device.type} {resolved}"
        if on_gpu:
            # Compile now, in one thread.
            frames = model.config.frames
            shape = (self.batch + model.history, model.num_channels, frames.height, frames.width)
            self(np.zeros(shape, np.uint8), 1)

    @torch.inference_mode()
    def __call__(self, frames_TCHW: np.ndarray, stride: int) -> np.ndarray:
        """See `RunEncoder`."""
        frames = torch.from_numpy(frames_TCHW)
        if self._pads:
            frames = frames.pin_memory().to(self.device, non_blocking=True)
        frames, next_frames = _with_history(frames, self.history, stride), frames[self.history * stride :]
        codes, num_pairs = [], len(next_frames)
        for start in range(0, num_pairs, self.batch):
            end = min(start + self.batch, num_pairs)
            both = frames[start:end], next_frames[start:end]
            if self._pads and end - start < self.batch:
                # Another size would be compiled again.
                both = tuple(torch.cat([f, f[-1:].expand(self.batch - len(f), -1, -1, -1)]) for f in both)
            codes.append(self._encode(*both)[: end - start])
        return torch.cat(codes).cpu().numpy()


def _with_history(frames_TCHW: Any, history: int, stride: int) -> Any:
    """Channels of the frames up to each current one, oldest first: (T − history·stride, history·C, H, W).

    Of an array an array, of a tensor a tensor.
    """
    if history == 1:
        return frames_TCHW[:-stride]
    num = len(frames_TCHW) - history * stride
    parts = [frames_TCHW[past * stride :][:num] for past in range(history)]
    return torch.cat(parts, 1) if isinstance(frames_TCHW, torch.Tensor) else np.concatenate(parts, 1)


def fast_encoder(
    model: LatentActionModel, device: torch.device, runtime: Runtime = "auto", precision: Precision = "auto"
) -> RunEncoder:
    """Return the fastest encoder for `device`: ONNX Runtime on a CPU when it is installed, else PyTorch."""
    if runtime == "auto":
        suits_onnx = device.type == "cpu" and precision in ("auto", "fp32")
        runtime = "onnx" if suits_onnx and has_onnx() else "torch"
    return OnnxEncoder(model) if runtime == "onnx" else TorchEncoder(model, device, precision)
