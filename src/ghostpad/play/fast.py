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
from ghostpad.world.expectation import Prior, to_unit
from ghostpad.world.world_model import WorldModel, WorldState

_TRIALS = 9


def fastest(world: WorldModel, state: WorldState) -> tuple[WorldModel, str]:
    """The faster of a world and its copy in ONNX Runtime, and the name of the engine.

    Args:
        world: in evaluation mode.
        state: one world, to try them on.
    """
    pytorch = f"PyTorch {torch.__version__}"
    # On a CPU convolutions are faster with channels last.
    world = world.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    needed = ("onnx", "onnxscript", "onnxruntime")
    if world.device.type != "cpu" or not all(map(importlib.util.find_spec, needed)):
        return world, pytorch
    exported = in_onnx_runtime(world, state)
    if _seconds(exported, state) >= _seconds(world, state):
        return world, pytorch
    import onnxruntime

    return exported, f"ONNX Runtime {onnxruntime.__version__}"


def in_onnx_runtime(world: WorldModel, state: WorldState) -> WorldModel:
    """A copy of a world that shares all but its networks, for one world at a time.

    Args:
        world: on the CPU, in evaluation mode.
        state: one world, whose shapes the graphs are exported for.
    """
    exported, model = copy.copy(world), copy.copy(world.latent_action_model)
    exported._modules = dict(world._modules)
    model._modules = dict(world.latent_action_model._modules)
    history = model.scale.shrink(to_unit(state.frames[0], world.device))[None]
    prior = None
    if world.uses_objects:
        prior = world.codes.expect(world.prior.predict(world.prior.track(state.frames))).prior
    codes = torch.zeros(1, *model.grid, dtype=torch.int64)
    pair, quantized = torch.cat([history[:, -1]] * 2, 1), model.quantizer.dequantize(codes)
    model._modules["encoder"] = _OnnxModule(model.encoder, (pair,), "latents")
    model._modules["decoder"] = _OnnxModule(model.decoder, (history[:, -1], quantized), "drawn")
    dynamics = _OnnxDynamics(world.dynamics, history, prior)
    exported._modules |= {"latent_action_model": model, "dynamics": dynamics}
    return exported.eval()


class _OnnxModule(nn.Module):
    """Stands in for a module; `example` has the shapes of its inputs."""

    def __init__(self, module: nn.Module, example: tuple[Tensor, ...], output: str) -> None:
        super().__init__()
        import onnxruntime

        self._names = [f"input_{number}" for number in range(len(example))]
        options = onnxruntime.SessionOptions()
        # One thread for each game, as in PyTorch.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        graph = to_onnx(module.eval(), example, self._names, output)
        self._session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def forward(self, *inputs: Tensor) -> Tensor:
        given = zip(self._names, inputs, strict=True)
        return torch.from_numpy(self._session.run(None, {n: t.contiguous().numpy() for n, t in given})[0])


class _Encode(nn.Module):
    """`Dynamics.encode` as a module."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, history_BkCHW: Tensor, *prior: Tensor) -> Tensor:
        return self.dynamics.encode(history_BkCHW, Prior(*prior) if prior else None)


class _Logits(nn.Module):
    """`Dynamics.logits` as a module."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, features: Tensor, buttons_B: Tensor, given_Bhw: Tensor) -> Tensor:
        return self.dynamics.logits(features, buttons_B, given_Bhw)


class _OnnxDynamics(Dynamics):
    """Stands in for `Dynamics`."""

    def __init__(self, dynamics: Dynamics, history: Tensor, prior: Prior | None) -> None:
        nn.Module.__init__(self)
        self.active, self.num_codes, self.num_buttons = (
            dynamics.active,
            dynamics.num_codes,
            dynamics.num_buttons,
        )
        inputs = (history,) if prior is None else (history, prior.codes, prior.mask)
        with torch.no_grad():
            features = dynamics.encode(history, prior)
        self._all_open = torch.full((1, *dynamics.grid), self.mask_code)
        self._encode = _OnnxModule(_Encode(dynamics), inputs, "features")
        example = (features, torch.zeros(1, dtype=torch.int64), self._all_open)
        self._logits = _OnnxModule(_Logits(dynamics), example, "logits")

    def encode(self, history_BkCHW: Tensor, prior: Prior | None = None) -> Tensor:
        return self._encode(history_BkCHW, *(() if prior is None else (prior.codes, prior.mask)))

    def logits(self, features: Tensor, buttons_B: Tensor, given_Bhw: Tensor | None = None) -> Tensor:
        return self._logits(features, buttons_B, self._all_open if given_Bhw is None else given_Bhw)


def _seconds(world: WorldModel, state: WorldState) -> float:
    """Median time of a step."""
    times = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        state, _ = world.step(state, 0)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
