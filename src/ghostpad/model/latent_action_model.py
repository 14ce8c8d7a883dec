"""The latent action model: a VQ-VAE over pairs of frames, after LAPA and Genie.

LAPA: https://arxiv.org/abs/2410.11758, Genie: https://arxiv.org/abs/2402.15391.

Dimensions: B batch, N pairs given by a caller, C colour channels (1 or 3), H W frame, P palette size,
D embedding, h w grid, K codebook size.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.frames.bank import Batch
from ghostpad.model.architecture import ArchitectureConfig, check_stages
from ghostpad.model.decoder import Decoder, head_start
from ghostpad.model.encoder import Checkpointable, Encoder, grid_sizes
from ghostpad.model.frame_format import FrameFormat, FrameScale
from ghostpad.model.inputs import palette_indices, to_frames
from ghostpad.model.losses import palette_cross_entropy
from ghostpad.model.perceptual import PerceptualLoss
from ghostpad.model.quantizer_families import make_quantizer

# Plain PyTorch is fastest on a CPU with few pairs at a time: their activations stay in its caches.
_PAIRS_AT_ONCE = {"cpu": 4, "cuda": 64}


@dataclass(frozen=True)
class LatentActionModelConfig:
    """A whole model: what it sees and how it is built."""

    frames: FrameFormat = field(default_factory=FrameFormat)
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)


class LatentActionModel(nn.Module):
    """Infers a grid of discrete codes from a transition and redraws the next frame from it.

    `encode`, `decode` and `embed` are for callers; `forward` is for training.
    """

    def __init__(self, config: LatentActionModelConfig) -> None:
        super().__init__()
        architecture, frames = config.architecture, config.frames
        if architecture.reconstruction == "palette" and not frames.palette:
            raise UserError(
                "cross-entropy over a palette needs palette-encoded frames; use reconstruction mse"
            )
        check_stages(architecture)
        self.config = config
        self.predicts_palette = architecture.reconstruction == "palette"
        self.scale = FrameScale(frames.downsample, picks=self.predicts_palette)
        channels = self.num_channels
        dim = architecture.quantizer.dim
        tokens, size = architecture.encoder.tokens, frames.inner_size
        if tokens is not None and (len(tokens) != 2 or min(tokens) < 1):
            raise UserError(f"encoder.tokens {tokens}: give rows and columns, each at least 1")
        cells = grid_sizes(*size, len(architecture.encoder.widths))[-1]
        self.encoder = Encoder(architecture.encoder, 2 * channels, dim, cells)
        self.quantizer = make_quantizer(architecture.quantizer)
        outputs = len(frames.palette) if self.predicts_palette else channels
        self.decoder = Decoder(architecture.decoder, channels, outputs, dim, size, tokens)
        self.use_perceptual(None, 0.0)
        palette = torch.tensor(frames.palette, dtype=torch.float32).reshape(-1, channels) / 255
        self.register_buffer("palette_PC", palette, persistent=False)
        if self.predicts_palette:
            # At the start the model says "nothing moves", with the head start's certainty.
            nn.init.zeros_(self.decoder.last.conv.weight)
            nn.init.zeros_(self.decoder.last.conv.bias)  # type: ignore[arg-type]

    palette_PC: Tensor

    @property
    def num_channels(self) -> int:
        """1 in grayscale, else 3."""
        return 1 if self.config.frames.grayscale else 3

    @property
    def grayscale(self) -> bool:
        """Whether the model sees one channel."""
        return self.config.frames.grayscale

    @property
    def stride(self) -> int:
        """Frames from a frame to its next frame."""
        return self.config.frames.stride

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the grid of codes."""
        size, encoder = self.config.frames.inner_size, self.config.architecture.encoder
        return encoder.tokens or grid_sizes(*size, len(encoder.widths))[-1]

    @property
    def codebook_size(self) -> int:
        """Number of codes K."""
        return self.quantizer.num_codes

    @property
    def codebook(self) -> Tensor:
        """The codebook (K, D)."""
        return self.quantizer.codebook_vectors

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.palette_PC.device

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) over configuration and weights: equal exactly when the model is."""
        digest = hashlib.sha256(json.dumps(to_plain(self.config), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    def set_checkpointing(self, checkpointing: bool) -> None:
        """Compute activations again in the backward pass instead of keeping them: less memory, more time."""
        for part in self.modules():
            if isinstance(part, Checkpointable):
                part.checkpointing = checkpointing

    def use_perceptual(self, perceptual: PerceptualLoss | None, weight: float) -> None:
        """Add `weight` times a perceptual loss in training. It is no part of the model or its checkpoints."""
        # Not registered as a module: its frozen weights belong to somebody else.
        object.__setattr__(self, "perceptual", perceptual)
        self.perceptual_weight = weight

    perceptual: PerceptualLoss | None

    # -- training ---------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss () and its parts, detached: `reconstruction`, the quantizer's terms, `mse`."""
        batch = self.scale.shrink_batch(batch)
        quantized = self.quantizer(self.encoder(torch.cat([batch.frames, batch.next_frames], 1)))
        prediction = self.decoder(batch.frames, quantized.quantized.to(batch.frames.dtype))
        reconstruction = self.reconstruction_loss(prediction, batch)
        loss = reconstruction + quantized.loss
        terms = {"reconstruction": reconstruction, **quantized.terms}
        if self.perceptual is not None and self.training:
            terms["perceptual"] = self.perceptual(self._picture(prediction, batch), batch.next_frames)
            loss = loss + self.perceptual_weight * terms["perceptual"]
        terms["loss"] = loss
        return loss, {name: value.detach() for name, value in terms.items()}

    def reconstruction_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """MSE over pixels, or cross-entropy over the palette (nats per pixel)."""
        if not self.predicts_palette:
            return F.mse_loss(prediction.float(), batch.next_frames)
        assert batch.colors is not None and batch.next_colors is not None
        return palette_cross_entropy(self._logits(prediction, batch.colors), batch.next_colors)

    def _picture(self, prediction: Tensor, batch: Batch) -> Tensor:
        """What is predicted as colours, with a gradient; over a palette the expected ones."""
        if not self.predicts_palette:
            return prediction
        assert batch.colors is not None
        shares = self._logits(prediction, batch.colors).softmax(1)
        return torch.einsum("bphw,pc->bchw", shares, self.palette_PC)

    def _logits(self, prediction: Tensor, colors_BHW: Tensor) -> Tensor:
        architecture = self.config.architecture
        return prediction.float() + head_start(colors_BHW, prediction.shape[1], architecture.head_start)

    def after_step(
        self, step: int, num_steps: int, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> dict[str, float]:
        """Finish an optimizer step: see `Quantizer.maintain`."""
        return self.quantizer.maintain(step, num_steps, optimizer, generator)

    def code_counts(self) -> np.ndarray:
        """How often each code was chosen since codes were last moved: (K,) int64."""
        return self.quantizer.use_counts.cpu().numpy()

    # -- inference --------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> Tensor:
        """Infer the latent action of each pair.

        Args:
            frames: uint8 in [0, 255] or float in [0, 1]; (N, C, H, W), (N, H, W, C), or one frame as
                (C, H, W), (H, W, 3) or (H, W). RGB given to a grayscale model is converted.
            next_frames: the same, one for each of `frames`.

        Returns:
            Codes (N, h, w) int64, or (h, w) for one pair.

        Raises:
            UserError: shapes, types or ranges do not fit.
        """
        both, single = self._pair(frames, next_frames)
        codes = self._in_fixed_batches(lambda part: self.quantizer.nearest(self._latents(part)), both)
        return codes[0] if single else codes

    @torch.no_grad()
    def embed(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> Tensor:
        """Like `encode`, but gives the latents before quantizing: (N, D, h, w), or (D, h, w) for one pair."""
        both, single = self._pair(frames, next_frames)
        latents = self._in_fixed_batches(self._latents, both)
        return latents[0] if single else latents

    @torch.no_grad()
    def decode(self, frames: np.ndarray | Tensor, codes: np.ndarray | Tensor) -> Tensor:
        """Draw the next frames from frames and codes.

        Args:
            frames: as in `encode`.
            codes: (N, h, w) integers in [0, K), or (h, w) for one frame.

        Returns:
            (N, C, H, W) float32 in [0, 1], or (C, H, W) for one frame.

        Raises:
            UserError: shapes, types or ranges do not fit.
        """
        shown, single = to_frames(frames, self.config.frames, self.device, "frames")
        codes = torch.as_tensor(codes).to(self.device)
        if codes.is_floating_point() or codes.is_complex():
            raise UserError(f"codes are {codes.dtype}; give integers")
        codes = codes.to(torch.int64)
        codes = codes[None] if codes.ndim == 2 else codes
        if codes.shape != (len(shown), *self.grid):
            wanted = (len(shown), *self.grid)
            raise UserError(f"codes have the shape {tuple(codes.shape)}, but {wanted} is needed")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
            raise UserError(f"codes must lie in 0…{self.codebook_size - 1}")
        drawn = self.draw(shown, self.quantizer.embed(codes))
        return drawn[0] if single else drawn

    @torch.no_grad()
    def draw(self, frames_BCHW: Tensor, quantized_BDhw: Tensor) -> Tensor:
        """Decode codebook vectors to frames in [0, 1]; over a palette each pixel takes the likeliest."""
        inner_BCHW = self.scale.shrink(frames_BCHW)
        return self.picture(self._inferring(self.decoder)(inner_BCHW, quantized_BDhw), frames_BCHW)

    def picture(self, prediction: Tensor, frames_BCHW: Tensor) -> Tensor:
        """The frame (B, C, H, W) in [0, 1] that the decoder's `prediction` from `frames_BCHW` stands for."""
        inner_BCHW, prediction = self.scale.shrink(frames_BCHW), prediction.float()
        if self.predicts_palette:
            logits = self._logits(prediction, palette_indices(inner_BCHW, self.palette_PC))
            drawn = self.palette_PC[logits.argmax(1)].permute(0, 3, 1, 2).contiguous()
        else:
            drawn = prediction.clamp(0, 1)
        return self.scale.enlarge(drawn, inner_BCHW, frames_BCHW)

    def _pair(self, frames: np.ndarray | Tensor, next_frames: np.ndarray | Tensor) -> tuple[Tensor, bool]:
        shown, single = to_frames(frames, self.config.frames, self.device, "frames")
        next_shown, _ = to_frames(next_frames, self.config.frames, self.device, "next_frames")
        if shown.shape != next_shown.shape:
            raise UserError(f"{len(shown)} frames but {len(next_shown)} next_frames: one is needed for each")
        return torch.cat([shown, next_shown], 1), single

    def _latents(self, both_frames_B2CHW: Tensor) -> Tensor:
        return self._inferring(self.encoder)(self.scale.shrink(both_frames_B2CHW)).float()

    def _in_fixed_batches(self, part: Callable[[Tensor], Tensor], both_frames_N2CHW: Tensor) -> Tensor:
        """Apply `part` to a fixed number of pairs at a time, the last of them filled up.

        For another batch size libraries choose another algorithm, which rounds otherwise: this way what a
        pair gives depends on the pair alone, bit for bit.
        """
        size = _PAIRS_AT_ONCE.get(self.device.type, _PAIRS_AT_ONCE["cpu"])
        results = []
        for pairs in both_frames_N2CHW.split(size) if len(both_frames_N2CHW) else (both_frames_N2CHW,):
            filling = pairs[-1:].expand(size - len(pairs), -1, -1, -1) if len(pairs) else pairs
            results.append(part(torch.cat([pairs, filling]))[: len(pairs)])
        return torch.cat(results)

    def _inferring(self, part: nn.Module) -> nn.Module:
        """Batch norm in inference mode: a pair's codes must not depend on its batch."""
        if part.training:
            raise UserError("the model is in training mode; call .eval() before encode, embed or decode")
        return part

    # -- files ------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, device: str | torch.device = "cpu"
    ) -> "LatentActionModel":
        """Load a model in evaluation mode.

        Args:
            path_or_name: a folder (its `best.pt`, else `last.pt`, else `model.safetensors`), a file, or the
                name of a shipped model.
            device: where to put it.

        Raises:
            UserError: nothing is there, or what is there is no latent action model of this version.
        """
        from ghostpad.model.pretrained import read_model

        config, weights = read_model(path_or_name)
        model = cls(config)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise UserError(f"{path_or_name}: the weights do not fit their own config ({reason})") from None
        return model.to(device).eval()
