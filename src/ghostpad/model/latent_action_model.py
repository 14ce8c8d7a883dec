"""The latent action model: a VQ-VAE over pairs of frames, after LAPA and Genie.

LAPA: https://arxiv.org/abs/2410.11758, Genie: https://arxiv.org/abs/2402.15391.

Dimensions: B batch, N pairs given by a caller, C colour channels (1 or 3), H W frame, P palette size,
D embedding, h w grid, K codebook size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.errors import UserError
from ghostpad.frames.batches import Batch
from ghostpad.model.config import ArchitectureConfig
from ghostpad.model.decoder import Decoder, residual_logits
from ghostpad.model.encoder import Checkpointable, Encoder, grid_sizes
from ghostpad.model.frame_format import (
    FrameFormat,
    FrameScale,
    in_fixed_batches,
    pairs_at_once,
    palette_indices,
    to_codes,
    to_history,
    to_pairs,
)
from ghostpad.model.losses import PerceptualLoss
from ghostpad.model.pretrained import KIND, hash_of, load_weights, read_weights
from ghostpad.model.quantizers import QUANTIZERS
from ghostpad.model.warp import warp


@dataclass(frozen=True)
class LatentActionModelConfig:
    """A whole model: its frames and its parts."""

    frames: FrameFormat = field(default_factory=FrameFormat)
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)


class LatentActionModel(nn.Module):
    """Infers a grid of discrete codes from a transition and reconstructs the next frame from it.

    `encode`, `decode` and `embed` are for callers; `forward` is for training.
    """

    grayscale: bool
    """Whether the model sees one channel."""
    num_channels: int
    """1 in grayscale, else 3."""
    stride: int
    """Frames from a frame to its next frame."""
    history: int
    """Frames that the model sees up to the current one, T."""
    grid: tuple[int, int]
    """Rows and columns of the grid of codes."""
    cell: int
    """Pixels of the source that a cell of the grid covers along each side."""
    codes_are_local: bool
    """Whether a code acts on its cell and those around it alone; tokens and attention act anywhere."""
    codebook_size: int
    """Number of codes K."""
    perceptual: PerceptualLoss | None
    palette_PC: Tensor

    def __init__(self, config: LatentActionModelConfig) -> None:
        super().__init__()
        config.architecture.check(has_palette=bool(config.frames.palette))
        self.config = config
        architecture, frames = config.architecture, config.frames
        tokens, num_stages = architecture.encoder.tokens, len(architecture.encoder.widths)
        cells = grid_sizes(*frames.inner_size, num_stages)[-1]
        self.grayscale, self.stride, self.history = frames.grayscale, frames.stride, frames.history
        self.num_channels = channels = 1 if frames.grayscale else 3
        self.grid, self.cell = tokens or cells, frames.downsample * 2**num_stages
        self.codes_are_local = tokens is None and architecture.decoder.conditioning == "film"
        self.predicts_palette = architecture.reconstruction == "palette"
        self.scale = FrameScale(frames.downsample, picks=self.predicts_palette)
        dim = architecture.quantizer.dim
        motion = architecture.motion == "on"
        self.encoder = Encoder(architecture.encoder, self.history + 1, channels, dim, cells, motion)
        self.quantizer = QUANTIZERS[architecture.quantizer.kind](architecture.quantizer)
        self.codebook_size = self.quantizer.num_codes
        outputs = len(frames.palette) if self.predicts_palette else channels
        self.decoder = Decoder(
            architecture.decoder,
            self.history,
            channels,
            outputs,
            dim,
            frames.inner_size,
            tokens,
            motion=motion,
            residual=architecture.residual,
            palette=self.predicts_palette,
        )
        self.use_perceptual(None, 0.0)
        palette = torch.tensor(frames.palette, dtype=torch.float32).reshape(-1, channels) / 255
        self.register_buffer("palette_PC", palette, persistent=False)
        if self.predicts_palette or motion or architecture.residual:
            # An untrained model predicts the current frame, with the confidence of the residual logit bias.
            nn.init.zeros_(self.decoder.last.conv.weight)
            nn.init.zeros_(self.decoder.last.conv.bias)  # type: ignore[arg-type]

    @property
    def codebook(self) -> Tensor:
        """The codebook (K, D)."""
        return self.quantizer.codebook_vectors

    @property
    def quantizing(self) -> bool:
        """Whether latents are quantized yet: a training begins without."""
        return self.quantizer.quantizing

    def code_counts(self) -> np.ndarray:
        """How often each code was chosen since codes were last reset: (K,) int64."""
        return self.quantizer.use_counts.cpu().numpy()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.palette_PC.device

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) over configuration and weights: equal exactly when the model is."""
        return hash_of(self.config, self.state_dict())

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss () and its terms, detached: `reconstruction`, the quantizer's, `perceptual`."""
        batch = self.scale.shrink_batch(batch)
        quantized = self.quantizer(self.encoder(torch.cat([batch.frames, batch.next_frames], 1)))
        prediction = self.decoder(batch.frames, quantized.quantized.to(batch.frames.dtype))
        reconstruction = self.reconstruction_loss(prediction, batch)
        weight = 1.0 if self.predicts_palette else self.config.architecture.mse_weight
        loss = weight * reconstruction + quantized.loss
        terms = {"reconstruction": reconstruction, **quantized.terms}
        if self.perceptual is not None and self.training:
            terms["perceptual"] = self.perceptual(self._expected_frames(prediction, batch), batch.next_frames)
            loss = loss + self.perceptual_weight * terms["perceptual"]
        terms["loss"] = loss
        return loss, {name: value.detach() for name, value in terms.items()}

    def reconstruction_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """MSE over pixels, or cross-entropy over the palette (nats per pixel)."""
        if not self.predicts_palette:
            return F.mse_loss(prediction.float(), batch.next_frames)
        assert batch.colors is not None and batch.next_colors is not None
        return F.cross_entropy(self._logits(prediction, batch.colors), batch.next_colors)

    def _logits(self, prediction: Tensor, colors_BHW: Tensor) -> Tensor:
        bias = self.config.architecture.residual_logit_bias
        if self.config.architecture.motion == "on":
            prediction, flow_B2HW = prediction[:, :-2], prediction[:, -2:]
            colors_BHW = warp(colors_BHW[:, None], flow_B2HW, "nearest")[:, 0].long()
        return prediction.float() + residual_logits(colors_BHW, prediction.shape[1], bias)

    def _expected_frames(self, prediction: Tensor, batch: Batch) -> Tensor:
        """The predicted frames (B, C, H, W) with a gradient; over a palette, the expected colours."""
        if not self.predicts_palette:
            return prediction
        assert batch.colors is not None
        probabilities = self._logits(prediction, batch.colors).softmax(1)
        return torch.einsum("bphw,pc->bchw", probabilities, self.palette_PC)

    def after_step(
        self, step: int, num_steps: int, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> dict[str, float]:
        """Finish an optimizer step: see `Quantizer.after_step`."""
        return self.quantizer.after_step(step, num_steps, optimizer, generator)

    def set_checkpointing(self, checkpointing: bool) -> None:
        """Recompute activations in the backward pass instead of keeping them: less memory, more time."""
        for part in self.modules():
            if isinstance(part, Checkpointable):
                part.checkpointing = checkpointing

    def use_perceptual(self, perceptual: PerceptualLoss | None, weight: float) -> None:
        """Add `weight` times a perceptual loss in training. It is no part of the model or its checkpoints."""
        # Not as a module: its frozen weights stay out of the state dict.
        object.__setattr__(self, "perceptual", perceptual)
        self.perceptual_weight = weight

    @torch.no_grad()
    def encode(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> Tensor:
        """Infer the latent action of each pair.

        Args:
            frames: uint8 in [0, 255] or float in [0, 1]; (N, C, H, W), (N, H, W, C), or one frame as
                (C, H, W), (H, W, 3) or (H, W). RGB given to a grayscale model is converted. With a history
                (N, T, C, H, W), oldest first; where it is not given the current frame is repeated.
            next_frames: one for each of `frames`, without history.

        Returns:
            Codes (N, h, w) int64, or (h, w) for one pair.

        Raises:
            UserError: shapes, types or ranges do not fit.
        """
        both, single = to_pairs(frames, next_frames, self.config.frames, self.device)
        codes = in_fixed_batches(lambda part: self.quantizer.nearest(self._latents(part)), both)
        return codes[0] if single else codes

    def codes_of_pairs(self, frames_NCHW: Tensor, next_frames_NCHW: Tensor) -> Tensor:
        """Codes (N, h, w) of pairs in [0, 1] on the device, unchecked, in one batch and in full precision."""
        with torch.no_grad(), torch.autocast(frames_NCHW.device.type, enabled=False):
            pair = torch.cat([frames_NCHW, next_frames_NCHW], 1)
            return self.quantizer.nearest(self.encoder(self.scale.shrink(pair)))

    @torch.no_grad()
    def embed(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> Tensor:
        """Like `encode`, but gives the latents before quantizing: (N, D, h, w), or (D, h, w) for one pair."""
        both, single = to_pairs(frames, next_frames, self.config.frames, self.device)
        latents = in_fixed_batches(self._latents, both)
        return latents[0] if single else latents

    @torch.no_grad()
    def decode(self, frames: np.ndarray | Tensor, codes: np.ndarray | Tensor) -> Tensor:
        """Predict the next frames from frames and codes.

        Args:
            frames: as in `encode`.
            codes: (N, h, w) integers in [0, K), or (h, w) for one frame.

        Returns:
            (N, C, H, W) float32 in [0, 1], or (C, H, W) for one frame.

        Raises:
            UserError: shapes, types or ranges do not fit.
        """
        frames_NCHW, single = to_history(frames, self.config.frames, self.device)
        codes_Nhw = to_codes(codes, (len(frames_NCHW), *self.grid), self.codebook_size, self.device)
        predicted = self.frames_of_codes(frames_NCHW, codes_Nhw)
        return predicted[0] if single else predicted

    @torch.no_grad()
    def frames_of_codes(self, frames_BCHW: Tensor, codes_Bhw: Tensor) -> Tensor:
        """Like `decode`, for frames in [0, 1] and codes on the device, unchecked."""
        decoder, at_once = self._in_eval_mode(self.decoder), pairs_at_once(frames_BCHW.device)
        quantized_BDhw = self.quantizer.dequantize(codes_Bhw)
        parts = zip(frames_BCHW.split(at_once), quantized_BDhw.split(at_once), strict=True)
        return torch.cat([self.frames_from(decoder(self.scale.shrink(f), q), f) for f, q in parts])

    def frames_from(
        self,
        prediction: Tensor,
        frames_BCHW: Tensor,
        colors_of: Callable[[Tensor, Tensor], Tensor] = palette_indices,
    ) -> Tensor:
        """Frames (B, C, H, W) in [0, 1] for the decoder's `prediction`, of a palette the likeliest.

        `colors_of` finds the palette's colours in the current frames.
        """
        frames_BCHW = frames_BCHW[:, -self.num_channels :]
        inner_BCHW, prediction = self.scale.shrink(frames_BCHW), prediction.float()
        if self.predicts_palette:
            logits = self._logits(prediction, colors_of(inner_BCHW, self.palette_PC))
            likeliest = logits.max(1).indices  # on a CPU several times faster than argmax
            predicted = self.palette_PC[likeliest].permute(0, 3, 1, 2).contiguous()
        else:
            predicted = prediction.clamp(0, 1)
        return self.scale.enlarge(predicted, inner_BCHW, frames_BCHW)

    def _latents(self, both_frames_B2CHW: Tensor) -> Tensor:
        return self._in_eval_mode(self.encoder)(self.scale.shrink(both_frames_B2CHW)).float()

    def _in_eval_mode(self, part: nn.Module) -> nn.Module:
        """Batch norm must use its running statistics: the codes of a pair must not depend on its batch."""
        if part.training:
            raise UserError("the model is in training mode; call .eval() before encode, embed or decode")
        return part

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, device: str | torch.device = "cpu"
    ) -> "LatentActionModel":
        """Load a model in evaluation mode.

        The path is a folder (its `best.pt`, else `last.pt`, else `model.safetensors` is read) or a file; the
        name is that of a shipped model.

        Raises:
            UserError: there is no model, or it is no latent action model of this version.
        """
        config, weights = read_model(path_or_name)
        model = cls(config)
        load_weights(model, weights, path_or_name)
        return model.to(device).eval()


def read_model(path_or_name: str | Path) -> tuple[LatentActionModelConfig, dict[str, Tensor]]:
    """Read configuration and weights of a latent action model; see `read_weights`."""
    return read_weights(path_or_name, KIND, LatentActionModelConfig)
