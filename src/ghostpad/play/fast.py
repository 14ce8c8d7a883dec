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
    outlook = world.foreseen(world.follow(state.history))
    seen = (history,) if outlook is None else (history, outlook.codes, outlook.due)
    model._modules["encoder"] = _OnnxEncoder(model.encoder, torch.cat([history[:, -1]] * 2, 1))
    model._modules["decoder"] = _OnnxDecoder(model.decoder, history[:, -1], model.quantizer.embed(codes))
    twin._modules |= {"latent_action_model": model, "dynamics": _OnnxDynamics(world.dynamics, *seen)}
    return twin.eval()


class _Features(nn.Module):
    """What the dynamics see in a history."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, history_BkCHW: Tensor, *foreseen: Tensor) -> Tensor:
        return self.dynamics.features(history_BkCHW, None, *foreseen)


class _Logits(nn.Module):
    """What the dynamics make of it when the button is known."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, features_BFhw: Tensor, buttons_B: Tensor, told_Bhw: Tensor) -> Tensor:
        return self.dynamics.logits(features_BFhw, buttons_B, told_Bhw)


class _OnnxDynamics(nn.Module):
    """Stands in for `Dynamics`."""

    def __init__(self, dynamics: Dynamics, *seen: Tensor) -> None:
        super().__init__()
        self.active, self.untold = dynamics.active, dynamics.untold
        look = _Features(dynamics).eval()
        with torch.no_grad():
            features = look(*seen)
        self._untold_Bhw = torch.full((1, *features.shape[2:]), self.untold)
        names = ["history", "guess", "due"][: len(seen)]
        self._features = _session(to_onnx(look, seen, names, "features"))
        example = (features, torch.zeros(1, dtype=torch.int64), self._untold_Bhw)
        names = ["features", "buttons", "told"]
        self._logits = _session(to_onnx(_Logits(dynamics).eval(), example, names, "logits"))

    def features(
        self,
        history_BkCHW: Tensor,
        corners_B2: Tensor | None = None,
        guess_Bhw: Tensor | None = None,
        due_B1HW: Tensor | None = None,
    ) -> Tensor:
        given = {"history": history_BkCHW, "guess": guess_Bhw, "due": due_B1HW}
        return _run(self._features, {name: part for name, part in given.items() if part is not None})

    def logits(self, features_BFhw: Tensor, buttons_B: Tensor, told_Bhw: Tensor | None = None) -> Tensor:
        told_Bhw = self._untold_Bhw if told_Bhw is None else told_Bhw
        return _run(self._logits, {"features": features_BFhw, "buttons": buttons_B, "told": told_Bhw})


class _OnnxEncoder(nn.Module):
    """Stands in for `Encoder`."""

    def __init__(self, encoder: nn.Module, pairs_BCHW: Tensor) -> None:
        super().__init__()
        self._session = _session(to_onnx(encoder, (pairs_BCHW,), ["pairs"], "latents"))

    def forward(self, pairs_BCHW: Tensor) -> Tensor:
        return _run(self._session, {"pairs": pairs_BCHW})


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
    # A thread for each game, as in PyTorch.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: dict[str, Tensor]) -> Tensor:
    return torch.from_numpy(
        session.run(None, {name: t.contiguous().numpy() for name, t in inputs.items()})[0]
    )


def _seconds(world: WorldModel, state: WorldState) -> float:
    """Median time of a step of many."""
    times = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        state, _ = world.step(state, 0)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
