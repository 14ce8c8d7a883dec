"""The world model: frames and a button in, the next frame out, through latent actions.

It is object-centric where the object prior helps: tracked objects are moved by small networks and composited
by code, the dynamics predict the codes of all else, and the decoder of the latent action model draws the
cells in which these differ from what the prior expects. Without the prior the decoder draws every frame.

Dimensions: N worlds side by side, n frames given, k frames of history, C colour channels, H W frame,
K codes, h w grid, M buttons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad.errors import UserError
from ghostpad.model import LatentActionModel, LatentActionModelConfig
from ghostpad.model.frame_format import to_frames
from ghostpad.model.pretrained import find_model, hash_of, load_weights, read_weights
from ghostpad.objects.prior import ObjectPrior
from ghostpad.world.config import DynamicsConfig
from ghostpad.world.decoding import decode
from ghostpad.world.dynamics import make_dynamics
from ghostpad.world.expectation import (
    Expectation,
    Forecast,
    ObjectCodes,
    RecordedTransitions,
    WorldState,
    to_bytes,
    to_unit,
)

KIND = "world"
Buttons = Tensor | np.ndarray | int


@dataclass(frozen=True)
class WorldModelConfig:
    """A whole world model."""

    latent_action_model: LatentActionModelConfig = field(default_factory=LatentActionModelConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    objects: bool = True
    """whether the object prior is used"""


class WorldModel(nn.Module):
    """Predicts the codes of the next transition under a button and draws the next frame from them."""

    objects_active: Tensor
    """() bool; training switches the object prior off where it does not help in a game"""

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__()
        self.config = config
        self.folder: Path | None = None
        self.latent_action_model = model = LatentActionModel(config.latent_action_model)
        frames = config.latent_action_model.frames
        size = (model.num_channels, model.codebook_size, model.grid, model.cell // frames.downsample)
        self.dynamics = make_dynamics(config.dynamics, *size)
        self.height, self.width, self.stride = frames.height, frames.width, frames.stride
        self.grayscale, self.num_channels = frames.grayscale, model.num_channels
        self.history, self.num_buttons = config.dynamics.history, config.dynamics.num_buttons
        self.prior = ObjectPrior(model.num_channels, (frames.height, frames.width), self.num_buttons)
        self.register_buffer("objects_active", torch.ones((), dtype=torch.bool))

    @property
    def uses_objects(self) -> bool:
        """Whether the object prior is used: configured, and not switched off by training."""
        return self.config.objects and bool(self.objects_active)

    @property
    def codes(self) -> ObjectCodes:
        """The object prior in the codes of the latent action model."""
        return ObjectCodes(self.prior, self.latent_action_model)

    @property
    def buttons_in_use(self) -> tuple[int, ...]:
        """Their numbers: training drops those that are not needed."""
        return tuple(self.dynamics.active.nonzero()[:, 0].tolist())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.latent_action_model.device

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) over configuration and weights."""
        return hash_of(self.config, self.state_dict())

    @torch.no_grad()
    def start(self, frames: np.ndarray | Tensor) -> WorldState:
        """Start worlds from recorded frames, of which the last k count; the oldest of fewer is repeated.

        Frames are uint8 or float in [0, 1]: (N, n, H, W, 3) or (N, n, C, H, W), without N for one world.

        Raises:
            UserError: shapes, types or ranges do not fit.
        """
        given = torch.as_tensor(frames)
        given = given[None] if given.ndim == 4 else given
        if given.ndim != 5 or not given.shape[0] or not given.shape[1]:
            raise UserError(f"start from (N, n, H, W, 3) frames; these have the shape {tuple(given.shape)}")
        given = given[:, -self.history :]
        missing = self.history - given.shape[1]
        given = torch.cat([given[:, :1].expand(-1, missing, -1, -1, -1), given], 1)
        wanted = self.latent_action_model.config.frames
        shown, _ = to_frames(given.flatten(0, 1), wanted, self.device, "frames")
        return WorldState(to_bytes(shown.unflatten(0, (-1, self.history))))

    @torch.no_grad()
    def predict(self, state: WorldState, buttons: Buttons) -> Tensor:
        """Logits (N, K, h, w) of the codes of the next transition under buttons (N,), or one for all.

        Raises:
            UserError: a button is not in [0, M), or there is not one for each world.
        """
        buttons_N = self._checked(state, buttons)
        return self.dynamics.logits(self._forecast(state, buttons_N).features, buttons_N).float()

    @torch.no_grad()
    def step(
        self,
        state: WorldState,
        buttons: Buttons,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[WorldState, Tensor]:
        """Hold a button for one transition; buttons and errors as in `predict`.

        Temperature 0 takes the likeliest codes and object positions, 1 draws them from the predicted
        distributions, and higher values flatten these.

        Returns:
            The worlds one frame later, and the codes (N, h, w) int64 of the transition.
        """
        if not temperature >= 0:
            raise UserError(f"temperature {temperature}: must be at least 0")
        buttons_N = self._checked(state, buttons)
        forecast = self._forecast(state, buttons_N, temperature, generator)
        codes_Nhw = decode(self.dynamics, forecast.features, buttons_N, temperature, generator)
        next_frames = self.draw(state.frames[:, -1], codes_Nhw, buttons_N, forecast.expected)
        control = None
        if forecast.expected is not None:
            control = self.prior.control_after(forecast.expected.tracks, buttons_N)
        frames = np.concatenate([state.frames[:, 1:], next_frames[:, None]], 1)
        return WorldState(frames, control, forecast), codes_Nhw

    @torch.no_grad()
    def prefetch(self, state: WorldState, buttons: Buttons) -> WorldState:
        """The same state with a forecast of the next transition, which makes the next step faster.

        Whatever button is then held leads to the same frames as without; it takes longer where it moves more
        than the controllable object. Args and errors as in `predict`; `buttons` is a guess.
        """
        return replace(state, prefetched=self._forecast(state, self._checked(state, buttons)))

    def _checked(self, state: WorldState, buttons: Buttons) -> Tensor:
        """A copy of the buttons, (N,) int64."""
        buttons_N = torch.as_tensor(buttons, device=self.device).to(torch.int64).expand(len(state)).clone()
        if len(state) and not 0 <= int(buttons_N.min()) <= int(buttons_N.max()) < self.num_buttons:
            raise UserError(f"buttons must lie in 0…{self.num_buttons - 1}")
        if self.training:
            raise UserError("the world model is in training mode; call .eval() first")
        return buttons_N

    def _forecast(
        self,
        state: WorldState,
        buttons_N: Tensor,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """What is known of the next transition, as far as possible from a prefetched forecast."""
        ahead, last = state.prefetched, state.last
        if ahead is not None and not temperature and torch.equal(buttons_N, ahead.buttons):
            return ahead
        if not self.uses_objects:
            return Forecast(buttons_N, None, None, self.encode(state.frames))
        tracks = ahead.tracks if ahead is not None else None
        if tracks is None:
            tracks = self.prior.track(state.frames, last.tracks if last is not None else None)
        moved = self.prior.predict(tracks, buttons_N, state.control, temperature, generator)
        if ahead is not None and ahead.expected is not None:
            # The expected codes do not depend on the controllable object.
            known = [each.predictions for each in ahead.expected.tracks]
            if [each.predictions for each in moved] == known:
                return replace(ahead, buttons=buttons_N, expected=replace(ahead.expected, tracks=moved))
        expected = self.codes.expect(moved, last.expected if last is not None else None)
        return Forecast(buttons_N, tracks, expected, self.encode(state.frames, expected))

    def encode(self, frames_NkCHW: np.ndarray, expected: Expectation | None = None) -> Tensor:
        """Features of histories (uint8) for the dynamics, at the resolution of the latent action model."""
        history = to_unit(frames_NkCHW, self.device)
        small = self.latent_action_model.scale.shrink(history.flatten(0, 1))
        prior = None if expected is None else expected.prior
        return self.dynamics.encode(small.unflatten(0, history.shape[:2]), prior)

    @torch.no_grad()
    def draw(
        self, newest_NCHW: np.ndarray, codes_Nhw: Tensor, buttons_N: Tensor, expected: Expectation | None
    ) -> np.ndarray:
        """The next frames (N, C, H, W) uint8 of worlds in which these codes happen."""
        if expected is not None:
            return self.codes.draw(expected, codes_Nhw, buttons_N)
        model = self.latent_action_model
        return to_bytes(model.frames_of_codes(to_unit(newest_NCHW, self.device), codes_Nhw))

    @torch.no_grad()
    def nll(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> Tensor:
        """Negative log-likelihood (N, M), nats, of recorded transitions under each button.

        That of their codes, and with the object prior that of where the controllable object goes. Histories
        are as in `start`, the N next frames as `LatentActionModel.encode` takes them; errors as there.
        """
        state = self.start(frames)
        self._checked(state, 0)
        shown, _ = to_frames(next_frames, self.latent_action_model.config.frames, self.device, "next_frames")
        return self.nll_of(self.encode_recorded(state.frames, to_bytes(shown)))

    def encode_recorded(self, frames_NkCHW: np.ndarray, next_NCHW: np.ndarray) -> RecordedTransitions:
        """Features and codes of recorded transitions (uint8)."""
        if self.uses_objects:
            expected = self.codes.expect_recorded(frames_NkCHW, next_NCHW)
            frame, next_frame, codes_Nhw = self.codes.transition(expected, next_NCHW)
        else:
            expected = None
            frame, next_frame = (to_unit(part, self.device) for part in (frames_NkCHW[:, -1], next_NCHW))
            codes_Nhw = self.latent_action_model.codes_of_pairs(frame, next_frame)
        features = self.encode(frames_NkCHW, expected)
        return RecordedTransitions(features, codes_Nhw, expected, (frame, next_frame))

    def nll_of(self, recorded: RecordedTransitions) -> Tensor:
        """The same (N, M) of encoded transitions."""
        nll_NM = self.dynamics.nll(recorded.features, recorded.codes)
        if recorded.expected is None:
            return nll_NM
        return nll_NM + self.prior.nll(recorded.expected.tracks).to(nll_NM)

    def button_probabilities(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> Tensor:
        """P(button | transition) by Bayes' rule with a uniform prior: (N, M), rows sum to 1.

        Args and errors as in `nll`.
        """
        return (-self.nll(frames, next_frames)).softmax(1)

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path = "breakout-world", device: str | torch.device = "cpu"
    ) -> "WorldModel":
        """Load a world model in evaluation mode; arguments as in `LatentActionModel.from_pretrained`.

        Raises:
            UserError: nothing is there, or what is there is no world model of this version.
        """
        config, weights = read_weights(path_or_name, KIND, WorldModelConfig)
        world = cls(config)
        # The state of a training run is no part of the world.
        own = set(world.state_dict())
        if missing := sorted(own - {*weights, "objects_active"}):
            raise UserError(
                f"{path_or_name}: a world of an earlier version, without {missing[0]}; train it again with "
                "'ghostpad world'"
            )
        load_weights(world, {name: part for name, part in weights.items() if name in own}, path_or_name)
        world.folder = find_model(path_or_name, KIND).parent
        return world.to(device).eval()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights; worlds of version 0.1, which lack `objects_active`, always used the object prior."""
        active = torch.ones((), dtype=torch.bool)
        return super().load_state_dict({"objects_active": active, **state_dict}, strict, assign)
