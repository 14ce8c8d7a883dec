"""Presets: functions that return whole training configs."""

from collections.abc import Callable

from ghostpad.model.decoder import DecoderConfig
from ghostpad.model.encoder import EncoderConfig
from ghostpad.model.latent_action_model import ArchitectureConfig
from ghostpad.model.quantizer import QuantizerConfig
from ghostpad.training.latent_action import TrainConfig
from ghostpad.training.schedule import OptimizerConfig


def spec() -> TrainConfig:
    """The text's model and training (part 2), to the letter."""
    return TrainConfig(preset="spec")


def tiny() -> TrainConfig:
    """For two CPU cores and minutes."""
    return TrainConfig(
        preset="tiny",
        steps=600,
        batch_size=32,
        validate_every=100,
        validation_pairs=256,
        validation_micro_batch=0,
        save_every=200,
        histogram_every=200,
        examples_every=200,
        optimizer=OptimizerConfig(learning_rate=2e-3, final_learning_rate=1e-4),
        model=ArchitectureConfig(
            encoder=EncoderConfig(widths=(32, 48, 64, 96)),
            quantizer=QuantizerConfig(dim=32, warmup_steps=60, reset_every=50),
            decoder=DecoderConfig(frame_widths=(32, 48, 64, 96), widths=(64, 48, 32), skips=True),
            reconstruction="palette",
        ),
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {"tiny": tiny, "spec": spec}
