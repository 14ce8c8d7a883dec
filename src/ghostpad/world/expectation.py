"""What the object prior expects of the next transition, in codes; and how decided codes are drawn on it.

The prior predicts where every object goes. Composited objects are left out of both frames of the transition;
the codes between the two are what the dynamics start from. Once codes are decided, the decoder draws the
cells in which they differ from the expected ones, and the prior composites its objects into the picture.

Dimensions: N worlds, k frames of history, C colour channels, H W frame, h w grid.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.objects.action_motion import ControlState
from ghostpad.objects.prior import ObjectPrior
from ghostpad.objects.scene import Tracks

Pictures = list[np.ndarray]  # frames (C, H, W) uint8, one for each world


class Prior(NamedTuple):
    """What is known of the next transition before the dynamics are asked.

    Attributes:
        codes: (B, h, w) int64, of the transition if every object keeps its velocity.
        mask: (B, 1, H, W) in [0, 1], where composited objects will be; codes do not describe them.
    """

    codes: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Expectation:
    """What N worlds show next if every object goes where the prior predicts it.

    Attributes:
        tracks: the objects, with their predicted positions.
        backgrounds: the newest frames without composited objects.
        frames: the next frames without them, all other objects at constant velocity.
        prior: the codes between the two, and where composited objects will be.
    """

    tracks: list[Tracks]
    backgrounds: Pictures
    frames: Pictures
    prior: Prior


@dataclass(frozen=True)
class RecordedTransitions:
    """N recorded transitions as the dynamics are trained on them.

    Attributes:
        features: of the histories, see `Dynamics.encode`.
        codes: (N, h, w) int64.
        expected: what the object prior expects; None without it.
        frames: both frames (N, C, H, W) in [0, 1], without composited objects.
    """

    features: Tensor
    codes: Tensor
    expected: Expectation | None
    frames: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Forecast:
    """What is known of the next transition of N worlds before its codes are decided.

    Attributes:
        buttons: (N,) held; a guess in a forecast that was prefetched.
        tracks: the objects of the history; None without the object prior.
        expected: what follows under these buttons; None without the object prior.
        features: of the history and the prior, see `Dynamics.encode`.
    """

    buttons: Tensor
    tracks: list[Tracks] | None
    expected: Expectation | None
    features: Tensor


@dataclass(frozen=True)
class WorldState:
    """Where N worlds are: the last frames, from which all else follows.

    `last` and `prefetched` belong to these frames; a state with other frames starts without them.

    Attributes:
        frames: (N, k, C, H, W) uint8, the newest last.
        control: off-screen state of the controllable object; None where it is unknown.
        last: the forecast of the transition that led here, of which unchanged parts are reused.
        prefetched: the forecast of the next transition, see `WorldModel.prefetch`.
    """

    frames: np.ndarray
    control: ControlState | None = None
    last: Forecast | None = None
    prefetched: Forecast | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def pictures(self) -> np.ndarray:
        """The newest frames: (N, H, W, 3) uint8."""
        newest = self.frames[:, -1].transpose(0, 2, 3, 1)
        return np.repeat(newest, 3 // newest.shape[3], axis=3)


class ObjectCodes:
    """The object prior in the codes of a latent action model."""

    def __init__(self, objects: ObjectPrior, model: LatentActionModel) -> None:
        self.objects, self.model = objects, model

    @torch.no_grad()
    def expect(self, tracks: list[Tracks], last: Expectation | None = None) -> Expectation:
        """What follows; worlds in which nothing changed since the `last` expectation reuse its codes."""
        backgrounds, frames, mask_N1HW = self.objects.expect(tracks)
        codes_Nhw = self._codes_between(backgrounds, frames, last)
        return Expectation(tracks, backgrounds, frames, Prior(codes_Nhw, self.model.scale.shrink(mask_N1HW)))

    def expect_recorded(self, frames_NkCHW: np.ndarray, next_NCHW: np.ndarray) -> Expectation:
        """What follows in recorded transitions (uint8); the controllable object goes where it went."""
        tracks = self.objects.observe(self.objects.track(frames_NkCHW), next_NCHW)
        return self.expect(self.objects.predict(tracks))

    def transition(
        self, expected: Expectation, next_frames_NCHW: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both frames (N, C, H, W) of recorded transitions without composited objects, and their codes."""
        after = self.objects.next_backgrounds(expected.tracks, next_frames_NCHW)
        codes_Nhw = self._codes_between(expected.backgrounds, after, expected)
        return self._unit(expected.backgrounds), self._unit(after), codes_Nhw

    @torch.no_grad()
    def draw(self, expected: Expectation, codes_Nhw: Tensor, buttons_N: Tensor) -> np.ndarray:
        """The next frames (N, C, H, W) uint8 of worlds in which these codes happen.

        Codes of tokens, and codes that the decoder attends to, are about the whole frame: all of it is drawn
        then. Other codes are about their cell and its neighbours.
        """
        pictures, model = list(expected.frames), self.model
        differs_Nhw = codes_Nhw != expected.prior.codes
        worlds = differs_Nhw.flatten(1).any(1).nonzero()[:, 0].tolist()
        if worlds:
            backgrounds = self._unit([expected.backgrounds[world] for world in worlds])
            drawn = to_bytes(model.frames_of_codes(backgrounds, codes_Nhw[worlds]))
            near = (
                nn.functional.max_pool2d(differs_Nhw[worlds, None].float(), 3, 1, 1)[:, 0].cpu().numpy() > 0
            )
            for world, picture, cells in zip(worlds, drawn, near, strict=True):
                if model.codes_are_local:
                    here = cells.repeat(model.cell, 0).repeat(model.cell, 1)
                    picture = np.where(here[: picture.shape[1], : picture.shape[2]], picture, pictures[world])
                pictures[world] = picture
        return np.stack(self.objects.render(expected.tracks, pictures, buttons_N))

    def _codes_between(self, frames: Pictures, next_frames: Pictures, known: Expectation | None) -> Tensor:
        """Codes (N, h, w) of transitions; each distinct pair of frames is encoded once, known pairs never."""
        pairs = _pairs(frames, next_frames)
        codes: dict[tuple[bytes, bytes], Tensor] = {}
        if known is not None:
            codes |= zip(_pairs(known.backgrounds, known.frames), known.prior.codes, strict=True)
        new = {pair: world for world, pair in enumerate(pairs) if pair not in codes}
        if new:
            given = (self._unit([part[world] for world in new.values()]) for part in (frames, next_frames))
            codes |= zip(new, self.model.codes_of_pairs(*given), strict=True)
        return torch.stack([codes[pair] for pair in pairs])

    def _unit(self, pictures: Pictures) -> Tensor:
        return to_unit(np.stack(pictures), self.model.device)


def _pairs(frames: Pictures, next_frames: Pictures) -> list[tuple[bytes, bytes]]:
    return [(frame.tobytes(), after.tobytes()) for frame, after in zip(frames, next_frames, strict=True)]


def to_unit(frames: np.ndarray, device: torch.device) -> Tensor:
    """Frames as float32 in [0, 1]."""
    return torch.from_numpy(frames).to(device).float() / 255


def to_bytes(frames: Tensor) -> np.ndarray:
    """Frames in [0, 1] as uint8."""
    return (frames * 255).round_().to(torch.uint8).cpu().numpy()
