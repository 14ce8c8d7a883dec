"""What a model was trained on, and how it works on smaller frames than it takes and gives.

Dimensions: B batch, C colour channels, H W frame.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostpad.frames.batches import Batch


@dataclass(frozen=True)
class FrameFormat:
    """What the model was trained on; taken from the data, never set by hand."""

    height: int = 210
    """pixels"""
    width: int = 160
    """pixels"""
    grayscale: bool = True
    """one channel (ITU-R 601 luma) instead of three"""
    stride: int = 1
    """frames from a frame to its next frame"""
    palette: tuple[tuple[int, ...], ...] = ()
    """the colours (0 to 255, one or three numbers each) that occur; empty when the store has no palette"""
    downsample: int = 1
    """the model works on frames this many times smaller; what it takes and gives keeps the source size"""

    @property
    def inner_size(self) -> tuple[int, int]:
        """Height and width that the convolutions see."""
        return -(-self.height // self.downsample), -(-self.width // self.downsample)


@dataclass(frozen=True)
class FrameScale:
    """The way from source frames to frames `factor` times smaller, and back."""

    factor: int
    picks: bool
    """take every n-th pixel, so that colours stay in the palette, instead of the mean"""

    def shrink(self, frames_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, ceil(H / factor), ceil(W / factor))."""
        if self.factor == 1:
            return frames_BCHW
        if self.picks:
            return frames_BCHW[:, :, :: self.factor, :: self.factor]
        return F.avg_pool2d(frames_BCHW, self.factor, ceil_mode=True, count_include_pad=False)

    def shrink_batch(self, batch: Batch) -> Batch:
        """Shrink frames and, when there are any, palette indices."""
        if self.factor == 1:
            return batch
        frames, next_frames = self.shrink(batch.frames), self.shrink(batch.next_frames)
        if batch.colors is None or batch.next_colors is None:
            return Batch(frames, next_frames)
        colors, next_colors = (
            c[:, :: self.factor, :: self.factor] for c in (batch.colors, batch.next_colors)
        )
        return Batch(frames, next_frames, colors, next_colors)

    def enlarge(self, drawn: Tensor, inner: Tensor, frames_BCHW: Tensor) -> Tensor:
        """Bring a small picture to the source size: what changed there changes here, all else stays sharp.

        Args:
            drawn: (B, C, h, w) the small picture.
            inner: (B, C, h, w) the small current frame, from which it was drawn.
            frames_BCHW: the current frame at the source size.
        """
        if self.factor == 1:
            return drawn
        change, blocks = drawn - inner, drawn
        for dim, size in ((2, frames_BCHW.shape[2]), (3, frames_BCHW.shape[3])):
            change = change.repeat_interleave(self.factor, dim).narrow(dim, 0, size)
            blocks = blocks.repeat_interleave(self.factor, dim).narrow(dim, 0, size)
        if self.picks:
            return torch.where((change != 0).any(1, keepdim=True), blocks, frames_BCHW)
        return (frames_BCHW + change).clamp(0, 1)
