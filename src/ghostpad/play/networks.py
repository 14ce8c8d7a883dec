"""The networks of a world as ONNX graphs that take and give bytes, for a page that plays it without Python.

Dimensions: k frames of history, C colour channels, H W frame, K codes, h w grid, F features; one world.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostpad.model.export import to_onnx
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.world.dynamics import Dynamics
from ghostpad.world.expectation import Prior
from ghostpad.world.world_model import WorldModel


@dataclass(frozen=True)
class Graph:
    """One network: a module, inputs that have the shapes and types it takes, and their names."""

    module: nn.Module
    inputs: dict[str, Tensor]

    def onnx(self) -> bytes:
        """The serialized graph, whose output is named `output`."""
        return to_onnx(self.module.eval(), tuple(self.inputs.values()), list(self.inputs), "output")


class EncodeHistory(nn.Module):
    """History (1, k, C, H, W) uint8 → features, see `Dynamics.encode`.

    With the object prior also its codes (1, h, w) int32 and its mask (1, 1, H, W) uint8 in {0, 1}.
    """

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.dynamics, self._scale = world.dynamics, world.latent_action_model.scale

    def forward(self, history: Tensor, *prior: Tensor) -> Tensor:
        """Return features."""
        small = self._scale.shrink(history[0].float() / 255)[None]
        if not prior:
            return self.dynamics.encode(small)
        codes, mask = prior
        return self.dynamics.encode(small, Prior(codes.long(), self._scale.shrink(mask.float())))


class CodeLogits(nn.Module):
    """Features, button (1,) int32 and given codes (1, h, w) int32 → logits (1, K, h, w)."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, features: Tensor, button: Tensor, given: Tensor) -> Tensor:
        """Return logits."""
        return self.dynamics.logits(features, button.long(), given.long()).float()


class DrawFrame(nn.Module):
    """Frame (1, C, H, W) uint8 and codes (1, h, w) int32 → the next frame (1, C, H, W) uint8."""

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frame: Tensor, codes: Tensor) -> Tensor:
        """Return the next frame."""
        model, frame = self.model, frame.float() / 255
        small = model.scale.shrink(frame)
        drawn = model.decoder(small, model.quantizer.dequantize(codes.long()))
        return (model.frames_from(drawn, frame, self._nearest_colors) * 255).round().to(torch.uint8)

    def _nearest_colors(self, frames_NCHW: Tensor, palette_PC: Tensor) -> Tensor:
        """As `palette_indices`, without its check, whose result no graph could report."""
        return (frames_NCHW[:, None] - palette_PC[:, :, None, None]).abs().sum(2).argmin(1)


class CodesBetween(nn.Module):
    """Two frames (1, C, H, W) uint8 → the codes (1, h, w) int32 of the transition."""

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frame: Tensor, next_frame: Tensor) -> Tensor:
        """Return codes."""
        return self.model.codes_of_pairs(frame.float() / 255, next_frame.float() / 255).int()


def graphs(world: WorldModel) -> dict[str, Graph]:
    """The graphs of a world, by name: `history`, `logits`, `draw`."""
    model, bytes_of = world.latent_action_model, torch.uint8
    frame = torch.zeros(1, world.num_channels, world.height, world.width, dtype=bytes_of)
    codes = torch.zeros(1, *model.grid, dtype=torch.int32)
    history = {"history": frame[:, None].repeat(1, world.history, 1, 1, 1)}
    encode = EncodeHistory(world)
    with torch.no_grad():
        features = encode(*history.values())
    held = {"features": features, "button": torch.zeros(1, dtype=torch.int32), "given": codes}
    return {
        "history": Graph(encode, history),
        "logits": Graph(CodeLogits(world.dynamics), held),
        "draw": Graph(DrawFrame(model), {"frame": frame, "codes": codes}),
    }
