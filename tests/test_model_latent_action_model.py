"""The `spec` model has the sizes of the reference specification, learns, and its parts work as documented."""

import dataclasses

import pytest
import torch
from torch import nn

from ghostpad.errors import UserError
from ghostpad.frames.batches import Batch
from ghostpad.model import (
    ArchitectureConfig,
    DecoderConfig,
    FrameFormat,
    LatentActionModel,
    LatentActionModelConfig,
    QuantizerConfig,
)
from ghostpad.model.encoder import EncoderConfig, grid_sizes
from ghostpad.presets import PRESETS

SPECIFIED_GRID = [(210, 160), (105, 80), (53, 40), (27, 20), (14, 10), (7, 5)]
PALETTE = ((0,), (80,), (160,), (255,))


def small(reconstruction: str = "palette", **decoder: object) -> LatentActionModel:
    """A model for 21×16 frames with all the parts of the large ones."""
    torch.manual_seed(0)
    architecture = ArchitectureConfig(
        EncoderConfig((8, 16, 16)),
        QuantizerConfig(codebook_size=16, dim=8, warmup_steps=0),
        DecoderConfig((8, 16, 16), (16, 8), **decoder),  # type: ignore[arg-type]
        reconstruction,  # type: ignore[arg-type]
    )
    return LatentActionModel(LatentActionModelConfig(FrameFormat(21, 16, palette=PALETTE), architecture))


def moving_square(num: int = 6, seed: int = 0) -> Batch:
    """A 3×3 square on a striped ground that moves by one pixel in one of four directions."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.zeros(num, 21, 16, dtype=torch.int64)
    colors[:, ::5] = 1
    next_colors = colors.clone()
    for index in range(num):
        y, x = (int(torch.randint(2, high, (), generator=generator)) for high in (16, 11))
        dy, dx = ((0, 1), (1, 0), (0, -1), (-1, 0))[index % 4]
        colors[index, y : y + 3, x : x + 3] = 3
        next_colors[index, y + dy : y + dy + 3, x + dx : x + dx + 3] = 3
    palette = torch.tensor(PALETTE).float().flatten() / 255
    return Batch(palette[colors][:, None], palette[next_colors][:, None], colors, next_colors)


def convolutions(module: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    """All convolutions of a module in order."""
    return [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)]


@pytest.mark.parametrize(("grayscale", "channels"), [(True, 1), (False, 3)])
def test_every_layer_has_the_specified_size_and_channels(grayscale: bool, channels: int) -> None:
    model = LatentActionModel(
        LatentActionModelConfig(FrameFormat(grayscale=grayscale), PRESETS["spec"]().model)
    )
    sizes: dict[nn.Module, tuple[int, ...]] = {}
    for part in convolutions(model):
        part.register_forward_hook(lambda module, _, output: sizes.update({module: tuple(output.shape[1:])}))
    frames = torch.rand(2, channels, 210, 160)
    model(Batch(frames, frames.flip(0)))
    grid = SPECIFIED_GRID

    *downs, project = convolutions(model.encoder)
    widths = [64, 128, 256, 512, 512]
    assert [conv.in_channels for conv in downs] == [2 * channels, *widths[:-1]]
    assert [sizes[conv] for conv in downs] == [(w, *s) for w, s in zip(widths, grid[1:], strict=True)]
    assert all(c.kernel_size == (3, 3) and c.stride == (2, 2) and c.padding == (1, 1) for c in downs)
    assert project.kernel_size == (1, 1) and sizes[project] == (128, 7, 5)

    frame_downs = convolutions(model.decoder.pyramid)
    assert [conv.in_channels for conv in frame_downs] == [channels, *widths[:-1]]
    assert [sizes[conv] for conv in frame_downs] == [(w, *s) for w, s in zip(widths, grid[1:], strict=True)]

    ups = [part for part in model.decoder.modules() if isinstance(part, nn.ConvTranspose2d)]
    assert [conv.in_channels for conv in ups] == [512, 512, 256, 128, 64]
    up_widths = [512, 256, 128, 64, channels]
    assert [sizes[conv] for conv in ups] == [(w, *s) for w, s in zip(up_widths, grid[4::-1], strict=True)]

    norms = [part for part in model.encoder.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 5 and any(isinstance(part, nn.ReLU) for part in model.encoder.modules())
    assert model.grid == (7, 5)
    assert tuple(model.codebook.shape) == (256, 128)
    assert tuple(model.eval().decode(frames, model.encode(frames, frames)).shape) == (2, channels, 210, 160)


def test_the_spec_preset_has_the_specified_training_settings() -> None:
    config = PRESETS["spec"]()
    assert (config.steps, config.batch_size, config.save_every) == (100_000, 32, 10_000)
    assert (config.optimizer.learning_rate, config.optimizer.final_learning_rate) == (3e-4, 1e-4)
    quantizer = config.model.quantizer
    assert (quantizer.commitment_weight, quantizer.reset_every) == (0.25, 10_000)
    assert (config.validate_every, config.histogram_every, config.examples_every) == (1_000, 5_000, 2_500)
    assert config.grayscale and config.model.reconstruction == "mse"
    assert not config.model.decoder.skips and config.model.decoder.conditioning == "film"


@pytest.mark.parametrize("conditioning", ["film", "cross_attention"])
@pytest.mark.parametrize("reconstruction", ["mse", "palette"])
def test_the_model_overfits_one_batch(conditioning: str, reconstruction: str) -> None:
    model = small(reconstruction, conditioning=conditioning, attention_heads=2)
    batch = moving_square()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        loss, metrics = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.after_step(step + 1, 60, optimizer, torch.Generator().manual_seed(step))
        losses.append(float(metrics["reconstruction"]))
    assert losses[-1] < 0.3 * losses[1]


def test_a_train_step_of_spec_lowers_the_loss_on_one_batch() -> None:
    torch.manual_seed(0)
    config = LatentActionModelConfig(FrameFormat(height=64, width=48), PRESETS["spec"]().model)
    model = LatentActionModel(config)
    batch = Batch(torch.rand(4, 1, 64, 48), torch.rand(4, 1, 64, 48))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    before, _ = model(batch)
    before.backward()
    optimizer.step()
    after, _ = model(batch)
    assert after.item() < before.item()


def test_without_skips_the_frame_reaches_the_output_through_the_bottom_alone() -> None:
    """With the conditioned features at the bottom cut, the current frame must not matter."""
    for skips in (False, True):
        model = small("mse", skips=skips).eval()
        model.decoder.condition.register_forward_hook(lambda _, __, output: torch.zeros_like(output))
        codes = torch.zeros(2, *model.grid, dtype=torch.int64)
        one, other = (
            model.decode(frames, codes) for frames in (torch.zeros(2, 1, 21, 16), torch.ones(2, 1, 21, 16))
        )
        assert torch.equal(one, other) is not skips


def test_the_next_frame_reaches_the_output_through_the_codes_alone() -> None:
    model = small("mse", skips=True)
    batch = moving_square()
    model(batch)
    model.quantizer.initialize(torch.Generator().manual_seed(0))
    model.eval()
    codes = model.encode(batch.frames, batch.next_frames)
    next_frames = batch.next_frames.clone().requires_grad_()
    latents = model.encoder(torch.cat([batch.frames, next_frames], 1))
    assert torch.equal(model.quantizer.nearest(latents), codes)
    drawn = model.decoder(batch.frames, model.quantizer.dequantize(codes))
    assert not torch.autograd.grad(drawn.sum(), next_frames, allow_unused=True)[0]
    assert torch.equal(model.decode(batch.frames, codes), model.frames_of_codes(batch.frames, codes))


@pytest.mark.parametrize("size", [(210, 160), (209, 161), (64, 64), (84, 84), (33, 47)])
def test_outputs_have_exactly_the_frame_size(size: tuple[int, int]) -> None:
    architecture = dataclasses.replace(
        PRESETS["tiny"]().model,
        encoder=EncoderConfig((4, 4, 4, 4)),
        decoder=DecoderConfig((4, 4, 4, 4), (4, 4, 4), skips=True),
        reconstruction="mse",
    )
    model = LatentActionModel(LatentActionModelConfig(FrameFormat(*size), architecture)).eval()
    frames = torch.rand(1, 1, *size)
    codes = model.encode(frames, frames)
    assert tuple(codes.shape[1:]) == grid_sizes(*size, 4)[-1] == model.grid
    assert tuple(model.decode(frames, codes).shape) == (1, 1, *size)


def test_an_untrained_palette_model_predicts_the_current_frame() -> None:
    model, batch = small().eval(), moving_square()
    drawn = model.decode(batch.frames, model.encode(batch.frames, batch.next_frames))
    assert torch.equal(drawn, batch.frames)


def test_a_colour_outside_the_palette_is_an_error_that_names_the_pixel() -> None:
    model = small().eval()
    frames = torch.zeros(1, 21, 16, 3, dtype=torch.uint8)
    frames[0, 4, 7] = torch.tensor([9, 9, 9])
    codes = torch.zeros(1, *model.grid, dtype=torch.int64)
    with pytest.raises(UserError, match=r"colour \(9,\) at x=7, y=4"):
        model.decode(frames, codes)


def test_settings_that_do_not_fit_each_other_are_refused() -> None:
    config = PRESETS["tiny"]().model
    with pytest.raises(UserError, match="palette"):
        LatentActionModel(LatentActionModelConfig(FrameFormat(), config))
    bad = dataclasses.replace(config, encoder=EncoderConfig((8, 8)))
    with pytest.raises(UserError, match=r"decoder\.frame-widths needs 2"):
        LatentActionModel(LatentActionModelConfig(FrameFormat(palette=PALETTE), bad))


@pytest.mark.parametrize("reconstruction", ["mse", "palette"])
def test_a_downsampling_model_keeps_unchanged_pixels_at_full_resolution(reconstruction: str) -> None:
    torch.manual_seed(0)
    frames = FrameFormat(41, 33, palette=PALETTE, downsample=2)
    architecture = dataclasses.replace(small().config.architecture, reconstruction=reconstruction)
    model = LatentActionModel(LatentActionModelConfig(frames, architecture))
    palette = torch.tensor(PALETTE).float().flatten() / 255
    colors = torch.randint(0, 4, (2, 41, 33))
    batch = Batch(palette[colors][:, None], palette[colors.flip(0)][:, None], colors, colors.flip(0))
    loss, _ = model(batch)
    assert loss.isfinite()
    model.eval()
    codes = model.encode(batch.frames, batch.next_frames)
    assert tuple(codes.shape[1:]) == model.grid == grid_sizes(21, 17, 3)[-1]
    inner = model.scale.shrink(batch.frames)
    assert torch.equal(model.scale.enlarge(inner, inner, batch.frames), batch.frames)
    changed = inner.clone()
    changed[0, 0, 5, 7] = palette[(int(colors[0, 10, 14]) + 1) % 4]
    enlarged = model.scale.enlarge(changed, inner, batch.frames)
    differs = (enlarged != batch.frames).nonzero()[:, 2:]
    assert len(differs) and differs.amin(0).tolist() >= [10, 14] and differs.amax(0).tolist() <= [11, 15]
