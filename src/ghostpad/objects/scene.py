"""The scene model, which all recordings of a game have in common, and the tracks of a history in it.

Dimensions: C colour channels, H W frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from ghostpad.objects.detection import Object, RowColors

MAX_FRAMES_UNSEEN = 3  # for which a track survives without a detection
MAX_TEMPLATE_SIDE = 64  # pixels, up to which the appearance of an object is stored


@dataclass(frozen=True)
class Scene:
    """The scene model as arrays; None where it was not fitted.

    Attributes:
        row_colors: of the commonest small object.
        controllable: appearance of the object that buttons move.
        typical_frame: (C, H, W) uint8, the temporal mode of the recordings.
        is_typical: (H, W) bool, where most recorded frames show it.
        occluders: (H, W) bool, pixels that never change: objects pass behind them.
        rigid_parts: (H, W) int32, number from 1 of the part that a pixel belongs to, whose pixels have one
            colour at any time; 0 elsewhere.
    """

    row_colors: RowColors | None = None
    controllable: Object | None = None
    typical_frame: np.ndarray | None = None
    is_typical: np.ndarray | None = None
    occluders: np.ndarray | None = None
    rigid_parts: np.ndarray | None = None


@dataclass(frozen=True)
class Tracks:
    """The tracked objects of a history, see `tracking.track`.

    Attributes:
        newest: (C, H, W) uint8 frame.
        previous: (C, H, W) uint8, the frame before it.
        background: (C, H, W) uint8, the temporal mode of the history where anything moves, else `newest`.
        changed: (H, W) bool, pixels that changed within the history.
        objects: that are tracked.
        too_many: whether there is too much motion to track anything but the controllable object.
        scene: the scene model.
        detections: of each frame of the history; empty where nothing moves.
        next_objects: the objects in the next frame, where it was observed, see `tracking.track_next`.
        control: button and off-screen overshoot (2,) after the predicted frame, see `ControlState`.
    """

    newest: np.ndarray
    previous: np.ndarray
    background: np.ndarray
    changed: np.ndarray
    objects: list[Object] = field(default_factory=list)
    too_many: bool = False
    scene: Scene = field(default_factory=Scene)
    detections: Sequence[list[Object]] = ()
    next_objects: list[Object] | None = None
    control: tuple[int, np.ndarray] | None = None

    @property
    def controllable(self) -> Object | None:
        """The controllable object, if it is known and visible."""
        return next((each for each in self.objects if each.is_controllable), None)

    @property
    def predictions(self) -> list[tuple[bool, list[int] | None]]:
        """Of all objects but the controllable one: whether they will be occluded, and their positions."""
        return [
            (each.occluded, None if each.predicted_position is None else each.predicted_position.tolist())
            for each in self.objects
            if not each.is_controllable
        ]

    def with_controllable_at(self, position_2: np.ndarray) -> "Tracks":
        """The same tracks with the controllable object predicted at a position."""
        objects = [
            replace(each, predicted_position=position_2) if each.is_controllable else each
            for each in self.objects
        ]
        return replace(self, objects=objects)


class SceneModel(nn.Module):
    """The scene model as buffers; empty before it is fitted, see `background.fit_scene`.

    It stores appearance and position of three objects of one colour: the `controllable` one, the `spawn` that
    appears with the `spawn_button` (negative where there is none), and the `small` one with row colours.
    """

    spawn_button: torch.Tensor

    def __init__(self, num_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        buffers: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        for name in ("controllable", "spawn", "small"):
            buffers[f"{name}_mask"] = (MAX_TEMPLATE_SIDE, MAX_TEMPLATE_SIDE), torch.bool
            buffers[f"{name}_color"] = (num_channels,), torch.uint8
            buffers[f"{name}_position"] = (2,), torch.int64
        buffers |= dict.fromkeys(("is_typical", "occluders"), (size, torch.bool))
        buffers["typical_frame"] = (num_channels, *size), torch.uint8
        buffers["rigid_parts"] = size, torch.int32
        buffers["row_colors"] = (num_channels, size[0]), torch.int16
        buffers["row_colors_known"] = size[:1], torch.bool
        for name, (shape, dtype) in buffers.items():
            self.register_buffer(name, torch.zeros(shape, dtype=dtype))
        self.register_buffer("spawn_button", torch.full((), -1, dtype=torch.int64))

    def store(self, **arrays: np.ndarray | int) -> None:
        """Store arrays in the buffers of these names."""
        for name, array in arrays.items():
            self.get_buffer(name).copy_(torch.as_tensor(array))

    def store_object(self, name: str, template: Object | None) -> None:
        """Store the `controllable`, `spawn` or `small` object; none for None, or one that is too large."""
        mask = np.zeros((MAX_TEMPLATE_SIDE, MAX_TEMPLATE_SIDE), bool)
        if template is not None and max(template.mask.shape) <= MAX_TEMPLATE_SIDE:
            mask[: template.mask.shape[0], : template.mask.shape[1]] = template.mask
            color, position = template.colors[:, 0].astype(np.uint8), template.position
            self.store(**{f"{name}_color": color, f"{name}_position": position})
        self.store(**{f"{name}_mask": mask})

    def object(self, name: str) -> Object | None:
        """The `controllable`, `spawn` or `small` object, if there is one."""
        mask, color, position = (self._array(f"{name}_{part}") for part in ("mask", "color", "position"))
        if not mask.any():
            return None
        height, width = np.argwhere(mask).max(0) + 1
        colors = np.repeat(color.astype(np.int16)[:, None], mask.sum(), 1)
        return Object(position, mask[:height, :width], colors)

    @property
    def arrays(self) -> Scene:
        """The same as arrays, for tracking and rendering."""
        small, row_colors = self.object("small"), None
        if small is not None:
            row_colors = RowColors(small.mask, self._array("row_colors"), self._array("row_colors_known"))
        names = ("typical_frame", "is_typical", "occluders", "rigid_parts")
        return Scene(row_colors, self.object("controllable"), *map(self._array, names))

    def _array(self, name: str) -> np.ndarray:
        return self.get_buffer(name).cpu().numpy()
