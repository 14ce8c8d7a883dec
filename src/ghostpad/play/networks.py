"""The networks of a world as ONNX graphs that take and give bytes, for a page that plays it without Python.

Dimensions: k frames of history, C colour channels, H W frame, K codes, h w grid, F features; one world.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ghostpad.model.export import to_onnx
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.objects.action_motion import PAST, ActionMotion
from ghostpad.objects.detection import Object, pack_colors
from ghostpad.objects.dynamics import CROP_RADIUS, STATE_SIZE, ObjectDynamics
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


class SpriteMoves(nn.Module):
    """One sprite → logits (1, SIDE² + 1) of where it goes, see `ObjectDynamics.forward`."""

    def __init__(self, dynamics: ObjectDynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, crop: Tensor, state: Tensor, extrapolated: Tensor) -> Tensor:
        """Return logits; the crop is uint8."""
        return self.dynamics(crop.float() / 255, state, extrapolated.long())


class ControllableMoves(nn.Module):
    """The controllable object → logits (1, 2, 2R + 1) of where it goes, see `ActionMotion.forward`."""

    def __init__(self, motion: ActionMotion) -> None:
        super().__init__()
        self.motion = motion

    def forward(self, pasts: Tensor, previous: Tensor, button: Tensor) -> Tensor:
        """Return logits; buttons are int32."""
        return self.motion(pasts, previous.long(), button.long())


class CodesBetween(nn.Module):
    """Two frames (1, C, H, W) uint8 → the codes (1, h, w) int32 of the transition."""

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frame: Tensor, next_frame: Tensor) -> Tensor:
        """Return codes."""
        return self.model.codes_of_pairs(frame.float() / 255, next_frame.float() / 255).int()


def graphs(world: WorldModel) -> dict[str, Graph]:
    """The graphs of a world, by name: `history`, `logits`, `draw`; with the object prior also its own."""
    model, number = world.latent_action_model, torch.zeros(1, dtype=torch.int32)
    frame = torch.zeros(1, world.num_channels, world.height, world.width, dtype=torch.uint8)
    codes = torch.zeros(1, *model.grid, dtype=torch.int32)
    inputs = {"history": frame[:, None].repeat(1, world.history, 1, 1, 1)}
    if world.uses_objects:
        inputs |= {"prior_codes": codes, "prior_mask": frame[:, :1]}
    encode = EncodeHistory(world)
    with torch.no_grad():
        features = encode(*inputs.values())
    found = {
        "history": Graph(encode, inputs),
        "logits": Graph(CodeLogits(world.dynamics), {"features": features, "button": number, "given": codes}),
        "draw": Graph(DrawFrame(model), {"frame": frame, "codes": codes}),
    }
    return found | (_object_graphs(world, frame) if world.uses_objects else {})


def _object_graphs(world: WorldModel, frame: Tensor) -> dict[str, Graph]:
    prior, number = world.prior, torch.zeros(1, dtype=torch.int32)
    pair = {"frame": frame, "next_frame": frame.clone()}
    found = {"codes": Graph(CodesBetween(world.latent_action_model), pair)}
    if prior.dynamics.is_trained:
        crop = torch.zeros(1, 2 * world.num_channels + 2, *[2 * CROP_RADIUS] * 2, dtype=torch.uint8)
        sprite = {"crop": crop, "state": torch.zeros(1, STATE_SIZE), "extrapolated": number}
        found["sprites"] = Graph(SpriteMoves(prior.dynamics), sprite)
    if prior.action_motion.is_trained:
        held = {"pasts": torch.zeros(1, 3 * PAST), "previous": number, "button": number.clone()}
        found["motion"] = Graph(ControllableMoves(prior.action_motion), held)
    return found


def object_settings(world: WorldModel) -> dict[str, Any]:
    """What the object prior knows besides its networks, in plain data but for `scene_maps`."""
    scene, motion, model = world.prior.scene, world.prior.action_motion, world.latent_action_model
    ranges = ("lowest", "highest", "overshoot_low", "overshoot_high", "rest_button")
    row_colors = pack_colors(scene.get_buffer("row_colors").cpu().numpy())
    return {
        "sprites": bool(world.prior.dynamics.is_trained),
        "motion": bool(motion.is_trained),
        "cell": model.cell,
        "local": model.codes_are_local,
        "spawn_button": int(scene.spawn_button),
        "row_colors": row_colors.tolist(),
        "row_colors_known": scene.get_buffer("row_colors_known").int().tolist(),
        **{name: _template(scene.object(name)) for name in ("controllable", "spawn", "small")},
        **{name: motion.get_buffer(name).tolist() for name in ranges},
    }


def _template(template: Object | None) -> dict[str, Any] | None:
    if template is None:
        return None
    height, width = template.mask.shape
    return {
        "position": template.position.tolist(),
        "height": height,
        "width": width,
        "mask": template.mask.astype(int).ravel().tolist(),
        "color": int(pack_colors(template.colors)[0]),
    }


def scene_maps(world: WorldModel) -> bytes:
    """The maps of the scene model: rigid parts (int32), typical frame, where it is typical, occluders."""
    names = ("rigid_parts", "typical_frame", "is_typical", "occluders")
    return b"".join(world.prior.scene.get_buffer(name).cpu().numpy().tobytes() for name in names)
