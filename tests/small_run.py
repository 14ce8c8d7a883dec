"""Trainings that take seconds: a very small model on a few real frames."""

import dataclasses
from pathlib import Path
from typing import Any

from ghostpad.model import ArchitectureConfig, DecoderConfig, EncoderConfig, QuantizerConfig
from ghostpad.training.config import TrainConfig

QUICK = QuantizerConfig(16, 8, warmup_steps=2, reset_every=3)
"""Sixteen codes that start at step 2 and are moved every 3 steps."""


def small_architecture(
    widths: tuple[int, ...] = (4, 8, 8),
    quantizer: QuantizerConfig = QUICK,
    skips: bool = False,
    tokens: tuple[int, int] | None = None,
    reconstruction: Any = "mse",
) -> ArchitectureConfig:
    """Encoder and decoder of `widths` channels."""
    decoder = DecoderConfig(widths, widths[-2::-1], skips=skips)
    return ArchitectureConfig(EncoderConfig(widths, tokens=tokens), quantizer, decoder, reconstruction)


def small_run(data: Path, out: Path, **changes: Any) -> TrainConfig:
    """Eight steps of four transitions at a third of the size, with everything logged; `changes` to that."""
    config = TrainConfig(
        data=data,
        out=out,
        steps=8,
        batch_size=4,
        downsample=3,
        validate_every=4,
        validation_pairs=4,
        validation_micro_batch=2,
        log_every=4,
        histogram_every=4,
        examples_every=4,
        precision="fp32",
        tracker="none",
        device="cpu",
        model=small_architecture(),
    )
    return dataclasses.replace(config, **changes)
