"""The object-centric prior of a world: sprites are tracked, moved by small networks and composited by code.

A world calls it in this order: `track` the objects of a history, `predict` where they go, `expect` what
follows without them, and `render` the next frame of the world with them. It wraps any world of flat-coloured
games.

Dimensions: N worlds, k frames of history, C colour channels, H W frame, M buttons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.objects.action_motion import ControlState
from ghostpad.objects.dynamics import Movement
from ghostpad.objects.rendering import bare, bare_next, due, go_on, mended, with_due
from ghostpad.objects.spawning import with_coming
from ghostpad.objects.tracking import Tracks, follow, next_things, steered_next


@dataclass(frozen=True)
class Expectation:
    """What follows in N worlds if all objects that are not composited keep their velocity.

    Attributes:
        backgrounds: the newest frames (C, H, W) uint8 without the composited objects.
        frames: (C, H, W) uint8, what follows these.
        mask_N1HW: float32 in {0, 1}, where composited objects will be, whatever button is held.
    """

    backgrounds: list[np.ndarray]
    frames: list[np.ndarray]
    mask_N1HW: Tensor


class ObjectPrior(nn.Module):
    """Tracks objects, predicts where they go and draws them.

    Args:
        num_channels: C.
        size: H and W.
        num_buttons: M.
    """

    def __init__(self, num_channels: int, size: tuple[int, int], num_buttons: int) -> None:
        super().__init__()
        self.movement = Movement(num_channels, size, num_buttons)

    @property
    def is_trained(self) -> bool:
        """Whether it predicts where any object goes."""
        return bool(self.movement.is_taught | self.movement.pushes.is_taught)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.movement.out.weight.device

    def track(self, history_NkCHW: np.ndarray, last: Sequence[Tracks] | None = None) -> list[Tracks]:
        """Track the objects of each history.

        Args:
            history_NkCHW: uint8, the newest frame last, k at least 2.
            last: the tracks of the histories a frame before; saves time.
        """
        known = self.movement.known
        each = zip(history_NkCHW, last or [None] * len(history_NkCHW), strict=True)
        return [follow(history, known, last=before) for history, before in each]

    def observe(self, tracks: Sequence[Tracks], next_frames_NCHW: np.ndarray) -> list[Tracks]:
        """The same tracks, whose controllable object is where the next frames (uint8) show it."""
        seen = []
        for each, next_CHW in zip(tracks, next_frames_NCHW, strict=True):
            if each.things:
                each = replace(each, following=next_things(each, next_CHW) or [])
            there = steered_next(each, next_CHW, each.following)
            seen.append(each if there is None else each.led_to(there.place))
        return seen

    def predict(
        self,
        tracks: Sequence[Tracks],
        buttons_N: Tensor | None = None,
        control: ControlState | None = None,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> list[Tracks]:
        """The same tracks with the position in the next frame of all objects that it can predict.

        Args:
            tracks: of N worlds.
            buttons_N: that are held; the controllable object is left as it is when not given.
            control: how it was driven before; `initial_control` when not given.
            temperature: 0 for the likeliest positions, else they are sampled.
            generator: of the samples.
        """
        if control is None and buttons_N is not None:
            control = self.initial_control(tracks)
        return self.movement.foresee(tracks, temperature, generator, buttons_N, control)

    def initial_control(self, tracks: Sequence[Tracks]) -> ControlState:
        """The control state after long pushes: an object at an edge is as far beyond it as it can be."""
        pushes, steered = self.movement.pushes, [each.steered for each in tracks]
        overshoot = [np.zeros(2, int) if one is None else pushes.at_edges([one])[0] for one in steered]
        buttons = [int(pushes.resting) if far.any() else -1 for far in overshoot]
        return ControlState(torch.tensor(buttons, device=self.device), np.array(overshoot).reshape(-1, 2))

    def control_after(self, tracks: Sequence[Tracks], buttons_N: Tensor) -> ControlState:
        """The control state a frame after `tracks`, which are predicted for these buttons."""
        buttons_N, overshoot_N2 = buttons_N.clone(), np.zeros((len(buttons_N), 2), int)
        for number, each in enumerate(tracks):
            if each.pushed is not None:
                buttons_N[number], overshoot_N2[number] = each.pushed
        return ControlState(buttons_N, overshoot_N2)

    def expect(self, tracks: Sequence[Tracks]) -> Expectation:
        """What follows if all that is not composited keeps its velocity."""
        backgrounds = [bare(each) for each in tracks]
        frames = [go_on(each, ground) for each, ground in zip(tracks, backgrounds, strict=True)]
        mask_NHW = torch.from_numpy(np.stack([due(each) for each in tracks])).to(self.device)
        return Expectation(backgrounds, frames, mask_NHW[:, None].float())

    def next_backgrounds(self, tracks: Sequence[Tracks], next_frames_NCHW: np.ndarray) -> list[np.ndarray]:
        """The next frames (C, H, W) uint8 without the same objects, as far as they are seen there."""
        return [bare_next(*pair) for pair in zip(tracks, next_frames_NCHW, strict=True)]

    def render(
        self, tracks: Sequence[Tracks], pictures: Sequence[np.ndarray], buttons_N: Tensor
    ) -> list[np.ndarray]:
        """The world's own next frames (C, H, W) uint8, repaired and with the predicted objects."""
        spawn, comes_N = self.movement.coming.thing, (buttons_N == self.movement.coming_button).tolist()
        rendered = []
        for each, picture, comes in zip(tracks, pictures, comes_N, strict=True):
            picture = with_due(each, mended(each, picture))
            rendered.append(with_coming(each, picture, spawn) if spawn is not None and comes else picture)
        return rendered

    def nll(self, tracks: Sequence[Tracks]) -> Tensor:
        """Negative log-likelihood (N, M), nats, of the observed displacement under each button.

        0 where the controllable object was not observed, see `observe`, or is not known.
        """
        pushes = self.movement.pushes
        nats_NM = torch.zeros(len(tracks), pushes.num_buttons, device=self.device)
        gone = {
            number: (thing, thing.foreseen - thing.place)
            for number, thing in enumerate(each.steered for each in tracks)
            if thing is not None and thing.foreseen is not None
        }
        if gone and bool(pushes.is_taught):
            rows = list(gone)
            things, offsets = zip(*gone.values(), strict=True)
            corners = np.stack([tracks[number].corner for number in rows])
            nats_NM[rows] = pushes.surprise(things, np.stack(offsets), corners).to(self.device)
        return nats_NM
