"""Presets of the verb `train`: each is a function that returns a whole training config."""

import dataclasses
from collections.abc import Callable

from ghostpad.errors import UserError
from ghostpad.model.config import ArchitectureConfig, DecoderConfig, EncoderConfig, QuantizerConfig
from ghostpad.training.config import OptimizerConfig, TrainConfig, WindowConfig


def spec() -> TrainConfig:
    """Model and training of the reference specification (docs/spec.md)."""
    return TrainConfig(preset="spec")


def tiny() -> TrainConfig:
    """The design of sharp, small: trains in minutes on two CPU cores."""
    return TrainConfig(
        preset="tiny",
        steps=1_200,
        batch_size=16,
        validate_every=200,
        validation_pairs=256,
        validation_micro_batch=0,
        save_every=400,
        histogram_every=400,
        examples_every=400,
        optimizer=OptimizerConfig(learning_rate=2e-3, final_learning_rate=1e-4),
        model=ArchitectureConfig(
            encoder=EncoderConfig(widths=(32, 48, 64, 96)),
            quantizer=QuantizerConfig(dim=32, reset_every=50),
            decoder=DecoderConfig(frame_widths=(32, 48, 64, 96), widths=(64, 48, 32), skips=True),
            reconstruction="palette",
            least_grid=7,
            mse_weight=20,
            residual=True,
        ),
    )


def sharp() -> TrainConfig:
    """A finer grid, cross-entropy over the palette, skips from the current frame, windows."""
    return TrainConfig(
        preset="sharp",
        grayscale=False,
        validation_pairs=1_024,
        windows=WindowConfig(112, 96),
        optimizer=OptimizerConfig(learning_rate=2e-3, final_learning_rate=5e-5),
        model=ArchitectureConfig(
            encoder=EncoderConfig(widths=(32, 64, 96, 128)),
            quantizer=QuantizerConfig(dim=32, reset_every=200),
            decoder=DecoderConfig(frame_widths=(32, 64, 96, 128), widths=(96, 64, 32), skips=True),
            reconstruction="palette",
            least_grid=7,
            mse_weight=20,
            residual=True,
        ),
    )


def action() -> TrainConfig:
    """One of 16 codes for a transition, with three frames of history: a code as small as an action."""
    small = tiny()
    # Latents pass unquantized until the decoder depends on them: quantized sooner, they are ignored. Of 3, 4
    # and 8 dimensions, 3 gained most on two synthetic games (docs/experiments.md).
    quantizer = QuantizerConfig(codebook_size=16, dim=3, warmup_steps=400, reset_every=50)
    encoder = dataclasses.replace(small.model.encoder, tokens=(1, 1))
    model = dataclasses.replace(small.model, encoder=encoder, quantizer=quantizer, motion="auto")
    return dataclasses.replace(small, preset="action", history=3, batch_size=32, model=model)


def lapa() -> TrainConfig:
    """LAPA's bottleneck in spec's model: 4 tokens of 8 codes, NSVQ."""
    # https://arxiv.org/abs/2410.11758: codes of 32 dimensions, learned by the reconstruction alone.
    codes = QuantizerConfig(8, 32, commitment_weight=0, codebook_weight=0, entropy_weight=0, kind="nsvq")
    return _family("lapa", (2, 2), codes)


def genie() -> TrainConfig:
    """Genie's bottleneck in spec's model: one token of 8 codes, VQ."""
    # https://arxiv.org/abs/2402.15391: codes of 32 dimensions.
    return _family("genie", (1, 1), QuantizerConfig(8, 32, entropy_weight=0))


def lapo() -> TrainConfig:
    """LAPO's bottleneck in spec's model: 4 tokens, each a pair of 64 codes, VQ-EMA."""
    # https://arxiv.org/abs/2312.10812: 2 codebooks of 64 codes × 16 dimensions, decay 0.999
    codes = QuantizerConfig(
        64, 32, commitment_weight=0.05, entropy_weight=0, kind="vq_ema", num_codebooks=2, decay=0.999
    )
    return _family("lapo", (2, 2), codes)


def _family(name: str, tokens: tuple[int, int], codes: QuantizerConfig) -> TrainConfig:
    model = ArchitectureConfig(encoder=EncoderConfig(tokens=tokens), quantizer=codes)
    return TrainConfig(preset=name, model=model)


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "tiny": tiny,
    "spec": spec,
    "sharp": sharp,
    "action": action,
    "lapa": lapa,
    "genie": genie,
    "lapo": lapo,
}


def preset(name: str) -> TrainConfig:
    """The config of a preset.

    Raises:
        UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"--preset {name}: there is no such preset; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()


def train(config: TrainConfig) -> dict[str, float]:
    """The verb `train`: training, with `evaluation`'s metrics at each validation.

    Training is a layer below evaluation and cannot import it; here the two meet.
    """
    from ghostpad.evaluation.validation import validation_metrics
    from ghostpad.training import latent_action

    return latent_action.train(config, checks=validation_metrics)
