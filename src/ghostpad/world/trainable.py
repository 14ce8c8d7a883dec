"""A world model in training: the buttons first, then the codes, at last in its own rollouts.

Dimensions: B batch, k frames of history, L frames that follow, C colour channels, H W frame, h w grid,
M buttons.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ghostpad.buttons.assignment import ButtonFinder
from ghostpad.frames.batches import Batch
from ghostpad.model.frame_format import palette_indices
from ghostpad.world.decoding import decode, randomly_masked
from ghostpad.world.expectation import RecordedTransitions
from ghostpad.world.sampling import LabelledBatch, RolloutBuffer, WorldBatch
from ghostpad.world.world_model import WorldModel, WorldModelConfig

DECODER_SHARE = 0.1
"""Learning rate of the decoder, which is trained already, as a share of that of the dynamics."""
TIE_MARGIN = 2.0
"""Difference of negative log-likelihoods, nats, below which two buttons explain a transition equally well."""
LABELLED_WEIGHT = 0.5  # weight of labelled transitions, which are few, beside all others
IDLE_PENALTY = 10.0
"""Nats by which a mostly idle button must explain a transition better than others."""
IDLE_SHARE = 0.5
"""Share of its labelled transitions without effect from which a button is mostly idle."""


class TrainableWorld(WorldModel):
    """A world model in training; its checkpoint is read as a `WorldModel`.

    Encoder and codebook stay as they are: they define the codes. The decoder may be trained further, since in
    rollouts it meets frames that the latent action model never saw: `reconstruction_weight` is that of its
    loss beside the cross-entropy of the codes. At least `least_buttons` are kept when buttons are dropped.
    """

    def __init__(
        self,
        config: WorldModelConfig,
        rollouts: RolloutBuffer,
        reconstruction_weight: float,
        least_buttons: int = 2,
    ) -> None:
        super().__init__(config)
        self.rollouts = rollouts
        self.finder = ButtonFinder(self.num_buttons, len(rollouts.sampling.priority))
        self.least_buttons = least_buttons
        self.reconstruction_weight = reconstruction_weight
        self.predicted: np.ndarray | None = None
        model = self.latent_action_model
        for part in (model.encoder, model.quantizer, self.prior):
            part.requires_grad_(False)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimizer, each with its share of the learning rate."""
        decoder = list(self.latent_action_model.decoder.parameters())
        return [{"params": list(self.dynamics.parameters())}, {"params": decoder, "share": DECODER_SHARE}]

    def train(self, mode: bool = True) -> "TrainableWorld":
        """Set the mode of the dynamics; the batch norm of the decoder keeps its statistics."""
        super().train(mode)
        self.latent_action_model.eval()
        return self

    def forward(self, batch: WorldBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss () and its parts, detached.

        While buttons are inferred: the expected nll over the buttons (expectation maximization). Afterwards:
        the cross-entropy of the codes under the given or most likely button, and for the decoder the
        reconstruction loss of the frame drawn from those codes. In evaluation mode: both over a rollout.
        """
        if not self.training:
            return self._rollout_loss(batch)
        infers = batch.temperature is not None
        if infers:
            self.finder.initialize(self.dynamics.buttons.weight)
        else:
            self.finder.prune(self.dynamics.active, self.least_buttons)
        noop = self._noop(batch.labelled)
        recorded, buttons, loss = self._code_loss(batch, noop)
        if batch.is_rollout:
            self.predicted, _ = self._predicted(batch.history[:, -1], recorded, buttons)
        terms = {"code_loss": loss}
        if batch.labelled is not None:
            terms["labelled"] = self._labelled_loss(batch.labelled, noop)
            loss = loss + LABELLED_WEIGHT * terms["labelled"]
        if self.reconstruction_weight and not infers:
            terms["reconstruction"] = self._drawing_loss(*recorded.frames, recorded.codes)
            loss = loss + self.reconstruction_weight * terms["reconstruction"]
        terms["loss"] = loss
        return loss, {name: value.detach() for name, value in terms.items()}

    def _code_loss(
        self, batch: WorldBatch, noop: Tensor | None
    ) -> tuple[RecordedTransitions, Tensor, Tensor]:
        """The transitions, the button of each (the given or the most likely one), and nats per cell."""
        recorded, buttons = self.encode_recorded(batch.history, batch.next_frames[:, 0]), batch.given_buttons
        with torch.set_grad_enabled(batch.temperature is not None and torch.is_grad_enabled()):
            if buttons is not None:
                nll = self.dynamics.nll_under(buttons, recorded.features, recorded.codes)[:, None]
            else:
                nll = self.nll_of(recorded)
                buttons = self._most_likely(nll.detach(), noop)
                if batch.buttons is not None:
                    buttons = torch.where(batch.buttons < 0, buttons, batch.buttons)
                    nll = nll.gather(1, buttons[:, None])
        if batch.rows is not None:
            self.rollouts.sampling.record(batch.rows, nll.detach().amin(1))
        if batch.temperature is not None:
            shares = self.finder.responsibilities(nll, batch.temperature)
            return recorded, buttons, (shares * nll).sum(1).mean() / recorded.codes[0].numel()
        given = randomly_masked(recorded.codes, self.dynamics.mask_code)
        logits = self.dynamics.logits(recorded.features, buttons, given)
        losses = F.cross_entropy(logits.float(), recorded.codes, reduction="none")
        # Masked cells alone: where most are given there is little left to learn.
        return recorded, buttons, (losses * (given == self.dynamics.mask_code)).mean()

    def _noop(self, labelled: LabelledBatch | None) -> Tensor | None:
        """The button () that stands for pressing nothing, once labels have shown it."""
        stands = self.finder.button_for_control(self.dynamics.active) if labelled is not None else None
        return stands[labelled.noop] if labelled is not None and stands is not None else None

    def _most_likely(self, nll: Tensor, noop: Tensor | None) -> Tensor:
        """The button (B,) that explains each transition best; ties go to the no-op button, where known.

        A button that mostly has no effect must explain a transition much better than others, or it comes to
        stand for whatever no other button explains.
        """
        if noop is None:
            return nll.argmin(1)
        is_idle = self.finder.no_effect > IDLE_SHARE
        is_idle[noop] = False
        nll = nll + IDLE_PENALTY * is_idle
        return torch.where(nll[:, noop] < nll.amin(1) + TIE_MARGIN, noop, nll.argmin(1))

    def _labelled_loss(self, labelled: LabelledBatch, noop: Tensor | None) -> Tensor:
        """Cross-entropy of the codes under the button that stands for the recorded control."""
        recorded = self.encode_recorded(labelled.history, labelled.next_frames)
        with torch.no_grad():
            nll = self.nll_of(recorded)
        self.rollouts.sampling.record(labelled.rows, nll.amin(1))
        buttons = self.finder.buttons_of(labelled.controls, nll)
        if noop is not None:
            has_no_effect = nll[:, noop] < nll.gather(1, buttons[:, None])[:, 0] + TIE_MARGIN
            self.finder.update_no_effect(buttons, has_no_effect)
        return F.cross_entropy(self.dynamics.logits(recorded.features, buttons).float(), recorded.codes)

    def _drawing_loss(self, frames: Tensor, next_frames: Tensor, codes: Tensor) -> Tensor:
        """Reconstruction loss of the frames that the decoder draws from these codes."""
        model = self.latent_action_model
        inner, inner_next = model.scale.shrink(frames), model.scale.shrink(next_frames)
        batch = Batch(inner, inner_next)
        if model.predicts_palette:
            colors = [palette_indices(part, model.palette_PC) for part in (inner, inner_next)]
            batch = Batch(inner, inner_next, *colors)
        return model.reconstruction_loss(model.decoder(inner, model.quantizer.dequantize(codes)), batch)

    def _rollout_loss(self, batch: WorldBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean losses over a rollout of the frames that follow."""
        terms = [terms for _, terms in self._rolled_out(batch)]
        means = {name: torch.stack([part[name] for part in terms]).mean() for name in terms[0]}
        return means["reconstruction"], means

    def rollout(self, batch: WorldBatch) -> np.ndarray:
        """The world's own frames (B, L, C, H, W) uint8, under the buttons that explain the recorded ones."""
        return np.stack([drawn for drawn, _ in self._rolled_out(batch)], 1)

    def _rolled_out(self, batch: WorldBatch) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        history = batch.history
        for index in range(batch.next_frames.shape[1]):
            recorded = self.encode_recorded(history, batch.next_frames[:, index])
            buttons = self.nll_of(recorded).argmin(1)
            logits = self.dynamics.logits(recorded.features, buttons)
            drawn, codes = self._predicted(history[:, -1], recorded, buttons)
            loss = self._drawing_loss(*recorded.frames, codes)
            code_loss = F.cross_entropy(logits.float(), recorded.codes)
            yield drawn, {"reconstruction": loss, "code_loss": code_loss}
            history = np.concatenate([history[:, 1:], drawn[:, None]], 1)

    def _predicted(
        self, newest: np.ndarray, recorded: RecordedTransitions, buttons: Tensor
    ) -> tuple[np.ndarray, Tensor]:
        """The next frames under these buttons, and the codes that led there."""
        expected = recorded.expected
        if expected is not None:
            expected = replace(expected, tracks=self.prior.predict(expected.tracks, buttons))
        codes = decode(self.dynamics, recorded.features.detach(), buttons)
        return self.draw(newest, codes, buttons, expected), codes

    def after_step(
        self, step: int, num_steps: int, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> dict[str, float]:
        """Append the predicted frames to the rollouts."""
        if self.predicted is not None:
            self.rollouts.advance(self.predicted)
            self.predicted = None
        return {}
