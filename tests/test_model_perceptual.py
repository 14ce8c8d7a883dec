"""The perceptual loss: features of VGG-16, a gradient for the decoder alone, clear errors without weights."""

import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ghostpad.errors import UserError
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
from ghostpad.model.config import PerceptualConfig
from ghostpad.model.losses import PerceptualLoss
from ghostpad.training.latent_action import train
from small_run import small_run

# torchvision's vgg16.features: numbers are channels relative to 64, M is 2×2 max pooling.
LAYOUT = [1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M"]


def vgg16(width: int) -> nn.Sequential:
    """torchvision's vgg16 with `width` channels where it has 64."""
    torch.manual_seed(0)
    layers, channels = [], 3
    for entry in LAYOUT:
        if entry == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, entry * width, 3, padding=1), nn.ReLU()]
            channels = entry * width
    return nn.Sequential(*layers)


def save(network: nn.Sequential, path: Path) -> PerceptualConfig:
    torch.save({f"features.{name}": weight for name, weight in network.state_dict().items()}, path)
    return PerceptualConfig(1.0, path)


@pytest.fixture
def config(tmp_path: Path) -> PerceptualConfig:
    return save(vgg16(2), tmp_path / "vgg16.pth")


def test_features_are_those_of_vgg16(config: PerceptualConfig) -> None:
    network, frames = vgg16(2), torch.rand(2, 3, 32, 24)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    wanted, seen = [], (frames - mean) / std
    for place, layer in enumerate(network[:23]):
        seen = layer(seen)
        if place in (3, 8, 15, 22):  # relu1_2, relu2_2, relu3_3, relu4_3
            wanted.append(seen)
    loss = PerceptualLoss(config)
    found = loss.features(frames)
    assert [f.shape for f in found] == [w.shape for w in wanted]
    assert all(torch.allclose(f, w, atol=1e-6) for f, w in zip(found, wanted, strict=True))
    other = torch.rand(2, 3, 32, 24)
    by_hand = sum(F.mse_loss(a, b) for a, b in zip(found, loss.features(other), strict=True)) / 4
    assert torch.allclose(loss(frames, other), by_hand) and float(loss(frames, frames)) == 0


def test_a_gray_frame_has_the_features_of_three_equal_channels(config: PerceptualConfig) -> None:
    loss, gray = PerceptualLoss(config), torch.rand(2, 1, 32, 24)
    assert torch.equal(loss.features(gray)[3], loss.features(gray.repeat(1, 3, 1, 1))[3])


def model_and_batch(reconstruction: str) -> tuple[LatentActionModel, Batch]:
    torch.manual_seed(0)
    palette = ((0,), (90,), (200,))
    architecture = ArchitectureConfig(
        EncoderConfig((4, 8, 8)),
        QuantizerConfig(8, 4),
        DecoderConfig((4, 8, 8), (8, 4)),
        reconstruction,  # type: ignore[arg-type]
    )
    model = LatentActionModel(LatentActionModelConfig(FrameFormat(32, 24, palette=palette), architecture))
    colors, next_colors = torch.randint(0, 3, (2, 4, 32, 24))
    frames, next_frames = (model.palette_PC[c].permute(0, 3, 1, 2) for c in (colors, next_colors))
    return model, Batch(frames, next_frames, colors, next_colors)


@pytest.mark.parametrize("reconstruction", ["mse", "palette"])
def test_the_perceptual_gradient_reaches_the_decoder_and_not_the_frozen_network(
    config: PerceptualConfig, reconstruction: str
) -> None:
    model, batch = model_and_batch(reconstruction)
    perceptual = PerceptualLoss(config)
    gradients = []
    for weight in (0.0, 5.0):
        model.zero_grad()
        model.use_perceptual(perceptual if weight else None, weight)
        loss, terms = model(batch)
        loss.backward()
        assert ("perceptual" in terms) == bool(weight)
        if weight:
            rest = sum(
                model.quantizer.loss_weights.get(k, 1) * v for k, v in terms.items() if k not in ("loss",)
            )
            assert float(loss.detach()) == pytest.approx(
                float(rest) + 4 * float(terms["perceptual"]), rel=1e-5
            )
        gradients.append(model.decoder.last.conv.weight.grad.clone())  # type: ignore[union-attr]
    assert (gradients[1] - gradients[0]).abs().max() > 1e-6
    assert not any(p.requires_grad or p.grad is not None for p in perceptual.parameters())
    model.eval()
    assert "perceptual" not in model(batch)[1]


def test_the_perceptual_loss_is_no_part_of_the_model(config: PerceptualConfig) -> None:
    model, _ = model_and_batch("mse")
    names, before = list(model.state_dict()), model.model_hash
    model.use_perceptual(PerceptualLoss(config), 1.0)
    assert list(model.state_dict()) == names and model.model_hash == before
    assert not any("perceptual" in name for name, _ in model.named_parameters())


def test_training_with_a_perceptual_loss_leaves_it_out_of_the_checkpoint(
    config: PerceptualConfig, store_path: Path, tmp_path: Path
) -> None:
    run = small_run(
        store_path,
        tmp_path / "run",
        steps=2,
        batch_size=2,
        downsample=4,
        validation_micro_batch=0,
        perceptual=config,
    )
    train(run)
    assert '"perceptual"' in (run.out / "metrics.jsonl").read_text()
    saved = torch.load(run.out / "last.pt", weights_only=True)
    assert not any("perceptual" in name or "blocks" in name for name in saved["model"])
    config.vgg.unlink()  # type: ignore[union-attr]
    LatentActionModel.from_pretrained(run.out)


def mistake(config: PerceptualConfig) -> str:
    with pytest.raises(UserError) as caught:
        PerceptualLoss(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_without_the_weights_of_vgg16_is_named(config: PerceptualConfig, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    bad = PerceptualConfig(1.0, path)
    assert f"{path}: no such file" in mistake(bad)
    path.write_bytes(b"no weights")
    assert f"{path}: not a state dict" in mistake(bad)
    weights = torch.load(config.vgg, weights_only=True)  # type: ignore[arg-type]
    for content in (
        [1, 2],
        {"features.0.weight": torch.zeros(2, 3, 3, 3)},
        {**weights, "features.2.weight": torch.zeros(2, 5, 3, 3)},
        {**weights, "features.2.weight": torch.zeros(2, 2, 5, 5)},
    ):
        torch.save(content, path)
        assert f"{path}: not a state dict of torchvision's vgg16" in mistake(bad)


def test_without_a_file_the_weights_come_from_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    assert "--perceptual.vgg FILE" in mistake(PerceptualConfig(1.0))

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = vgg16(2)

    fake = types.ModuleType("torchvision.models")
    fake.VGG16_Weights = types.SimpleNamespace(IMAGENET1K_V1="photographs")  # type: ignore[attr-defined]
    fake.vgg16 = lambda weights: {"photographs": Whole()}[weights]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", fake)
    assert len(PerceptualLoss(PerceptualConfig(1.0)).features(torch.rand(1, 1, 16, 16))) == 4


class Evil:
    """Something that only unpickling could bring back."""


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save(Evil(), path)
    assert "not a state dict" in mistake(PerceptualConfig(1.0, path))
