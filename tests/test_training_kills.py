"""Killing a training at any moment costs time and nothing else; micro-batches add up to their batch."""

import dataclasses
import json
import multiprocessing
import random
import time
from pathlib import Path

import pytest
import torch

from ghostpad.model import QuantizerConfig
from ghostpad.training.config import TrainConfig
from ghostpad.training.latent_action import train
from small_run import small_architecture, small_run


@pytest.fixture
def config(store_path: Path, tmp_path: Path) -> TrainConfig:
    """Sixty quick steps of two micro-batches each, saved as often as the disk can."""
    return small_run(
        store_path,
        tmp_path / "killed",
        steps=60,
        accumulate=2,
        save_every=20,
        save_seconds=0.0,
        validate_every=15,
        examples_every=30,
        resume=True,
        model=small_architecture(
            (4, 8, 8, 8), QuantizerConfig(16, 8, warmup_steps=3, reset_every=5, kind="nsvq")
        ),
    )


def kill_while_training(config: TrainConfig, kills: int, seed: int) -> None:
    """Start, kill after a random while, start again … and let the last try finish."""
    draw = random.Random(seed)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ghostpad.training.latent_action"])
    killed = 0
    while True:
        before = config.out.joinpath("last.pt").stat().st_mtime_ns if killed else 0
        process = processes.Process(target=train, args=(config,))
        process.start()
        if killed == kills:
            process.join()
            assert process.exitcode == 0
            return
        # At least one more checkpoint each time, so that it ends some day.
        while not config.out.joinpath("last.pt").is_file() or (
            config.out.joinpath("last.pt").stat().st_mtime_ns <= before
        ):
            assert process.is_alive(), "the run ended before it could be killed"
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.06))
        process.kill()
        process.join()
        assert process.exitcode in (-9, 0)
        killed += 1


def losses(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timing = ("pairs_per_second", "memory_gb")
    return [{k: v for k, v in line.items() if k not in timing} for line in lines if "loss" in line]


def assert_as_if_never_killed(config: TrainConfig, kills: int) -> None:
    kill_while_training(config, kills, seed=kills)
    whole = dataclasses.replace(config, out=config.out.with_name("whole"), resume=False)
    train(whole)
    for name in ("last.pt", "best.pt", "step_000020.pt", "step_000060.pt"):
        killed, never = (torch.load(c.out / name, weights_only=True) for c in (config, whole))
        assert killed["step"] == never["step"]
        for part in ("model", "rng"):
            one, other = ({"": c[part]} if part == "rng" else c[part] for c in (killed, never))
            assert all(torch.equal(one[k], other[k]) for k in never["model"] if k in one), name
        for index, moments in never["optimizer"]["state"].items():
            assert all(torch.equal(moments[k], killed["optimizer"]["state"][index][k]) for k in moments)
    assert losses(config.out) == losses(whole.out)
    leftovers = [p.name for p in config.out.iterdir() if p.name.startswith(".")]
    assert not leftovers, leftovers


def test_killing_three_times_ends_in_the_same_weights(config: TrainConfig) -> None:
    assert_as_if_never_killed(config, 3)


@pytest.mark.slow
def test_killing_twenty_times_ends_in_the_same_weights(config: TrainConfig) -> None:
    assert_as_if_never_killed(dataclasses.replace(config, steps=300, save_every=20), 20)
