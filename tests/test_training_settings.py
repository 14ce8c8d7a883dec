"""Settings that mean nothing are refused in one line; zero means never where that is natural."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ghostpad.errors import UserError
from ghostpad.training.config import MINIMUM, LoopConfig, OptimizerConfig, check_loop
from ghostpad.training.latent_action import train
from small_run import small_run


def changed(name: str, value: Any) -> LoopConfig:
    """The defaults but for one field, which may lie inside another."""
    outer, _, inner = name.rpartition(".")
    if outer:
        optimizer = dataclasses.replace(OptimizerConfig(), **{inner: value})
        return LoopConfig(optimizer=optimizer)
    return dataclasses.replace(LoopConfig(), **{name: value})


@pytest.mark.parametrize("name", MINIMUM)
def test_a_number_below_its_minimum_is_refused_by_name(name: str) -> None:
    check_loop(changed(name, MINIMUM[name]))
    for value in (MINIMUM[name] - 1, float("nan")):
        with pytest.raises(
            UserError, match=f"--{name.replace('_', '-')} {value}: must be at least"
        ) as caught:
            check_loop(changed(name, value))
        assert "\n" not in str(caught.value)


def test_every_number_has_a_minimum() -> None:
    plain = {field.name for field in dataclasses.fields(LoopConfig) if field.type in (int, float, int | None)}
    assert plain == {name for name in MINIMUM if "." not in name}


def test_batches_that_cannot_be_split_are_refused() -> None:
    config = LoopConfig(batch_size=12, accumulate=2)
    check_loop(config, num_processes=3)
    with pytest.raises(UserError, match="choose a multiple of 10"):
        check_loop(config, num_processes=5)


def test_an_exponential_decay_to_zero_is_refused() -> None:
    with pytest.raises(UserError, match="never reaches zero"):
        check_loop(LoopConfig(optimizer=OptimizerConfig(final_learning_rate=0.0, decay="exponential")))


def test_settings_are_refused_before_data_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--steps 0"):
        train(small_run(tmp_path / "nothing", tmp_path / "run", steps=0))


def test_zero_means_never(store_path: Path, tmp_path: Path) -> None:
    never = dict.fromkeys(("save_every", "validate_every", "histogram_every", "examples_every"), 0)
    run = small_run(store_path, tmp_path / "run", steps=3, validation_micro_batch=0, **never)
    numbers = train(run)
    assert "validation_reconstruction" in numbers, "the end is validated whatever was asked for"
    assert {path.name for path in run.out.iterdir()} == {"best.pt", "last.pt", "metrics.jsonl", "run.json"}
