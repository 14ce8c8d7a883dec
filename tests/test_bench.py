"""`ghostpad bench`: measures steps and memory, tries no setting twice, and names the limit."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ghostpad import bench as bench_module
from ghostpad import presets
from ghostpad.bench import BenchConfig, bench, conclusions, fixed_share, options_of
from ghostpad.errors import UserError
from ghostpad.training import speed as speed_module
from ghostpad.training.config import TrainConfig
from ghostpad.training.speed import Speed, measure, measure_apart
from small_run import small_run


@pytest.fixture
def config(store_path: Path, tmp_path: Path) -> TrainConfig:
    return small_run(store_path, tmp_path / "run", compile="no", steps=100)


def test_a_setting_is_measured_and_nothing_is_written(config: TrainConfig) -> None:
    speed = measure(config, seconds=0.3)
    assert (speed.batch_size, speed.precision, speed.compile, speed.failure) == (4, "fp32", "no", "")
    assert speed.step_seconds > 0 and speed.resident_seconds > 0 and 0 <= speed.data_share < 1
    assert speed.pairs_per_second == pytest.approx(4 / speed.step_seconds)
    assert 0 <= speed.memory_gb < 4
    assert not config.out.exists()


def test_memory_grows_with_the_batch_in_a_process_of_its_own(config: TrainConfig) -> None:
    config = dataclasses.replace(config, downsample=1)
    small, large = (
        measure_apart(dataclasses.replace(config, batch_size=size), seconds=0.05) for size in (2, 48)
    )
    assert not small.failure and not large.failure
    assert large.memory_gb > small.memory_gb + 0.05


def test_a_setting_that_fails_is_a_result(config: TrainConfig) -> None:
    failed = measure_apart(dataclasses.replace(config, compile="graphs"), seconds=0.1)
    assert "needs one GPU" in failed.failure and failed.batch_size == 4


def speed(batch: int, seconds: float, **more: object) -> Speed:
    return dataclasses.replace(
        Speed(batch, "fp32", "no", seconds, seconds, 1.0),
        **more,  # type: ignore[arg-type]
    )


def test_the_share_that_does_not_grow_with_the_batch() -> None:
    # 30 ms fixed and 2 ms a pair.
    speeds = [speed(batch, 0.03 + 0.002 * batch) for batch in (8, 16, 32)]
    assert fixed_share(speeds, speeds[0]) == pytest.approx(0.03 / 0.046)
    assert fixed_share(speeds, speeds[2]) == pytest.approx(0.03 / 0.094)
    assert fixed_share(speeds[:1], speeds[0]) is None
    others = [speed(64, 9.0, precision="bf16"), speed(64, 9.0, failure="out of memory")]
    assert fixed_share([*speeds, *others], speeds[0]) == pytest.approx(0.03 / 0.046)


@pytest.mark.parametrize(
    ("resident_seconds", "half_batch_seconds", "limit"),
    [(0.05, 0.05, "data: 50 %"), (0.1, 0.08, "launches"), (0.1, 0.05, "arithmetic")],
)
def test_the_limit_of_a_step(resident_seconds: float, half_batch_seconds: float, limit: str) -> None:
    speeds = [speed(32, 0.1, resident_seconds=resident_seconds), speed(16, half_batch_seconds)]
    assert f"The limit is {limit}" in conclusions(speeds, 32, 10)[2]


def test_conclusions_name_the_options_to_change() -> None:
    own, best = speed(32, 0.2), speed(64, 0.3, precision="bf16", compile="graphs")
    failed = speed(128, 0.1, failure="out of memory")
    assert options_of(best) == "--batch-size 64 --precision bf16 --compile graphs"
    lines = conclusions([own, best, failed], 32, 100_000)
    assert options_of(best) in lines[0] and "213 pairs" in lines[0]
    assert options_of(own) in lines[1] and "100000 steps take about 5.6 hours" in lines[1]
    waiting = conclusions([dataclasses.replace(own, resident_seconds=0.1), best], 32, 10)
    assert "limit is data: 50 %" in waiting[2] and "--frames-budget-gb" in waiting[2]


def test_bench_explores_prints_and_draws(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def pretend(train: TrainConfig, seconds: float) -> Speed:
        tried.append((train.batch_size, train.precision, train.compile))
        assert train.accumulate == 1 and train.tracker == "none" and seconds == 0.5
        if train.batch_size > 16:
            return Speed(train.batch_size, train.precision, train.compile, failure="out of memory")
        per_pair = 0.01 if train.precision == "bf16" else 0.02
        return Speed(
            train.batch_size, train.precision, train.compile,
            *[0.05 + per_pair * train.batch_size] * 2, 1.5,
        )  # fmt: skip

    monkeypatch.setattr(bench_module, "measure_apart", pretend)
    monkeypatch.setitem(presets.PRESETS, "small", lambda: config)
    out = tmp_path / "bench"
    bench(BenchConfig("small", config.data, out, precisions=("fp32", "bf16"), seconds=0.5, device="cpu"))
    sizes = [(2, "bf16", "no"), (8, "bf16", "no"), (16, "bf16", "no"), (32, "bf16", "no")]
    assert tried == [(4, "fp32", "no"), (4, "bf16", "no"), *sizes]
    shown = capsys.readouterr().out
    assert "out of memory" in shown and "Fastest: --batch-size 16 --precision bf16: 76.2 pairs" in shown
    assert "limit is launches" in shown and "--batch-size 16" in shown
    saved = json.loads((out / "bench.json").read_text())
    assert len(saved["settings"]) == 6 and saved["settings"][-1]["step_seconds"] is None
    assert (out / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_synthetic_frames_are_used_without_data(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "measure_apart", measure)
    monkeypatch.setitem(presets.PRESETS, "small", lambda: config)
    speeds = bench(
        BenchConfig(
            "small", None, tmp_path / "bench", (2, 4), ("fp32",), seconds=0.05, device="cpu", workers=1
        )
    )
    assert [speed.batch_size for speed in speeds] == [2, 4] and not any(speed.failure for speed in speeds)
    with pytest.raises(UserError, match="no such preset"):
        bench(BenchConfig("none"))


def fill_memory(*_: object) -> Speed:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB …")


def be_killed(*_: object) -> Speed:
    os._exit(9)


@pytest.mark.parametrize(
    ("work", "failure"),
    [(fill_memory, "out of memory"), (be_killed, "killed, most likely out of memory")],
)
def test_running_out_of_memory_is_a_result(
    work: Callable[..., Speed], failure: str, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed_module, "measure", work)
    assert measure_apart(config, 0.1).failure == failure
