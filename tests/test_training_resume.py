"""Training: resumes bit for bit, refuses other settings, and leaves whole files behind."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.renamed import former_config
from ghostpad.training.config import OptimizerConfig, TrainConfig
from ghostpad.training.latent_action import train
from ghostpad.training.schedule import Sampler, learning_rate
from small_run import small_architecture, small_run


@pytest.fixture
def config(store_path: Path, tmp_path: Path) -> TrainConfig:
    """Ten steps of a very small model on real Breakout; codes start at step 2 and are moved every 3 steps."""
    return small_run(
        store_path,
        tmp_path / "run",
        steps=10,
        downsample=1,
        save_every=4,
        validate_every=5,
        validation_pairs=8,
        log_every=3,
        histogram_every=5,
        examples_every=5,
        model=small_architecture((4, 8, 8, 8), skips=True, reconstruction="palette"),
    )


def weights(folder: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=True)["model"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def loss_lines(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("pairs_per_second", "memory_gb")} for row in rows]


@pytest.mark.parametrize("cut", [1, 2, 5, 9])
def test_a_run_cut_in_two_equals_a_run_in_one_piece(config: TrainConfig, tmp_path: Path, cut: int) -> None:
    config = dataclasses.replace(config, accumulate=2)
    train(config)
    parts = dataclasses.replace(config, out=tmp_path / "parts")
    train(dataclasses.replace(parts, stop_after=cut))
    train(dataclasses.replace(parts, resume=True))
    whole, resumed = (torch.load(c.out / "last.pt", weights_only=True) for c in (config, parts))
    assert same(whole["model"], resumed["model"])
    for index, moments in whole["optimizer"]["state"].items():
        assert all(torch.equal(moments[k], resumed["optimizer"]["state"][index][k]) for k in moments)
    assert whole["best"] == resumed["best"] and same(
        weights(config.out, "best.pt"), weights(parts.out, "best.pt")
    )
    assert [r for r in loss_lines(config.out) if "loss" in r] == [
        r for r in loss_lines(parts.out) if "loss" in r
    ]


def test_two_runs_are_the_same_and_another_seed_is_not(config: TrainConfig, tmp_path: Path) -> None:
    runs = [
        dataclasses.replace(config, out=tmp_path / name, seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    for run in runs:
        train(run)
    assert same(weights(runs[0].out), weights(runs[1].out))
    assert not same(weights(runs[0].out), weights(runs[2].out))


def test_a_run_leaves_checkpoints_metrics_and_examples(config: TrainConfig) -> None:
    train(config)
    assert sorted(path.name for path in config.out.iterdir()) == [
        *("best.pt", "examples", "last.pt", "metrics.jsonl", "run.json", "step_000004.pt", "step_000008.pt"),
    ]
    model = LatentActionModel.from_pretrained(config.out)
    assert not model.training and model.grid == (14, 10)
    rows = loss_lines(config.out)
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == list(range(1, 11)) and all(
        math.isfinite(row["validation_loss"]) for row in rows if "loss" in row
    )
    assert [row["step"] for row in rows if "validation_reconstruction" in row] == [5, 10]
    assert any("code_counts" in row for row in rows)


def test_best_is_the_step_with_the_least_validation_loss(config: TrainConfig) -> None:
    train(dataclasses.replace(config, steps=20))
    rows = [row for row in loss_lines(config.out) if "validation_reconstruction" in row]
    least = min(rows, key=lambda row: row["validation_reconstruction"])
    best = torch.load(config.out / "best.pt", weights_only=True)
    assert best["step"] == least["step"]
    assert best["best"] == pytest.approx(least["validation_reconstruction"], rel=1e-6)


def test_a_run_is_overwritten_only_on_request(config: TrainConfig) -> None:
    train(dataclasses.replace(config, stop_after=2))
    before = (config.out / "last.pt").read_bytes()
    with pytest.raises(UserError, match=r"--resume.*--overwrite"):
        train(config)
    assert (config.out / "last.pt").read_bytes() == before
    (config.out / "mine.txt").write_text("keep me")
    train(dataclasses.replace(config, stop_after=3, overwrite=True))
    assert torch.load(config.out / "last.pt", weights_only=True)["step"] == 3
    assert (config.out / "mine.txt").read_text() == "keep me"


def test_resuming_another_config_names_the_field(config: TrainConfig) -> None:
    train(dataclasses.replace(config, stop_after=2))
    other = dataclasses.replace(config, resume=True, optimizer=OptimizerConfig(learning_rate=0.5))
    with pytest.raises(UserError, match=r"--optimizer\.learning-rate 0\.0003, not 0\.5"):
        train(other)


def test_resume_starts_afresh_when_there_is_nothing(config: TrainConfig) -> None:
    train(dataclasses.replace(config, resume=True, stop_after=2))
    assert (config.out / "last.pt").is_file() and (config.out / "best.pt").is_file()


@pytest.mark.parametrize("damage", ["cut", "rubbish", "pickle"])
def test_a_damaged_checkpoint_is_one_clear_line(config: TrainConfig, damage: str) -> None:
    train(dataclasses.replace(config, stop_after=1))
    last = config.out / "last.pt"
    if damage == "cut":
        last.write_bytes(last.read_bytes()[:1000])
    elif damage == "rubbish":
        last.write_bytes(b"not a checkpoint")
    else:
        torch.save({"format": 1, "kind": Path("a class that must not be loaded")}, last)
    with pytest.raises(UserError, match=r"last\.pt") as caught:
        train(dataclasses.replace(config, resume=True))
    assert "\n" not in str(caught.value)


def test_a_run_under_former_names_is_resumed_and_its_model_keeps_its_hash(config: TrainConfig) -> None:
    train(dataclasses.replace(config, stop_after=2))
    last = config.out / "last.pt"
    content = torch.load(last, weights_only=True)
    model_hash = LatentActionModel.from_pretrained(last).model_hash
    for architecture in (content["config"]["model"], content["model_config"]["architecture"]):
        architecture |= former_config({"residual_logit_bias": architecture.pop("residual_logit_bias")})
    torch.save(content, last)
    assert LatentActionModel.from_pretrained(last).model_hash == model_hash
    train(dataclasses.replace(config, resume=True))


def test_a_checkpoint_of_another_format_names_the_version(config: TrainConfig) -> None:
    train(dataclasses.replace(config, stop_after=1))
    content = torch.load(config.out / "last.pt", weights_only=True)
    torch.save({**content, "format": 99}, config.out / "last.pt")
    with pytest.raises(UserError, match=r"format 99.*version 0\."):
        train(dataclasses.replace(config, resume=True))


def test_gradient_checkpointing_changes_memory_and_not_numbers(config: TrainConfig, tmp_path: Path) -> None:
    train(config)
    other = dataclasses.replace(config, out=tmp_path / "checkpointed", checkpointing=True)
    train(other)
    one, two = weights(config.out), weights(other.out)
    assert all(torch.allclose(one[k].float(), two[k].float(), atol=1e-5) for k in one)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_to_nearly_the_same_loss(
    config: TrainConfig, tmp_path: Path, precision: str
) -> None:
    train(config)
    other = dataclasses.replace(config, out=tmp_path / precision, precision=precision)  # type: ignore[arg-type]
    train(other)
    full, mixed = (
        [row["reconstruction"] for row in loss_lines(c.out) if "loss" in row] for c in (config, other)
    )
    assert mixed == pytest.approx(full, rel=0.25) and mixed != full
    assert all(t.dtype == torch.float32 for t in weights(other.out).values() if t.is_floating_point())


def test_an_interrupted_run_saves_its_last_step(config: TrainConfig) -> None:
    code = (
        "import sys, pickle; from ghostpad.training.latent_action import train\n"
        "try: train(pickle.load(sys.stdin.buffer))\nexcept KeyboardInterrupt: sys.exit(130)"
    )
    import pickle

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    long = dataclasses.replace(config, steps=100_000, log_every=1)
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=environment)
    assert child.stdin is not None
    child.stdin.write(pickle.dumps(long))
    child.stdin.close()
    metrics = config.out / "metrics.jsonl"
    while child.poll() is None and not (metrics.is_file() and metrics.read_text().count('"loss"') > 6):
        pass
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 130
    reached = torch.load(config.out / "last.pt", weights_only=True)["step"]
    assert reached >= 6 and max(row["step"] for row in loss_lines(config.out)) == reached


def test_a_batch_that_cannot_be_split_is_refused(config: TrainConfig) -> None:
    with pytest.raises(UserError, match="multiple of 3"):
        train(dataclasses.replace(config, accumulate=3))
    assert not config.out.exists()


def test_learning_rate_goes_from_first_to_last() -> None:
    for decay in ("cosine", "linear", "exponential"):
        config = OptimizerConfig(decay=decay)
        rates = [learning_rate(config, step, 100) for step in range(100)]
        assert rates[0] == pytest.approx(3e-4) and rates[-1] == pytest.approx(1e-4)
        assert rates == sorted(rates, reverse=True)


def test_the_sampler_shows_every_row_once_an_epoch() -> None:
    sampler = Sampler(10, 4, seed=1)
    rows = [int(row) for step in range(5) for row in sampler.rows(step)]
    assert sorted(rows[:10]) == list(range(10)) == sorted(rows[10:])
    assert rows[:10] != rows[10:]
    assert list(Sampler(10, 4, seed=1).rows(3)) == rows[12:16]


def test_a_run_starts_from_the_weights_of_another(config: TrainConfig, tmp_path: Path) -> None:
    train(config)
    quantizer = dataclasses.replace(config.model.quantizer, entropy_weight=0.0)
    model = dataclasses.replace(config.model, quantizer=quantizer)
    still = OptimizerConfig(learning_rate=0.0, final_learning_rate=0.0)
    again = dataclasses.replace(
        config,
        out=tmp_path / "again",
        start_from=str(config.out),
        seed=5,
        model=model,
        optimizer=still,
        steps=1,
    )
    train(again)
    before, after = weights(config.out, "best.pt"), weights(again.out)
    learned = [name for name in before if name.endswith((".weight", "vectors"))]
    assert learned and all(torch.equal(before[name], after[name]) for name in learned)
    assert after["quantizer.started"]


def test_starting_from_another_architecture_names_the_difference(config: TrainConfig, tmp_path: Path) -> None:
    train(dataclasses.replace(config, steps=1))
    other = dataclasses.replace(config, out=tmp_path / "other", start_from=str(config.out), grayscale=False)
    with pytest.raises(UserError, match="grayscale is True, not False"):
        train(other)


def test_a_checkpoint_of_the_first_version_resumes_exactly(config: TrainConfig, tmp_path: Path) -> None:
    """Its optimizer has no initial learning rate, and holds the rate of the last step, not of the next."""
    train(config)
    parts = dataclasses.replace(config, out=tmp_path / "parts")
    train(dataclasses.replace(parts, stop_after=5))
    content = torch.load(parts.out / "last.pt", weights_only=True)
    for group in content["optimizer"]["param_groups"]:
        del group["initial_lr"]
        group["lr"] = learning_rate(config.optimizer, 4, config.steps)
    torch.save(content, parts.out / "last.pt")
    train(dataclasses.replace(parts, resume=True))
    assert same(weights(config.out), weights(parts.out))
