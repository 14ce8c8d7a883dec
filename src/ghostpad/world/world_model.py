"""The world model: frames and a button in, the next frame out, through codes that nobody recorded.

Dimensions: N worlds side by side, n frames given, k frames of history, C colour channels, H W frame,
K codes, D embedding, h w grid.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ghostpad import __version__
from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.io import whole_file, write_json
from ghostpad.model import LatentActionModel, LatentActionModelConfig
from ghostpad.model.export import write_safetensors
from ghostpad.model.frame_format import to_frames
from ghostpad.model.pretrained import find_model, hash_of, load_weights, read_weights
from ghostpad.objects.action_motion import ControlState
from ghostpad.objects.dynamics import Movement
from ghostpad.objects.prior import ObjectPrior
from ghostpad.objects.rendering import bare
from ghostpad.objects.tracking import Tracks, follow, same_apart_from_steered
from ghostpad.world.decoding import decide
from ghostpad.world.dynamics import Dynamics, DynamicsConfig

KIND = "world"


def cell_of(model: LatentActionModelConfig) -> int:
    """Pixels that a cell of the grid of codes covers, of the source."""
    return model.frames.downsample * 2 ** len(model.architecture.encoder.widths)


@dataclass(frozen=True)
class WorldModelConfig:
    """A whole world model."""

    latent_action_model: LatentActionModelConfig = field(default_factory=LatentActionModelConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)


@dataclass(frozen=True)
class WorldState:
    """Where N worlds are: the last frames, from which everything else follows.

    What was found in these frames belongs to them: with another history a state is made anew.

    Attributes:
        history: (N, k, C, H, W) float32 in [0, 1], the newest last.
        pushed: how what is steered was pushed, see `ControlState`; None where nobody knows.
        shown: the history as uint8; None where nobody has it.
        last: what was known of the transition that led here, for what is the same in the next.
        ahead: what is known of the next transition, where somebody looked, see `WorldModel.look_ahead`.
    """

    history: Tensor
    pushed: ControlState | None = None
    shown: np.ndarray | None = None
    last: "Looked | None" = None
    ahead: "Looked | None" = None

    def __len__(self) -> int:
        return len(self.history)

    @property
    def pictures(self) -> np.ndarray:
        """The newest frames: (N, H, W, 3) uint8."""
        return _bytes(self.history[:, -1].permute(0, 2, 3, 1).expand(-1, -1, -1, 3))


@dataclass(frozen=True)
class Outlook:
    """What follows in N worlds if all that is not taken out goes on as it did.

    Attributes:
        grounds: the newest frames (C, H, W) uint8 without what is taken out.
        guesses: (C, H, W) uint8, what follows.
        codes: (N, h, w) int64, of these transitions.
        due: (N, 1, H, W) in [0, 1], where what is taken out will be, of the size that the model works at.
    """

    grounds: list[np.ndarray]
    guesses: list[np.ndarray]
    codes: Tensor
    due: Tensor

    def codes_of(self, world: int, frame: np.ndarray, next_frame: np.ndarray) -> Tensor | None:
        """The codes (h, w) of a world if these are its frames, else None."""
        same = np.array_equal(frame, self.grounds[world]) and np.array_equal(next_frame, self.guesses[world])
        return self.codes[world] if same else None


@dataclass(frozen=True)
class Looked:
    """What was found of a transition of N worlds from its history, and from the buttons that are held.

    Attributes:
        held: (N,) buttons; a guess, where somebody looked ahead.
        moving: what moves, before anything is foreseen.
        followed: the same, as it goes if these buttons are held.
        outlook: what follows of that.
        features: of the history and the outlook, see `Dynamics.features`.
    """

    held: Tensor
    moving: list[Tracks] | None
    followed: list[Tracks] | None
    outlook: Outlook | None
    features: Tensor


class WorldModel(nn.Module):
    """Predicts the codes of the next transition and draws the next frame from them.

    Args:
        config: sizes of the latent action model and of the dynamics.
    """

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__()
        dynamics = config.dynamics
        if dynamics.history < 2 or not 2 <= dynamics.num_buttons <= 8:
            raise UserError("a world needs at least 2 frames of history and 2 to 8 buttons")
        self.config = config
        self.folder: Path | None = None
        self.latent_action_model = model = LatentActionModel(config.latent_action_model)
        self.dynamics = Dynamics(dynamics, model.num_channels, model.codebook_size, model.grid)
        frames = config.latent_action_model.frames
        size = (frames.height, frames.width)
        self.prior = ObjectPrior(model.num_channels, size, dynamics.num_buttons)

    @property
    def movement(self) -> Movement:
        """The networks and buffers of the object prior."""
        return self.prior.movement

    @property
    def history(self) -> int:
        """Frames k that a state holds."""
        return self.config.dynamics.history

    @property
    def num_buttons(self) -> int:
        """Values of the button."""
        return self.config.dynamics.num_buttons

    @property
    def buttons_in_use(self) -> tuple[int, ...]:
        """Their numbers: training drops those that are not needed."""
        return tuple(self.dynamics.active.nonzero()[:, 0].tolist())

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the grid of codes."""
        return self.latent_action_model.grid

    @property
    def codebook_size(self) -> int:
        """Number of codes K."""
        return self.latent_action_model.codebook_size

    @property
    def height(self) -> int:
        """Pixels."""
        return self.config.latent_action_model.frames.height

    @property
    def width(self) -> int:
        """Pixels."""
        return self.config.latent_action_model.frames.width

    @property
    def _speaks_of_cells(self) -> bool:
        """Whether a code says what becomes of its cell and of those around it alone."""
        architecture = self.config.latent_action_model.architecture
        return architecture.encoder.tokens is None and architecture.decoder.conditioning == "film"

    @property
    def grayscale(self) -> bool:
        """Whether the world has one channel."""
        return self.latent_action_model.grayscale

    @property
    def num_channels(self) -> int:
        """1 in grayscale, else 3."""
        return self.latent_action_model.num_channels

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.latent_action_model.device

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) over configuration and weights."""
        return hash_of(self.config, self.state_dict())

    # -- living in it -----------------------------------------------------------------------------------

    @torch.no_grad()
    def start(self, frames: np.ndarray | Tensor) -> WorldState:
        """Begin worlds from recorded frames.

        Args:
            frames: uint8 or float in [0, 1], the newest last: (N, n, H, W, 3) or (N, n, C, H, W), without N
                for one world. The last k count; with fewer, the oldest stands for those before it.

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
        model = self.latent_action_model
        shown, _ = to_frames(given.flatten(0, 1), model.config.frames, self.device, "frames")
        state = WorldState(shown.unflatten(0, (-1, self.history)).contiguous())
        return replace(state, shown=_shown(state)) if self.config.dynamics.goes_on else state

    @torch.no_grad()
    def predict(self, state: WorldState, buttons: Tensor | np.ndarray | int) -> Tensor:
        """Logits (N, K, h, w) of the codes of the next transition.

        Args:
            state: N worlds.
            buttons: (N,) integers in [0, num_buttons), or one for all.

        Raises:
            UserError: a button that there is not, or not one for each world.
        """
        held_N = self._button_of_each(state, buttons)
        return self.dynamics.logits(self._look_at(state, held_N).features, held_N).float()

    def _button_of_each(self, state: WorldState, buttons: Tensor | np.ndarray | int) -> Tensor:
        """The button (N,) of each world."""
        held_N = torch.as_tensor(buttons, device=self.device).to(torch.int64).expand(len(state)).clone()
        if len(state) and not 0 <= int(held_N.min()) <= int(held_N.max()) < self.num_buttons:
            raise UserError(f"buttons must lie in 0…{self.num_buttons - 1}")
        self._require_inference()
        return held_N

    @torch.no_grad()
    def step(
        self,
        state: WorldState,
        buttons: Tensor | np.ndarray | int,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[WorldState, Tensor]:
        """Hold a button for one transition.

        Args:
            state: N worlds.
            buttons: as in `predict`.
            temperature: 0 takes the likeliest codes and the likeliest way of what moves, 1 samples them as
                often as they are expected, more flattens the distribution; see `decide`.
            generator: source of the draws.

        Returns:
            The worlds one frame later, and the codes (N, h, w) int64 that led there.

        Raises:
            UserError: as in `predict`, or a negative temperature.
        """
        if not temperature >= 0:
            raise UserError(f"temperature {temperature}: must be at least 0")
        held_N = self._button_of_each(state, buttons)
        looked = self._look_at(state, held_N, temperature, generator)
        codes_Nhw = decide(self.dynamics, looked.features, held_N, temperature, generator)
        newest = state.history[:, -1]
        next_frames = self.live_on(newest, codes_Nhw, held_N, looked.followed, looked.outlook)
        history = torch.cat([state.history[:, 1:], next_frames[:, None]], 1)
        shown = None
        if self.config.dynamics.goes_on:
            shown = np.concatenate([_shown(state)[:, 1:], _bytes(next_frames)[:, None]], 1)
        return WorldState(
            history, self.prior.control_after(looked.followed or [], held_N), shown, looked
        ), codes_Nhw

    @torch.no_grad()
    def look_ahead(self, state: WorldState, buttons: Tensor | np.ndarray | int) -> WorldState:
        """The same state with most of what the next step needs, which then takes less time.

        Args:
            state: N worlds.
            buttons: that are likely to be held. Whichever are, the step leads to the same as without looking
                ahead; it takes longer where something else moves because of those that are.

        Raises:
            UserError: as in `predict`.
        """
        return replace(state, ahead=self._look_at(state, self._button_of_each(state, buttons)))

    def _look_at(
        self,
        state: WorldState,
        held_N: Tensor,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Looked:
        """What is known of the next transition when buttons are held; what was found ahead is used."""
        ahead, last, moving = state.ahead, state.last, None
        if ahead is not None and not temperature and torch.equal(held_N, ahead.held):
            return ahead
        if ahead is not None:
            moving = ahead.moving
        elif self.config.dynamics.goes_on:
            moving = self._moving(_shown(state), last=None if last is None else last.moving)
        followed = self.follow(
            state.history, None, temperature, generator, held_N, state.pushed, moving=moving
        )
        if ahead is not None and same_apart_from_steered(followed, ahead.followed):
            return replace(ahead, held=held_N, followed=followed)
        outlook = self.foreseen(followed, None if last is None else last.outlook)
        return Looked(held_N, moving, followed, outlook, self.look(state.history, outlook=outlook))

    @torch.no_grad()
    def live_on(
        self,
        newest_NCHW: Tensor,
        codes_Nhw: Tensor,
        held_N: Tensor,
        followed: list[Tracks] | None,
        outlook: Outlook | None,
    ) -> Tensor:
        """The next frames (N, C, H, W) of worlds to which these codes happen.

        They are drawn without what is taken out, which is then put where it is foreseen.
        """
        if followed is None or outlook is None:
            model = self.latent_action_model
            return model.draw(newest_NCHW, model.quantizer.embed(codes_Nhw))
        return self._unit(self.prior.render(followed, self._drawn(outlook, codes_Nhw), held_N))

    def _drawn(self, outlook: Outlook, codes_Nhw: Tensor) -> list[np.ndarray]:
        """Frames (C, H, W) uint8 as foreseen, drawn anew around the cells whose codes say otherwise.

        Tokens speak of the whole frame, and so do codes that the decoder attends to: all is drawn anew then.
        """
        pictures, model = list(outlook.guesses), self.latent_action_model
        other_Nhw = codes_Nhw != outlook.codes
        worlds = other_Nhw.flatten(1).any(1).nonzero()[:, 0].tolist()
        if worlds:
            grounds = self._unit([outlook.grounds[world] for world in worlds])
            anew = _bytes(model.draw(grounds, model.quantizer.embed(codes_Nhw[worlds])))
            near = nn.functional.max_pool2d(other_Nhw[worlds, None].float(), 3, 1, 1)[:, 0].cpu().numpy() > 0
            for world, drawn, cells in zip(worlds, anew, near, strict=True):
                if self._speaks_of_cells:
                    here = cells.repeat(self.cell, 0).repeat(self.cell, 1)
                    here = here[: drawn.shape[1], : drawn.shape[2]]
                    drawn = np.where(here, drawn, pictures[world])
                pictures[world] = drawn
        return pictures

    def button_probabilities(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> Tensor:
        """How likely each button is, given what happened: (N, num_buttons), rows sum to 1.

        Args and errors as in `surprise`.
        """
        return (-self.surprise(frames, next_frames)).softmax(1)

    @torch.no_grad()
    def surprise(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> Tensor:
        """Negative log-likelihood (N, num_buttons), nats, of the codes of what happened, under each button.

        Args:
            frames: histories as in `start`.
            next_frames: the N frames that followed, as `LatentActionModel.encode` takes them.

        Raises:
            UserError: shapes, types or ranges do not fit.
        """
        self._require_inference()
        state, model = self.start(frames), self.latent_action_model
        shown, _ = to_frames(next_frames, model.config.frames, self.device, "next_frames")
        moving = self._moving(_shown(state)) if self.config.dynamics.goes_on else None
        followed = self.follow(state.history, next_frames_NCHW=shown, moving=moving)
        outlook = self.foreseen(followed)
        if followed is None or outlook is None:
            codes_Nhw = self.transition_codes(state.history[:, -1], shown)
        else:
            codes_Nhw = self._codes_between(
                outlook.grounds, self.prior.next_backgrounds(followed, _bytes(shown)), outlook
            )
        features = self.look(state.history, outlook=outlook)
        surprise_NM = self.dynamics.surprise(features, codes_Nhw)
        return surprise_NM + self.push_surprise(followed, surprise_NM)

    def look(
        self,
        history_NkCHW: Tensor,
        corners_N2: Tensor | None = None,
        outlook: Outlook | None = None,
    ) -> Tensor:
        """Features of histories of whole frames, or of windows that begin at cells `corners_N2`.

        What moves in them is followed, if the dynamics ask for it and nobody foresaw it.
        """
        outlook = outlook or self.foreseen(self.follow(history_NkCHW, corners_N2))
        foreseen = () if outlook is None else (outlook.codes, outlook.due)
        return self.dynamics.features(self.shrunk(history_NkCHW), corners_N2, *foreseen)

    def follow(
        self,
        history_NkCHW: Tensor,
        corners_N2: Tensor | None = None,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
        held_N: Tensor | None = None,
        before: ControlState | None = None,
        next_frames_NCHW: Tensor | None = None,
        moving: list[Tracks] | None = None,
    ) -> list[Tracks] | None:
        """What moves in each of N histories, and where to; None where the dynamics do not ask for it.

        Args:
            history_NkCHW: of whole frames, or of windows that begin at cells `corners_N2`.
            corners_N2: rows and columns of cells; None for whole frames.
            temperature: 0 for what is likeliest, else draws.
            generator: of the draws.
            held_N: buttons; where what is steered goes is not said without.
            before: how it was pushed before; as far as may be at edges when not given.
            next_frames_NCHW: that follow, where these are known: what is steered is led to where it is there.
            moving: what moves in them, if somebody looked already.
        """
        if not self.config.dynamics.goes_on:
            return None
        followed = moving or self._moving(_bytes(history_NkCHW), corners_N2)
        if next_frames_NCHW is not None:
            followed = self.prior.observe(followed, _bytes(next_frames_NCHW))
        return self.prior.predict(followed, held_N, before, temperature, generator)

    def _moving(
        self,
        history_NkCHW: np.ndarray,
        corners_N2: Tensor | None = None,
        last: list[Tracks] | None = None,
    ) -> list[Tracks]:
        """What moves in each history of uint8 frames, before anything is foreseen; `last` a frame ago."""
        if corners_N2 is None:
            return self.prior.track(history_NkCHW, last)
        known, corners = self.movement.known, corners_N2.cpu().numpy() * self.cell
        return [
            follow(history, known, corner) for history, corner in zip(history_NkCHW, corners, strict=True)
        ]

    def pushed_on(self, state: WorldState) -> ControlState:
        """How what is steered was pushed, as if what stands at an edge had been pushed there for long."""
        return self.prior.initial_control(self.follow(state.history) or [])

    @property
    def cell(self) -> int:
        """Pixels that a cell of the grid covers, of the source."""
        return cell_of(self.latent_action_model.config)

    def push_surprise(self, followed: list[Tracks] | None, like_NM: Tensor) -> Tensor:
        """Negative log-likelihood (N, num_buttons), nats, of where what is steered went, see `follow`.

        0 where it is not seen.
        """
        return torch.zeros_like(like_NM) if followed is None else self.prior.nll(followed).to(like_NM)

    @torch.no_grad()
    def foreseen(self, followed: list[Tracks] | None, last: Outlook | None = None) -> Outlook | None:
        """What follows if all goes on as it did; None where the dynamics do not ask for it.

        Of N worlds, those whose `last` transition was the same without what is taken out have its codes.
        """
        if followed is None:
            return None
        expected = self.prior.expect(followed)
        codes_Nhw = self._codes_between(expected.backgrounds, expected.frames, last)
        due_N1HW = self.latent_action_model.scale.shrink(expected.mask_N1HW.to(self.device))
        return Outlook(expected.backgrounds, expected.frames, codes_Nhw, due_N1HW)

    def bare_pair(
        self,
        newest_NCHW: Tensor,
        next_frames_NCHW: Tensor,
        followed: list[Tracks] | None,
        outlook: Outlook | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Both frames of transitions, of whole frames or windows, without what the codes do not speak of.

        The first is known from an `outlook`, if there is one.
        """
        if followed is None:
            return newest_NCHW, next_frames_NCHW
        grounds = [bare(each) for each in followed] if outlook is None else outlook.grounds
        return self._unit(grounds), self._unit(
            self.prior.next_backgrounds(followed, _bytes(next_frames_NCHW))
        )

    def _codes_between(
        self, frames: list[np.ndarray], next_frames: list[np.ndarray], known: Outlook | None
    ) -> Tensor:
        """Codes (N, h, w) of transitions between uint8 frames, N at least 1.

        Those that are `known` are not looked at, and of those that are the same one.
        """
        codes: dict[int, Tensor] = {}
        asked: dict[tuple[bytes, bytes], list[int]] = {}
        for world, pair in enumerate(zip(frames, next_frames, strict=True)):
            found = None if known is None else known.codes_of(world, *pair)
            if found is None:
                asked.setdefault((pair[0].tobytes(), pair[1].tobytes()), []).append(world)
            else:
                codes[world] = found
        if asked:
            first = [worlds[0] for worlds in asked.values()]
            given = (self._unit([part[world] for world in first]) for part in (frames, next_frames))
            for worlds, found in zip(asked.values(), self.transition_codes(*given), strict=True):
                codes |= dict.fromkeys(worlds, found)
        return torch.stack([codes[world] for world in range(len(frames))])

    def transition_codes(self, frames_NCHW: Tensor, next_frames_NCHW: Tensor) -> Tensor:
        """Codes (N, h, w) of transitions between whole frames, or windows of them."""
        model = self.latent_action_model
        # In full precision, as `encode` does it: where two codes fit alike, rounding would pick another.
        with torch.no_grad(), torch.autocast(frames_NCHW.device.type, enabled=False):
            pair = torch.cat([frames_NCHW, next_frames_NCHW], 1)
            return model.quantizer.nearest(model.encoder(model.scale.shrink(pair)))

    def _unit(self, pictures: list[np.ndarray]) -> Tensor:
        """Pictures (C, H, W) uint8 as frames (N, C, H, W) in [0, 1]."""
        return torch.from_numpy(np.stack(pictures)).to(self.device).float() / 255

    def shrunk(self, history_NkCHW: Tensor) -> Tensor:
        """The history at the size that the model works at."""
        small = self.latent_action_model.scale.shrink(history_NkCHW.flatten(0, 1))
        return small.unflatten(0, history_NkCHW.shape[:2])

    def _require_inference(self) -> None:
        if self.training:
            raise UserError("the world model is in training mode; call .eval() first")

    # -- files ------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path = "breakout-world", device: str | torch.device = "cpu"
    ) -> "WorldModel":
        """Load a world model in evaluation mode.

        Args:
            path_or_name: a folder (its `best.pt`, else `last.pt`, else `model.safetensors`), a file, or the
                name of a shipped world.
            device: where to put it.

        Raises:
            UserError: nothing is there, or what is there is no world model of this version.
        """
        config, weights = read_weights(path_or_name, KIND, WorldModelConfig)
        world = cls(config)
        # What a training needs to go on is no part of the world.
        weights = {n: part for n, part in weights.items() if not n.startswith(("rollouts.", "finder."))}
        if "prior.movement.parts" not in weights:
            raise UserError(
                f"{path_or_name}: a world of an earlier version; train it again with 'ghostpad world'"
            )
        load_weights(world, weights, path_or_name)
        world.folder = find_model(path_or_name, KIND).parent
        return world.to(device).eval()

    def save_pretrained(self, folder: Path) -> None:
        """Write `model.safetensors` and `config.json` into `folder`, for `from_pretrained`.

        In full precision: rounded weights would choose other codes wherever two fit alike, and the dynamics
        know the codes as they were.
        """
        with whole_file(folder / "model.safetensors") as temporary:
            write_safetensors(temporary, self.state_dict())
        plain = {"kind": KIND, "version": __version__, "model_config": to_plain(self.config)}
        write_json(folder / "config.json", {**plain, "model_hash": self.model_hash})


def _shown(state: WorldState) -> np.ndarray:
    """The history (N, k, C, H, W) as uint8."""
    return _bytes(state.history) if state.shown is None else state.shown


def _bytes(unit: Tensor) -> np.ndarray:
    """Frames in [0, 1] as uint8."""
    return (unit * 255).round_().to(torch.uint8).cpu().numpy()
