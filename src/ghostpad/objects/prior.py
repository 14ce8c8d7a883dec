"""The object-centric prior of a world: sprites are tracked, moved by small networks and composited by code.

A world calls it in this order: `track` the objects of a history, `predict` where they go, `expect` what the
codes are to change, and `render` the next frame that the world drew with the objects. It wraps any world.

Dimensions: N worlds, k frames of history, C colour channels, H W frame, M buttons.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.objects.action_motion import ActionMotion, ControlState
from ghostpad.objects.dynamics import ObjectDynamics
from ghostpad.objects.rendering import (
    composite,
    composite_spawn,
    extrapolate,
    next_without_objects,
    predicted_mask,
    repair,
    without_objects,
)
from ghostpad.objects.scene import SceneModel, Tracks
from ghostpad.objects.tracking import locate_next_controllable, track, track_next


class ObjectPrior(nn.Module):
    """Tracks objects in frames of C channels and `size` (H, W), predicts where they go and draws them."""

    def __init__(self, num_channels: int, size: tuple[int, int], num_buttons: int) -> None:
        super().__init__()
        self.dynamics = ObjectDynamics(num_channels)
        self.action_motion = ActionMotion(num_buttons)
        self.scene = SceneModel(num_channels, size)

    @property
    def is_trained(self) -> bool:
        """Whether it predicts where any object goes."""
        return bool(self.dynamics.is_trained | self.action_motion.is_trained)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.dynamics.out.weight.device

    def track(self, history_NkCHW: np.ndarray, last: Sequence[Tracks] | None = None) -> list[Tracks]:
        """Track the objects of uint8 histories, the newest frame last, k at least 2.

        `last` are the tracks of the histories a frame before, which save time.
        """
        scene = self.scene.arrays
        each = zip(history_NkCHW, last or [None] * len(history_NkCHW), strict=True)
        return [track(history, scene, before) for history, before in each]

    def observe(self, tracks: Sequence[Tracks], next_frames_NCHW: np.ndarray) -> list[Tracks]:
        """The same tracks, whose controllable object is where the next frames (uint8) show it."""
        observed = []
        for each, next_CHW in zip(tracks, next_frames_NCHW, strict=True):
            if each.objects:
                each = replace(each, next_objects=track_next(each, next_CHW) or [])
            found = locate_next_controllable(each, next_CHW, each.next_objects)
            observed.append(each if found is None else each.with_controllable_at(found.position))
        return observed

    def predict(
        self,
        tracks: Sequence[Tracks],
        buttons_N: Tensor | None = None,
        control: ControlState | None = None,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> list[Tracks]:
        """The same tracks with the positions in the next frame of all objects that it can predict.

        Without buttons the controllable object is left as it is. `control` says how it was driven before;
        `initial_control` when not given. Temperature 0 takes the likeliest positions, others sample.
        """
        predicted = list(tracks)
        driven = {row: each.controllable for row, each in enumerate(tracks) if each.controllable is not None}
        if buttons_N is not None and driven and bool(self.action_motion.is_trained):
            control, rows = control or self.initial_control(tracks), list(driven)
            before = ControlState(control.buttons[rows], control.overshoot[rows])
            positions, after = self.action_motion.predict(
                list(driven.values()), buttons_N[rows], before, temperature, generator
            )
            states = zip(after.buttons.tolist(), after.overshoot, strict=True)
            for row, position, state in zip(rows, positions, states, strict=True):
                predicted[row] = replace(tracks[row].with_controllable_at(position), control=state)
        return self.dynamics.predict(predicted, temperature, generator)

    def initial_control(self, tracks: Sequence[Tracks]) -> ControlState:
        """The control state of new worlds: an object at an edge is as far beyond it as it can be."""
        overshoot_N2 = np.zeros((len(tracks), 2), int)
        for row, each in enumerate(tracks):
            if each.controllable is not None:
                overshoot_N2[row] = self.action_motion.overshoot_at(each.controllable.position)
        rest = int(self.action_motion.rest_button)
        buttons = torch.from_numpy(np.where(overshoot_N2.any(1), rest, -1))
        return ControlState(buttons.to(self.device), overshoot_N2)

    def control_after(self, tracks: Sequence[Tracks], buttons_N: Tensor) -> ControlState:
        """The control state a frame after `tracks`, which are predicted for these buttons."""
        buttons_N, overshoot_N2 = buttons_N.clone(), np.zeros((len(buttons_N), 2), int)
        for row, each in enumerate(tracks):
            if each.control is not None:
                buttons_N[row], overshoot_N2[row] = each.control
        return ControlState(buttons_N, overshoot_N2)

    def expect(self, tracks: Sequence[Tracks]) -> tuple[list[np.ndarray], list[np.ndarray], Tensor]:
        """What follows if all that is not composited keeps its velocity.

        Returns:
            The newest frames (C, H, W) uint8 without the composited objects, the next ones, and (N, 1, H, W)
            float32 in {0, 1} where composited objects will be, whatever button is held.
        """
        backgrounds = [without_objects(each) for each in tracks]
        frames = [extrapolate(*pair) for pair in zip(tracks, backgrounds, strict=True)]
        mask_NHW = torch.from_numpy(np.stack([predicted_mask(each) for each in tracks]))
        return backgrounds, frames, mask_NHW[:, None].float().to(self.device)

    def next_backgrounds(self, tracks: Sequence[Tracks], next_frames_NCHW: np.ndarray) -> list[np.ndarray]:
        """The next frames (C, H, W) uint8 without the same objects, as far as they are visible there."""
        return [next_without_objects(*pair) for pair in zip(tracks, next_frames_NCHW, strict=True)]

    def render(
        self, tracks: Sequence[Tracks], pictures: Sequence[np.ndarray], buttons_N: Tensor
    ) -> list[np.ndarray]:
        """The next frames (C, H, W) uint8 that a world drew, repaired and with the predicted objects."""
        rendered = [
            composite(each, repair(each, picture)) for each, picture in zip(tracks, pictures, strict=True)
        ]
        spawn = self.scene.object("spawn")
        if spawn is not None:
            for row in (buttons_N == self.scene.spawn_button).nonzero()[:, 0].tolist():
                rendered[row] = composite_spawn(tracks[row], rendered[row], spawn)
        return rendered

    def nll(self, tracks: Sequence[Tracks]) -> Tensor:
        """Negative log-likelihood (N, M), nats, of the observed displacement under each button.

        0 where the controllable object was not observed, see `observe`, or is not known.
        """
        nats_NM = torch.zeros(len(tracks), self.action_motion.num_buttons, device=self.device)
        moved = {
            row: (each, each.predicted_position - each.position)
            for row, each in enumerate(each.controllable for each in tracks)
            if each is not None and each.predicted_position is not None
        }
        if moved and bool(self.action_motion.is_trained):
            objects, displacements = zip(*moved.values(), strict=True)
            nats = self.action_motion.nll(objects, np.stack(displacements))
            nats_NM[list(moved)] = nats.to(self.device)
        return nats_NM
