"""How a world model learns: buttons first, then to live in its own predictions.

Dimensions: B batch, k frames of history, L frames that follow, C colour channels, H W frame,
h w grid.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostpad.buttons.assignment import ButtonFinder
from ghostpad.frames.batches import Batch
from ghostpad.model.frame_format import palette_indices
from ghostpad.objects.tracking import Tracks
from ghostpad.world.decoding import decide, partly_told
from ghostpad.world.sequences import Labelled, Rollouts, Seen, WorldBatch
from ghostpad.world.world_model import Outlook, WorldModel, WorldModelConfig

DECODER_SHARE = 0.1
TIE = 2.0
"""Difference of surprises (nats) that tells nothing."""
LABELLED_WEIGHT = 0.5
"""Of labelled transitions, which are few, beside all others."""
RELUCTANCE = 10.0
"""Nats by which a button that mostly does nothing must explain a transition better than others."""
MOSTLY = 0.5
"""Share of labelled transitions from which a button mostly does nothing."""


@dataclass(frozen=True)
class Explained:
    """What explains B transitions.

    Attributes:
        features: of the histories.
        codes: (B, h, w), of the transitions.
        surprise: (B, M) nats, under each button; (B, 1), under those that are told, where all are.
        outlook: what would have followed.
        bare: both frames of the transitions, see `WorldModel.bare_pair`.
    """

    features: Tensor
    codes: Tensor
    surprise: Tensor
    outlook: Outlook | None
    bare: tuple[Tensor, Tensor]


class LearningWorld(WorldModel):
    """A world model in training; its file is read as a `WorldModel`.

    The encoder and the codebook stay as they are: they say what the codes mean. The decoder learns on, since
    in a rollout it meets frames that the latent action model never saw.

    Args:
        config: of the world model.
        rollouts: the worlds of the training batch.
        reconstruction_weight: of the drawn frame's loss, beside the cross-entropy of the codes.
        least_buttons: that stay when those that are not needed are dropped.
    """

    def __init__(
        self,
        config: WorldModelConfig,
        rollouts: Rollouts,
        reconstruction_weight: float,
        least_buttons: int = 2,
    ) -> None:
        super().__init__(config)
        self.rollouts = rollouts
        self.finder = ButtonFinder(self.num_buttons, len(rollouts.practice.hardness))
        self.least_buttons = least_buttons
        self.reconstruction_weight = reconstruction_weight
        self.predicted: Tensor | None = None
        model = self.latent_action_model
        for part in (model.encoder, model.quantizer, self.movement):
            part.requires_grad_(False)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The decoder, trained already, learns at a tenth of the rate."""
        decoder = list(self.latent_action_model.decoder.parameters())
        return [{"params": list(self.dynamics.parameters())}, {"params": decoder, "share": DECODER_SHARE}]

    def train(self, mode: bool = True) -> "LearningWorld":
        """Train the dynamics and the weights of the decoder; the statistics of the latter are settled."""
        super().train(mode)
        self.latent_action_model.eval()
        return self

    def forward(self, batch: WorldBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss () and its parts, detached.

        While buttons are found: the mean surprise under the buttons, each transition's shares as likely as
        they explain it (expectation maximization). Otherwise: cross-entropy of the codes under the button
        that is told, or else explains them best, in whole frames and in windows, and for the decoder the
        reconstruction loss of the frame drawn from those codes. In evaluation mode: both over a rollout of
        all the frames that follow, drawn as predicted.
        """
        if not self.training:
            return self._rollout_loss(batch)
        finds = batch.temperature is not None
        if finds:
            self.finder.initialize(self.dynamics.buttons.weight)
        else:
            self.finder.prune(self.dynamics.active, self.least_buttons)
        resting = self._resting(batch.labelled)
        frames, next_frames = batch.history[:, -1], batch.next_frames[:, 0]
        seen = Seen(batch.history, next_frames, batch.rows, held=batch.held)
        followed = self.follow(batch.history, next_frames_NCHW=next_frames)
        explained, held, loss = self._learn(seen, batch.temperature, resting, followed)
        if batch.lives:
            self.predicted = self._lived(frames, followed, explained, held)[0]
        terms = {"code_loss": loss}
        if batch.windows is not None:
            terms["windows"] = self._learn(batch.windows, batch.temperature, resting)[-1]
            share = len(batch.windows.history) / (len(batch.windows.history) + len(frames))
            loss = share * terms["windows"] + (1 - share) * loss
        if batch.labelled is not None:
            terms["labelled"] = self._labelled_loss(batch.labelled, resting)
            loss = loss + LABELLED_WEIGHT * terms["labelled"]
        if self.reconstruction_weight and not finds:
            terms["reconstruction"] = self._drawing_loss(*explained.bare, explained.codes)
            loss = loss + self.reconstruction_weight * terms["reconstruction"]
        terms["loss"] = loss
        return loss, {name: value.detach() for name, value in terms.items()}

    def _learn(
        self,
        seen: Seen,
        temperature: float | None,
        resting: Tensor | None,
        followed: list[Tracks] | None = None,
    ) -> tuple[Explained, Tensor, Tensor]:
        """What explains the transitions, the button of each (the best if none is told), and nats per cell."""
        explained = self._explain(seen, temperature is not None, followed)
        surprise, held = explained.surprise, seen.told
        if held is None:
            held = self._held(surprise.detach(), resting)
            if seen.held is not None:
                held = torch.where(seen.held < 0, held, seen.held)
                surprise = surprise.gather(1, held[:, None])
        if seen.rows is not None:
            self.rollouts.practice.record(seen.rows, surprise.detach().amin(1))
        if temperature is None:
            loss = self._code_loss(explained.features, held, explained.codes, seen.counted)
            return explained, held, loss
        shares = self.finder.responsibilities(surprise, temperature)
        return explained, held, (shares * surprise).sum(1).mean() / explained.codes[0].numel()

    def _code_loss(self, features: Tensor, held: Tensor, codes: Tensor, counted: Tensor | None) -> Tensor:
        """Cross-entropy of the codes that are not told, nats per cell."""
        told = partly_told(codes, self.dynamics.untold)
        logits = self.dynamics.logits(features, held, told, whole=counted is None)
        losses = F.cross_entropy(logits.float(), codes, reduction="none")
        # Each grid counts as far as it is open: where much is told there is little left to learn.
        learned = told == self.dynamics.untold
        return (losses * (learned if counted is None else learned & counted)).mean()

    def _resting(self, labelled: Labelled | None) -> Tensor | None:
        """The button () that stands for pressing nothing, where labels have told."""
        stands = self.finder.button_for_control(self.dynamics.active) if labelled is not None else None
        return stands[labelled.rest] if labelled is not None and stands is not None else None

    def _held(self, surprise: Tensor, resting: Tensor | None) -> Tensor:
        """The button (B,) that explains each transition best; the resting one, where known, wins ties.

        One that mostly does nothing, as FIRE while the ball is in play, must explain it much better, or it
        comes to stand for whatever no other button explains.
        """
        if resting is None:
            return surprise.argmin(1)
        reluctant = self.finder.no_effect > MOSTLY
        reluctant[resting] = False
        surprise = surprise + RELUCTANCE * reluctant
        return torch.where(surprise[:, resting] < surprise.amin(1) + TIE, resting, surprise.argmin(1))

    def _labelled_loss(self, labelled: Labelled, resting: Tensor | None) -> Tensor:
        """Cross-entropy of the codes under the button that stands for the control that was held."""
        explained = self._explain(Seen(labelled.history, labelled.next_frames), False)
        surprise = explained.surprise
        if labelled.rows is not None:
            self.rollouts.practice.record(labelled.rows, surprise.amin(1))
        held = self.finder.buttons_of(labelled.controls, surprise)
        if resting is not None:
            rests = surprise[:, resting] < surprise.gather(1, held[:, None])[:, 0] + TIE
            self.finder.update_no_effect(held, rests)
        return F.cross_entropy(self.dynamics.logits(explained.features, held).float(), explained.codes)

    def _explain(self, seen: Seen, learns: bool, followed: list[Tracks] | None = None) -> Explained:
        """What explains transitions."""
        followed = followed or self.follow(seen.history, seen.corners, next_frames_NCHW=seen.next_frames)
        outlook = self.foreseen(followed)
        pair = self.bare_pair(seen.history[:, -1], seen.next_frames, followed, outlook)
        codes = self.transition_codes(*pair)
        features = self.look(seen.history, seen.corners, outlook)
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            told = seen.told
            if told is not None:
                surprise = self.dynamics.surprise_under(told, features, codes, seen.counted)
                return Explained(features, codes, surprise[:, None], outlook, pair)
            surprise = self.dynamics.surprise(features, codes, seen.counted)
            surprise = surprise + self.push_surprise(followed, surprise)
            return Explained(features, codes, surprise, outlook, pair)

    def _drawing_loss(self, frames: Tensor, next_frames: Tensor, codes: Tensor) -> Tensor:
        """Reconstruction loss of the frames that the decoder draws from these codes."""
        model = self.latent_action_model
        inner, inner_next = model.scale.shrink(frames), model.scale.shrink(next_frames)
        batch = Batch(inner, inner_next)
        if model.predicts_palette:
            colors = [palette_indices(part, model.palette_PC) for part in (inner, inner_next)]
            batch = Batch(inner, inner_next, *colors)
        return model.reconstruction_loss(model.decoder(inner, self._vectors(codes)), batch)

    def _vectors(self, codes: Tensor) -> Tensor:
        return self.latent_action_model.quantizer.embed(codes)

    def _rollout_loss(self, batch: WorldBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean losses over a rollout of the frames that follow."""
        terms = [terms for _, terms in self._rolled_out(batch)]
        means = {name: torch.stack([part[name] for part in terms]).mean() for name in terms[0]}
        return means["reconstruction"], means

    def rollout(self, batch: WorldBatch) -> Tensor:
        """The world's own frames (B, L, C, H, W) in place of those that follow, by the buttons they show."""
        return torch.stack([drawn for drawn, _ in self._rolled_out(batch)], 1)

    def _rolled_out(self, batch: WorldBatch) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        history = batch.history
        for next_frames in batch.next_frames.unbind(1):
            followed = self.follow(history, next_frames_NCHW=next_frames)
            explained = self._explain(Seen(history, next_frames), False, followed)
            held = explained.surprise.argmin(1)
            logits = self.dynamics.logits(explained.features, held)
            drawn, predicted = self._lived(history[:, -1], followed, explained, held)
            loss = self._drawing_loss(*explained.bare, predicted)
            code_loss = F.cross_entropy(logits.float(), explained.codes)
            yield drawn, {"reconstruction": loss, "code_loss": code_loss}
            history = torch.cat([history[:, 1:], drawn[:, None]], 1)

    def _lived(
        self, newest: Tensor, followed: list[Tracks] | None, explained: Explained, held: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next frames, with what is steered where its button sends it, and the codes that led there."""
        followed = None if followed is None else self.movement.foresee(followed, held_N=held)
        codes = decide(self.dynamics, explained.features.detach(), held)
        return self.live_on(newest, codes, held, followed, explained.outlook), codes

    def after_step(
        self, step: int, num_steps: int, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> dict[str, float]:
        """Let the rollouts take up what was predicted."""
        if self.predicted is not None:
            self.rollouts.advance(self.predicted)
            self.predicted = None
        return {}
