"""Motion in the latent action model: flow by block matching, warping, and a model that begins with both."""

import numpy as np
import pytest
import torch

from ghostpad.frames.batches import Batch
from ghostpad.model import (
    ArchitectureConfig,
    DecoderConfig,
    EncoderConfig,
    FrameFormat,
    LatentActionModel,
    LatentActionModelConfig,
    QuantizerConfig,
)
from ghostpad.model.frame_format import palette_indices
from ghostpad.model.warp import FlowGrid, estimate_flow, warp
from ghostpad.presets import preset

PALETTE = tuple((value,) for value in range(0, 256, 17))


def moved_texture(
    height: int, width: int, down: int, right: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blocks of 4×4 pixels in the colours of `PALETTE` (1, 1, H, W), and the same picture moved."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(16, (1, 1, height // 4 + 32, width // 4 + 32), generator=generator)
    world = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3) * 17 / 255
    top, left = 64 - down, 64 - right
    return world[..., 64 : 64 + height, 64 : 64 + width], world[..., top : top + height, left : left + width]


def motion_model(palette: bool, tokens: tuple[int, int] | None = None) -> LatentActionModel:
    """An untrained model of 64×64 frames whose latents are not yet quantized."""
    torch.manual_seed(0)
    frames = FrameFormat(64, 64, palette=PALETTE if palette else ())
    architecture = ArchitectureConfig(
        encoder=EncoderConfig(widths=(8, 8, 8), tokens=tokens),
        quantizer=QuantizerConfig(dim=4),
        decoder=DecoderConfig(frame_widths=(8, 8, 8), widths=(8, 8), skips=True),
        reconstruction="palette" if palette else "mse",
        motion="on",
    )
    return LatentActionModel(LatentActionModelConfig(frames, architecture))


def prediction_error(model: LatentActionModel, frames: torch.Tensor, next_frames: torch.Tensor) -> float:
    """Mean squared error of the prediction with unquantized latents, 8 and more pixels from the border."""
    model.eval()
    with torch.no_grad():
        latents = model.encoder(torch.cat([frames, next_frames], 1))
        predicted = model.frames_from(model.decoder(frames, latents), frames)
    return float((predicted - next_frames)[..., 8:-8, 8:-8].square().mean())


@pytest.mark.parametrize(
    ("size", "down", "right"),
    [((64, 64), 0, 7), ((64, 64), -9, 11), ((120, 160), 3, -21), ((210, 160), 22, 5)],
)
def test_the_flow_of_a_moving_camera_is_found_to_the_pixel(
    size: tuple[int, int], down: int, right: int
) -> None:
    frames, next_frames = moved_texture(*size, down, right)
    flow = estimate_flow(frames, next_frames, FlowGrid(16))
    assert flow.shape == (1, 2, -(-size[0] // 16), -(-size[1] // 16))
    inner = flow[..., 2:-2, 2:-2] if min(size) > 64 else flow[..., 1:-1, 1:-1]
    right_share = (inner == torch.tensor([down, right])[None, :, None, None]).all(1).float().mean()
    assert right_share > 0.8


def test_still_frames_and_frames_without_texture_have_no_flow() -> None:
    frames, _ = moved_texture(64, 64, 0, 0)
    assert not estimate_flow(frames, frames, FlowGrid(8)).any()
    assert not estimate_flow(torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64), FlowGrid(8)).any()


def test_a_token_stands_for_the_flow_of_its_part_of_the_frame() -> None:
    frames, next_frames = moved_texture(64, 64, 0, 6)
    assert estimate_flow(frames, next_frames, FlowGrid(8, (1, 1))).flatten().tolist() == [0, 6]


def test_warping_moves_the_content_by_the_flow() -> None:
    frames, next_frames = moved_texture(48, 64, 5, -3)
    flow = torch.tensor([5.0, -3.0])[None, :, None, None].expand(1, 2, 48, 64)
    for mode in ("bilinear", "nearest"):
        assert torch.allclose(
            warp(frames, flow, mode)[..., 6:-6, 6:-6], next_frames[..., 6:-6, 6:-6], atol=1e-4
        )


@pytest.mark.parametrize("tokens", [None, (1, 1)], ids=["grid", "token"])
@pytest.mark.parametrize("palette", [False, True], ids=["rgb", "palette"])
def test_an_untrained_model_knows_still_and_moving_frames(
    palette: bool, tokens: tuple[int, int] | None
) -> None:
    model = motion_model(palette, tokens)
    frames, next_frames = moved_texture(64, 64, 0, 6)
    assert prediction_error(model, frames, frames) < 1e-6
    copying = float((frames - next_frames)[..., 8:-8, 8:-8].square().mean())
    assert prediction_error(model, frames, next_frames) < 0.02 * copying


def test_small_frames_pass_fewer_convolutions_so_that_the_grid_is_fine_enough() -> None:
    tiny = preset("tiny").model
    assert tiny.fitted((210, 160)) == tiny.fitted((120, 160)) == tiny
    small = tiny.fitted((64, 64))
    small.check(has_palette=True)
    assert small.encoder.widths == small.decoder.frame_widths == tiny.encoder.widths[:3]
    assert small.decoder.widths == tiny.decoder.widths[1:]
    assert len(tiny.fitted((4, 4)).encoder.widths) == 1


def test_an_untrained_model_that_draws_changes_copies_the_frame() -> None:
    architecture = ArchitectureConfig(
        encoder=EncoderConfig(widths=(8, 8)),
        decoder=DecoderConfig(frame_widths=(8, 8), widths=(8,)),
        residual=True,
    )
    model = LatentActionModel(LatentActionModelConfig(FrameFormat(64, 64), architecture)).eval()
    frames, next_frames = moved_texture(64, 64, 0, 6)
    with torch.no_grad():
        latents = model.encoder(torch.cat([frames, next_frames], 1))
        assert torch.equal(model.decoder(frames, latents), frames)


@pytest.mark.parametrize("palette", [False, True], ids=["rgb", "palette"])
def test_the_loss_has_a_gradient_for_every_part(palette: bool) -> None:
    model = motion_model(palette)
    frames, next_frames = moved_texture(64, 64, 0, 6)
    pair = [part.repeat(2, 1, 1, 1) for part in (frames, next_frames)]
    colors = [palette_indices(part, model.palette_PC) for part in pair] if palette else []
    with torch.no_grad():  # it is zero at first, which hides what comes before it
        model.decoder.last.conv.weight.normal_(0, 0.01)
    loss, _ = model(Batch(*pair, *colors))
    loss.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None or name.startswith("quantizer"), name


def test_codes_of_a_pair_do_not_depend_on_its_batch() -> None:
    model = motion_model(palette=False)
    pairs = [moved_texture(64, 64, 0, right, seed=right) for right in range(6)]
    frames, next_frames = (torch.cat(part) for part in zip(*pairs, strict=True))
    model.train()
    model(Batch(frames, next_frames))
    model.quantizer.initialize(torch.Generator().manual_seed(0))
    model.eval()
    codes = model.encode(frames, next_frames)
    one_by_one = [model.encode(frames[i : i + 1], next_frames[i : i + 1])[0] for i in range(6)]
    assert np.array_equal(codes, torch.stack(one_by_one))
