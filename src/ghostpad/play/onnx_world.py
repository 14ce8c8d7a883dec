"""A world whose networks run in ONNX Runtime, used where that is installed and faster.

Dimensions: k frames of history, C colour channels, H W frame, D embedding, K codes, h w grid; one world.
"""

import copy

import torch
from torch import Tensor, nn

from ghostpad.evaluation.rollouts.single_steps import seconds_per_step
from ghostpad.model.export import has_onnx, onnx_session, to_onnx
from ghostpad.play.networks import Network
from ghostpad.world.dynamics import Dynamics
from ghostpad.world.expectation import Prior, to_unit
from ghostpad.world.world_model import WorldModel, WorldState

_TRIALS = 9


def fastest(world: WorldModel, state: WorldState) -> tuple[WorldModel, str]:
    """The faster of a world and its copy in ONNX Runtime, timed on `state`, and the name of the engine."""
    pytorch = f"PyTorch {torch.__version__}"
    # On a CPU convolutions are faster with channels last.
    world = world.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if world.device.type != "cpu" or not has_onnx():
        return world, pytorch
    exported = export_world(world, state)
    if seconds_per_step(exported, state, _TRIALS) >= seconds_per_step(world, state, _TRIALS):
        return world, pytorch
    import onnxruntime

    return exported, f"ONNX Runtime {onnxruntime.__version__}"


def export_world(world: WorldModel, state: WorldState) -> WorldModel:
    """A copy of a world on the CPU that shares all but its networks; it steps one game, shaped as `state`."""
    exported, model = copy.copy(world), copy.copy(world.latent_action_model)
    exported._modules = dict(world._modules)
    model._modules = dict(world.latent_action_model._modules)
    history = model.scale.shrink(to_unit(state.frames[0], world.device))[None]
    prior = None
    if world.uses_objects:
        prior = world.codes.expect(world.prior.predict(world.prior.track(state.frames))).prior
    codes = torch.zeros(1, *model.grid, dtype=torch.int64)
    pair, quantized = torch.cat([history[:, -1]] * 2, 1), model.quantizer.dequantize(codes)
    model._modules["encoder"] = _OnnxModule(model.encoder, (pair,))
    model._modules["decoder"] = _OnnxModule(model.decoder, (history[:, -1], quantized))
    exported._modules |= {
        "latent_action_model": model,
        "dynamics": _OnnxDynamics(world.dynamics, history, prior),
    }
    return exported.eval()


class _OnnxModule(nn.Module):
    """Stands in for a module; `example` has the shapes of its inputs."""

    def __init__(self, module: nn.Module, example: tuple[Tensor, ...]) -> None:
        super().__init__()
        self._names = [f"input_{number}" for number in range(len(example))]
        # One thread for each game, as in PyTorch.
        self._session = onnx_session(to_onnx(module.eval(), example, self._names, "output"))

    def forward(self, *inputs: Tensor) -> Tensor:
        feed = {n: t.contiguous().numpy() for n, t in zip(self._names, inputs, strict=True)}
        return torch.from_numpy(self._session.run(None, feed)[0])


class _OnnxDynamics(Dynamics):
    """Stands in for the dynamics of a world."""

    def __init__(self, dynamics: Dynamics, history: Tensor, prior: Prior | None) -> None:
        nn.Module.__init__(self)
        self.active = dynamics.active
        self.num_codes, self.num_buttons = dynamics.num_codes, dynamics.num_buttons
        self._all_masked = torch.full((1, *dynamics.grid), self.mask_code)
        with torch.no_grad():
            features = dynamics.encode(history, prior)

        def encode(history: Tensor, *prior: Tensor) -> Tensor:
            return dynamics.encode(history, Prior(*prior) if prior else None)

        self._encode = _OnnxModule(Network(encode, dynamics), (history, *(prior or ())))
        example = (features, torch.zeros(1, dtype=torch.int64), self._all_masked)
        self._logits = _OnnxModule(Network(dynamics.logits, dynamics), example)

    def encode(self, history_BkCHW: Tensor, prior: Prior | None = None) -> Tensor:
        return self._encode(history_BkCHW, *(prior or ()))

    def logits(self, features: Tensor, buttons_B: Tensor, given_Bhw: Tensor | None = None) -> Tensor:
        return self._logits(features, buttons_B, self._all_masked if given_Bhw is None else given_Bhw)
