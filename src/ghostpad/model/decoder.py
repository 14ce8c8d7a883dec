"""The decoder: the current frame and the quantized latents in, the next frame out.

Dimensions: B batch, C colour channels, O output channels, P palette size,
H W frame, F features, D embedding, h w grid.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from ghostpad.model.batch_statistics import BatchNorm
from ghostpad.model.config import DecoderConfig
from ghostpad.model.encoder import (
    Checkpointable,
    FramePyramid,
    ResidualBlock,
    grid_sizes,
    stride_2_convolution,
)
from ghostpad.model.warp import FLOW_UNIT, FlowGrid, warp


class FiLM(nn.Module):
    """Feature-wise linear modulation (Perez et al. 2018, https://arxiv.org/abs/1709.07871), cell by cell."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.scale_and_shift = nn.Conv2d(dim, 2 * features, 1)

    def forward(self, features_BFhw: Tensor, quantized_BDhw: Tensor) -> Tensor:
        """Return (1 + scale) · features + shift."""
        scale, shift = self.scale_and_shift(quantized_BDhw).chunk(2, dim=1)
        return (1 + scale) * features_BFhw + shift


class CrossAttention(nn.Module):
    """Cells of the current frame attend to the latents; residual, with learned position embeddings."""

    def __init__(self, features: int, dim: int, num_queries: int, num_keys: int, heads: int) -> None:
        super().__init__()
        self.query_position = nn.Parameter(torch.randn(num_queries, features) * 0.02)
        self.key_position = nn.Parameter(torch.randn(num_keys, dim) * 0.02)
        self.norm = nn.LayerNorm(features)
        self.attention = nn.MultiheadAttention(features, heads, kdim=dim, vdim=dim, batch_first=True)

    def forward(self, features_BFhw: Tensor, quantized_BDhw: Tensor) -> Tensor:
        """Return features of the same shape."""
        _, _, h, w = features_BFhw.shape
        queries = self.norm(rearrange(features_BFhw, "b f h w -> b (h w) f")) + self.query_position
        values = rearrange(quantized_BDhw, "b d h w -> b (h w) d")
        attended, _ = self.attention(queries, values + self.key_position, values, need_weights=False)
        return features_BFhw + rearrange(attended, "b (h w) f -> b f h w", h=h, w=w)


class Upsample(nn.Module):
    """Stride-2 transposed 3×3 convolution to an exact size: the output padding is chosen to fit."""

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int], bias: bool) -> None:
        super().__init__()
        # A transposed convolution (k=3, s=2, p=1) turns n into 2n − 1 + output_padding.
        output_padding = (1 - size[0] % 2, 1 - size[1] % 2)
        self.small = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        self.conv = nn.ConvTranspose2d(
            in_channels, out_channels, 3, stride=2, padding=1, output_padding=output_padding, bias=bias
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, ceil(H/2), ceil(W/2)) → (B, out, H, W); any other size (a window) doubles exactly."""
        h, w = features.shape[2:]
        if (h, w) != self.small:
            return self.conv(features, [2 * h, 2 * w])
        output = stride_2_convolution(self.conv, features, self.conv.output_padding)
        return self.conv(features) if output is None else output


class Decoder(Checkpointable):
    """Reconstructs the next frame from the current one and the latents: → (B, O, H, W).

    Latents that are a few tokens instead of a grid condition every cell alike: all of them through FiLM, or
    through cross-attention. With `motion` their first two dimensions are a flow, by which the current frame
    is warped; the network sees both frames and draws the difference.
    """

    def __init__(
        self,
        config: DecoderConfig,
        num_frames: int,
        channels: int,
        out_channels: int,
        dim: int,
        size: tuple[int, int],
        tokens: tuple[int, int] | None = None,
        motion: bool = False,
        residual: bool = False,
        palette: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        self.motion, self.residual, self.palette = motion, residual and not palette, palette
        self.flow_grid = FlowGrid(2 ** len(config.frame_widths), tokens)
        in_channels = (num_frames + motion) * channels
        out_channels += 2 * (motion and not palette)
        levels = len(config.frame_widths)
        sizes = grid_sizes(*size, levels)
        self.pyramid = FramePyramid(in_channels, config.frame_widths, config.frame_blocks)
        bottom = config.frame_widths[-1]
        self.joins_tokens = tokens is not None and config.conditioning == "film"
        if config.conditioning == "film":
            self.condition: nn.Module = FiLM(bottom, dim * math.prod(tokens or (1,)))
        else:
            keys = math.prod(tokens or sizes[-1])
            self.condition = CrossAttention(bottom, dim, math.prod(sizes[-1]), keys, config.attention_heads)
        blocks = config.blocks or (0,) * levels
        self.mix = nn.Sequential(*(ResidualBlock(bottom) for _ in range(blocks[0])))
        ins = [bottom, *config.widths]
        if config.skips:
            ins = [ins[0], *(a + b for a, b in zip(ins[1:], config.frame_widths[-2::-1], strict=True))]
        self.ups = nn.ModuleList(
            nn.Sequential(
                Upsample(before, after, size, bias=False),
                BatchNorm(after),
                nn.ReLU(inplace=True),
                *(ResidualBlock(after) for _ in range(num_blocks)),
            )
            for before, after, size, num_blocks in zip(
                ins[:-1], config.widths, sizes[-2:0:-1], blocks[1:], strict=True
            )
        )
        self.last = Upsample(ins[-1], out_channels, sizes[0], bias=True)

    def forward(self, frames_BCHW: Tensor, quantized_BDhw: Tensor) -> Tensor:
        """Return the next frame; or the palette logits without the bias, and with `motion` the flow."""
        current_BCHW = frames_BCHW[:, -self.channels :]
        if not self.motion:
            drawn = self._draw(frames_BCHW, quantized_BDhw)
            return drawn.float() + current_BCHW if self.residual else drawn
        flow_B2hw = FLOW_UNIT * quantized_BDhw[:, :2].float()
        flow_B2HW = self.flow_grid.enlarge(flow_B2hw, (frames_BCHW.shape[2], frames_BCHW.shape[3]))
        if self.palette:
            flow_B2HW = flow_B2HW.round()  # so that no colours mix
        warped_BCHW = warp(current_BCHW, flow_B2HW)
        drawn = self._draw(torch.cat([frames_BCHW, warped_BCHW], 1), quantized_BDhw).float()
        if self.palette:
            return torch.cat([drawn, flow_B2HW], 1)
        # Three ways to be right: the warped frame, the current one where nothing moves, and what is drawn.
        less_warped, current_share = drawn[:, -2:].chunk(2, 1)
        return warped_BCHW + drawn[:, :-2] - less_warped * warped_BCHW + current_share * current_BCHW

    def _draw(self, frames_BCHW: Tensor, quantized_BDhw: Tensor) -> Tensor:
        pyramid = self.pyramid(frames_BCHW)
        if self.joins_tokens:
            quantized_BDhw = rearrange(quantized_BDhw, "b d h w -> b (d h w) 1 1")
        features = self.mix(self.condition(pyramid[-1], quantized_BDhw))
        for up, skip in zip(self.ups, pyramid[-2::-1], strict=True):
            features = self.maybe_checkpoint(up, features)
            if self.config.skips:
                features = torch.cat([features, skip], 1)
        return self.last(features)


def residual_logits(colors_BHW: Tensor, num_colors: int, bias: float) -> Tensor:
    """Logits (B, P, H, W) for a frame that does not change: `bias` at each pixel's current colour, else 0."""
    batch, height, width = colors_BHW.shape
    logits = torch.zeros(batch, num_colors, height, width, device=colors_BHW.device)
    return logits.scatter_(1, colors_BHW[:, None], bias)
