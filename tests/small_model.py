"""A small latent action model for real frames, untrained, but with batch norms and codes that differ."""

import pathlib

import torch

from ghostpad.config import to_plain
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.model import (
    ArchitectureConfig,
    DecoderConfig,
    EncoderConfig,
    FrameFormat,
    LatentActionModel,
    LatentActionModelConfig,
    QuantizerConfig,
)
from ghostpad.model.pretrained import KIND
from ghostpad.training.checkpoint import write_checkpoint


def small_model(
    store: FrameStore,
    seed: int = 0,
    stride: int = 1,
    grayscale: bool = True,
    tokens: tuple[int, int] | None = None,
    blocks: tuple[int, ...] = (0, 1, 0, 0),
    history: int = 1,
    motion: str = "off",
    **quantizer,
) -> LatentActionModel:
    """A model in evaluation mode whose statistics and codebook come from transitions of `store`."""
    torch.manual_seed(seed)
    widths = (4, 6, 8, 8)
    frames = FrameFormat(store.height, store.width, grayscale, stride, history=history)
    architecture = ArchitectureConfig(
        encoder=EncoderConfig(widths=widths, blocks=blocks, tokens=tokens),
        quantizer=QuantizerConfig(**{"codebook_size": 32, "dim": 6, "warmup_steps": 0, **quantizer}),
        decoder=DecoderConfig(frame_widths=widths, widths=(8, 6, 4)),
        motion=motion,
    )
    model = LatentActionModel(LatentActionModelConfig(frames, architecture))
    rows = slice(0, 40, 2)
    both = [
        torch.from_numpy(part).flatten(1, -3).float() / 255
        for part in Transitions(store, None, stride, history).read(rows, grayscale)
    ]
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.momentum = 1.0
                norm.weight.uniform_(0.5, 2)
                norm.bias.normal_()
        model.train()
        model.quantizer(model.encoder(torch.cat(both, 1)))
        if not model.quantizing:
            model.quantizer.initialize(torch.Generator().manual_seed(seed))
    return model.eval()


def saved(model: LatentActionModel, path: pathlib.Path) -> pathlib.Path:
    """Write `model` as a checkpoint."""
    write_checkpoint(
        path, {"kind": KIND, "model_config": to_plain(model.config), "model": model.state_dict()}
    )
    return path
