"""The networks of a world as ONNX graphs that take and give bytes, for a page that plays it without Python.

Dimensions: k frames of history, C colour channels, H W frame, K codes, h w grid, F features; one world.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ghostpad.model.export import to_onnx
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.objects.action_motion import PAST
from ghostpad.objects.detection import Object, pack_colors
from ghostpad.objects.dynamics import CROP_RADIUS, STATE_SIZE
from ghostpad.world.expectation import Prior
from ghostpad.world.world_model import WorldModel


class Network(nn.Module):
    """A function of tensors as a module; `parts` hold the weights that it uses."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.parts, self._function = nn.ModuleList(parts), function

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the function returns."""
        return self._function(*inputs)


@dataclass(frozen=True)
class Graph:
    """A network, and by name inputs that have the shapes and types it takes."""

    network: Network
    inputs: dict[str, Tensor]

    def onnx(self) -> bytes:
        """The serialized graph, whose output is named `output`."""
        return to_onnx(self.network.eval(), tuple(self.inputs.values()), list(self.inputs), "output")


def graphs(world: WorldModel) -> dict[str, Graph]:
    """The graphs of a world, by name; buttons and codes are int32, and one world is stepped.

    `history`: frames (1, k, C, H, W) uint8 → features, see `Dynamics.encode`; with the object prior also its
    codes (1, h, w) and its mask (1, 1, H, W) uint8 in {0, 1}. `logits`: features, button (1,) and given codes
    → (1, K, h, w). `draw`: see `draw_graph`. With the object prior also those of `_object_graphs`.
    """
    dynamics, model = world.dynamics, world.latent_action_model
    number = torch.zeros(1, dtype=torch.int32)
    frame = torch.zeros(1, world.num_channels, world.height, world.width, dtype=torch.uint8)
    codes = torch.zeros(1, *model.grid, dtype=torch.int32)
    inputs = {"history": frame[:, None].repeat(1, world.history, 1, 1, 1)}
    if world.uses_objects:
        inputs |= {"prior_codes": codes, "prior_mask": frame[:, :1]}

    def encode(history: Tensor, *prior: Tensor) -> Tensor:
        small = model.scale.shrink(history[0].float() / 255)[None]
        if not prior:
            return dynamics.encode(small)
        codes, mask = prior
        return dynamics.encode(small, Prior(codes.long(), model.scale.shrink(mask.float())))

    def logits(features: Tensor, button: Tensor, given: Tensor) -> Tensor:
        return dynamics.logits(features, button.long(), given.long()).float()

    with torch.no_grad():
        given = {"features": encode(*inputs.values()), "button": number, "given": codes}
    found = {
        "history": Graph(Network(encode, dynamics), inputs),
        "logits": Graph(Network(logits, dynamics), given),
        "draw": draw_graph(model, frame, codes),
    }
    return found | (_object_graphs(world, frame) if world.uses_objects else {})


def draw_graph(model: LatentActionModel, frame: Tensor, codes: Tensor) -> Graph:
    """Frame (1, C, H, W) uint8 and codes (1, h, w) → the next frame (1, C, H, W) uint8."""

    def nearest_colors(frames_NCHW: Tensor, palette_PC: Tensor) -> Tensor:
        # As `palette_indices`, without its check, whose result no graph could report.
        return (frames_NCHW[:, None] - palette_PC[:, :, None, None]).abs().sum(2).argmin(1)

    def draw(frame: Tensor, codes: Tensor) -> Tensor:
        unit = frame.float() / 255
        drawn = model.decoder(model.scale.shrink(unit), model.quantizer.dequantize(codes.long()))
        return (model.frames_from(drawn, unit, nearest_colors) * 255).round().to(torch.uint8)

    return Graph(Network(draw, model), {"frame": frame, "codes": codes})


def _object_graphs(world: WorldModel, frame: Tensor) -> dict[str, Graph]:
    """`codes` of the transition between two frames; where sprites and the controllable object go, in logits.

    See `ObjectDynamics.forward` (with a uint8 crop) for `sprites` and `ActionMotion.forward` for `motion`.
    """
    model, dynamics, motion = world.latent_action_model, world.prior.dynamics, world.prior.action_motion
    number = torch.zeros(1, dtype=torch.int32)

    def codes(frame: Tensor, next_frame: Tensor) -> Tensor:
        return model.codes_of_pairs(frame.float() / 255, next_frame.float() / 255).int()

    def sprites(crop: Tensor, state: Tensor, extrapolated: Tensor) -> Tensor:
        return dynamics(crop.float() / 255, state, extrapolated.long())

    def moves(pasts: Tensor, previous: Tensor, button: Tensor) -> Tensor:
        return motion(pasts, previous.long(), button.long())

    found = {"codes": Graph(Network(codes, model), {"frame": frame, "next_frame": frame.clone()})}
    if dynamics.is_trained:
        crop = torch.zeros(1, 2 * world.num_channels + 2, *[2 * CROP_RADIUS] * 2, dtype=torch.uint8)
        sprite = {"crop": crop, "state": torch.zeros(1, STATE_SIZE), "extrapolated": number}
        found["sprites"] = Graph(Network(sprites, dynamics), sprite)
    if motion.is_trained:
        held = {"pasts": torch.zeros(1, 3 * PAST), "previous": number, "button": number.clone()}
        found["motion"] = Graph(Network(moves, motion), held)
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
