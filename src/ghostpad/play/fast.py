"""A world whose networks run in ONNX Runtime, where that is installed and faster.

Dimensions: k frames of history, C colour channels, H W frame, D embedding, K codes, h w grid; one world.
"""

import copy
import importlib.util
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn

from ghostpad.model.export import to_onnx
from ghostpad.world.dynamics import Dynamics
from ghostpad.world.world_model import WorldModel, WorldState

_TRIALS = 9


def fastest(world: WorldModel, state: WorldState) -> tuple[WorldModel, str]:
    """The quicker of a world and its twin in ONNX Runtime, and what computes it.

    Args:
        world: in evaluation mode.
        state: one world, to try them on.
    """
    here = f"PyTorch {torch.__version__}"
    # On a CPU convolutions are quicker with the channels last.
    world = world.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    needed = ("onnx", "onnxscript", "onnxruntime")
    if world.device.type != "cpu" or not all(map(importlib.util.find_spec, needed)):
        return world, here
    twin = in_onnx_runtime(world, state)
    if _seconds(twin, state) >= _seconds(world, state):
        return world, here
    import onnxruntime

    return twin, f"ONNX Runtime {onnxruntime.__version__}"


def in_onnx_runtime(world: WorldModel, state: WorldState) -> WorldModel:
    """A copy of a world that shares all but its networks, and steps one world at a time.

    Args:
        world: on the CPU, in evaluation mode.
        state: one world, whose shapes the graphs are for.
    """
    twin = copy.copy(world)
    twin._modules = dict(world._modules)
    model = copy.copy(world.latent_action_model)
    model._modules = dict(world.latent_action_model._modules)
    codes = torch.zeros(1, *world.grid, dtype=torch.int64)
    history = world.shrunk(state.history)
    model._modules["decoder"] = _OnnxDecoder(model.decoder, history[:, -1], model.quantizer.embed(codes))
    twin._modules |= {"latent_action_model": model, "dynamics": _OnnxDynamics(world.dynamics, history)}
    return twin.eval()


class _Whole(nn.Module):
    """Dynamics from one end to the other."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, history_BkCHW: Tensor, buttons_B: Tensor) -> Tensor:
        return self.dynamics.logits(self.dynamics.features(history_BkCHW), buttons_B)


class _OnnxDynamics(nn.Module):
    """Stands in for `Dynamics`; everything is computed once the button is known."""

    def __init__(self, dynamics: Dynamics, history_BkCHW: Tensor) -> None:
        super().__init__()
        self.active = dynamics.active
        example = (history_BkCHW, torch.zeros(1, dtype=torch.int64))
        self._session = _session(to_onnx(_Whole(dynamics).eval(), example, ["history", "buttons"], "logits"))

    def features(self, history_BkCHW: Tensor) -> Tensor:
        return history_BkCHW

    def logits(self, history_BkCHW: Tensor, buttons_B: Tensor) -> Tensor:
        return _run(self._session, {"history": history_BkCHW, "buttons": buttons_B})


class _OnnxDecoder(nn.Module):
    """Stands in for `Decoder`."""

    def __init__(self, decoder: nn.Module, frames_BCHW: Tensor, quantized_BDhw: Tensor) -> None:
        super().__init__()
        example = (frames_BCHW, quantized_BDhw)
        self._session = _session(to_onnx(decoder, example, ["frames", "quantized"], "drawn"))

    def forward(self, frames_BCHW: Tensor, quantized_BDhw: Tensor) -> Tensor:
        return _run(self._session, {"frames": frames_BCHW, "quantized": quantized_BDhw})


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A thread for each game: more of them wait for one another longer than they compute.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: dict[str, Tensor]) -> Tensor:
    return torch.from_numpy(
        session.run(None, {name: t.contiguous().numpy() for name, t in inputs.items()})[0]
    )


def _seconds(world: WorldModel, state: WorldState) -> float:
    """Median time of a step."""
    times = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        world.step(state, 0)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
