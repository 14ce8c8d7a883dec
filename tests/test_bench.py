"""`ghostpad bench`: measures what it says, explores without waste, and finds the right limit."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ghostpad import bench as bench_module
from ghostpad import presets
from ghostpad.bench import BenchConfig, bench
from ghostpad.errors import UserError
from ghostpad.training.latent_action import TrainConfig
from ghostpad.training.speed import Speed, measure, measure_apart
from ghostpad.training.verdict import conclusions, fixed_share, limit_of, options_of
from small_run import small_run


@pytest.fixture
def config(store_path: Path, tmp_path: Path) -> TrainConfig:
    return small_run(store_path, tmp_path / "run", compile="no", steps=100)


def test_a_setting_is_measured_and_nothing_is_written(config: TrainConfig) -> None:
    speed = measure(config, seconds=0.3)
    assert (speed.batch_size, speed.precision, speed.compile, speed.failure) == (4, "fp32", "no", "")
    assert 0 < speed.data_seconds < speed.step_seconds and speed.resident_seconds > 0
    assert speed.pairs_per_second == pytest.approx(4 / speed.step_seconds)
    assert speed.busy is not None and 0 < speed.busy <= 1 and 0 <= speed.memory_gb < 4
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
        Speed(batch, "fp32", "no", seconds, seconds, 0.001, 1.0, 0.95),
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
    ("measured", "fixed", "on_gpu", "limit"),
    [
        (speed(32, 0.1, resident_seconds=0.05), 0.0, True, "data"),
        (speed(32, 0.1, busy=0.4), 0.1, True, "launches"),
        (speed(32, 0.1, busy=0.4), 0.1, False, "arithmetic"),
        (speed(32, 0.1), 0.6, False, "launches"),
        (speed(32, 0.1, busy=None), None, True, "arithmetic"),
        (speed(32, 0.1), 0.1, True, "arithmetic"),
    ],
)
def test_what_the_limit_is(measured: Speed, fixed: float | None, on_gpu: bool, limit: str) -> None:
    assert limit_of(measured, fixed, on_gpu) == limit


def test_conclusions_name_the_options_to_change() -> None:
    own, best = speed(32, 0.2), speed(64, 0.3, precision="bf16", compile="graphs")
    assert options_of(best) == "--batch-size 64 --precision bf16 --compile graphs"
    lines = conclusions(best, own, [own, best], 100_000, on_gpu=True)
    assert options_of(best) in lines[0] and "213 pairs" in lines[0]
    assert "100000 steps take about 5.6 hours" in lines[1]
    waiting = conclusions(best, dataclasses.replace(own, resident_seconds=0.1), [own], 10, on_gpu=True)
    assert "limit is data: 50 %" in waiting[2] and "--frames-budget-gb" in waiting[2]
    crowded = conclusions(own, dataclasses.replace(own, busy=0.2), [own], 10, on_gpu=False)
    assert "idle machine" in crowded[-1]


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
            *[0.05 + per_pair * train.batch_size] * 2, 0.001, 1.5, 0.9,
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
    told = json.loads((out / "bench.json").read_text())
    assert len(told["settings"]) == 6 and told["settings"][-1]["step_seconds"] is None
    assert (out / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_frames_are_made_up_when_there_are_none(
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


def test_out_of_memory_is_said_in_three_words(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from ghostpad.training import speed as speed_module

    sent = []

    def full(*_: object) -> Speed:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB …")

    monkeypatch.setattr(speed_module, "measure", full)
    speed_module._measure_into(type("Pipe", (), {"send": sent.append}), config, 0.1)  # type: ignore[arg-type]
    assert sent == ["out of memory"]
