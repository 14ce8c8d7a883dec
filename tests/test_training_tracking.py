"""What a run records: metrics of every step, histograms, pictures, its settings; to wandb too, offline."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.progress import format_duration
from ghostpad.training.config import TrainConfig
from ghostpad.training.latent_action import train
from ghostpad.training.tracking import Throughput, Tracker
from small_run import small_run


@pytest.fixture
def config(store_path: Path, tmp_path: Path) -> TrainConfig:
    return small_run(store_path, tmp_path / "run")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_losses_are_logged_at_every_step_and_the_rest_at_its_period(config: TrainConfig) -> None:
    def checks(_model: object, frames: np.ndarray, next_frames: np.ndarray) -> dict[str, float]:
        assert frames.shape == next_frames.shape and frames.dtype == np.uint8
        return {"psnr_db": 30.0, "ssim": 0.9}

    train(config, checks)
    logged = lines(config.out)
    steps = [line for line in logged if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 9))
    assert all(line["validation_loss"] > 0 and line["learning_rate"] > 0 for line in steps)
    assert all(line["entropy"] >= 0 and line["commitment"] > 0 for line in steps[3:])
    paced = [line["step"] for line in steps if "pairs_per_second" in line]
    assert paced == [4, 8] and all(line["memory_gb"] > 0 for line in steps if line["step"] in paced)
    assert [line["step"] for line in logged if "code_counts" in line] == [4, 8]
    checked = [line for line in logged if "validation_reconstruction" in line]
    assert [(line["step"], line["validation_psnr_db"], line["validation_ssim"]) for line in checked] == [
        (4, 30.0, 0.9),
        (8, 30.0, 0.9),
    ]
    assert next(line["codes_reset"] for line in steps if "codes_reset" in line) == 16
    pictures = sorted(path.name for path in (config.out / "examples").iterdir())
    assert pictures == ["reconstructions_000004.png", "reconstructions_000008.png"]


def test_a_run_describes_itself(config: TrainConfig) -> None:
    train(dataclasses.replace(config, stop_after=1))
    about = json.loads((config.out / "run.json").read_text())
    assert about["config"]["optimizer"]["learning_rate"] == 3e-4
    assert about["model_config"]["architecture"]["encoder"]["widths"] == [4, 8, 8]
    assert any("Conv2d" in line for line in about["architecture"])
    sizes = about["num_parameters"]
    assert sizes["all"] == sum(sizes[part] for part in ("encoder", "quantizer", "decoder"))
    assert sizes["quantizer"] == 16 * 8 and about["device"] == "cpu" and about["precision"] == "fp32"


def test_wandb_offline_gets_everything_and_resumes_the_same_run(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for kind in ("CACHE", "CONFIG", "DATA", "ARTIFACT"):
        monkeypatch.setenv(f"WANDB_{kind}_DIR", str(tmp_path / "wandb_home"))
    config = dataclasses.replace(config, tracker="wandb")
    train(dataclasses.replace(config, stop_after=4))
    identity = (config.out / "wandb" / "run_id.txt").read_text().strip()
    train(dataclasses.replace(config, resume=True))
    runs = sorted((config.out / "wandb").glob("offline-run-*"))
    assert len(runs) == 2 and all(run.name.endswith(f"-{identity}") for run in runs)
    written = [next(run.glob("*.wandb")).read_bytes() for run in runs]
    for name in (
        *(
            "loss",
            "reconstruction",
            "commitment",
            "entropy",
            "validation_loss",
            "learning_rate",
            "codes_reset",
        ),
        *("validation_reconstruction", "pairs_per_second", "memory_gb", "code_counts", "reconstructions"),
        *("num_parameters", "architecture", "Conv2d", "beta2"),
    ):
        assert name.encode() in b"".join(written), name
    assert all(next(run.glob("files/media/images/*.png")).stat().st_size for run in runs)
    train(dataclasses.replace(config, overwrite=True, stop_after=1))
    assert (config.out / "wandb" / "run_id.txt").read_text().strip() != identity


def test_values_stay_on_the_device_until_they_are_fetched_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: fetched.append(len(self)) or tolist(self))
    for name in ("item", "__float__", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_: pytest.fail("a value was fetched by itself"))
    tracker = Tracker(tmp_path, "none", {}, 0, "test")
    for step in range(1, 4):
        tracker.log(step, {"loss": torch.tensor(step / 2), "rate": 0.5, "bits": torch.tensor(step)})
    assert not fetched and not lines(tmp_path)
    rows = tracker.flush()
    assert fetched == [6] and tracker.flush() == []
    assert rows == [(step, {"loss": step / 2, "rate": 0.5, "bits": float(step)}) for step in range(1, 4)]
    assert lines(tmp_path) == [{"step": step, **values} for step, values in rows]
    tracker.close()


def test_later_lines_and_half_written_ones_of_a_killed_run_are_dropped(tmp_path: Path) -> None:
    whole = [{"step": step, "loss": 1.0} for step in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, whole)) + '\n{"step": 3, "lo')
    Tracker(tmp_path, "none", {}, 3, "test").close()
    assert lines(tmp_path) == whole[:3]


@pytest.mark.parametrize("num_codes", [16, 512, 4096])
def test_histograms_fit_into_wandb(tmp_path: Path, num_codes: int) -> None:
    class Recorder:
        def log(self, values: dict, step: int) -> None:
            self.histogram = values["code_counts"]

        def finish(self) -> None: ...

    tracker = Tracker(tmp_path, "none", {}, 0, "test")
    tracker._wandb = Recorder()
    counts = np.arange(num_codes)
    tracker.histogram(1, "code_counts", counts)
    shown = tracker._wandb.histogram
    assert sum(shown.histogram) == counts.sum() and len(shown.histogram) <= 512
    assert (shown.bins[0], shown.bins[-1]) == (0, num_codes)
    tracker.close()
    assert lines(tmp_path)[0]["code_counts"] == counts.tolist()


def test_throughput_leaves_out_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    throughput = Throughput(32, 7, torch.device("cpu"))
    now[0] += 10
    with throughput.paused():
        now[0] += 1000
    assert throughput.metrics(17)["pairs_per_second"] == 32
    now[0] += 5
    assert throughput.metrics(18)["pairs_per_second"] == pytest.approx(6.4)


def test_a_long_run_is_announced_at_its_fifth_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    throughput = Throughput(32, 0, torch.device("cpu"))
    logged = []
    for step in range(1, 9):
        now[0] += 500 if step == 1 else 2  # the first step compiles
        logged.append(throughput.estimate(step, 100_005))
    assert logged[4] == "About 55.6 hours for the 100000 steps left on this CPU."
    assert logged[:4] == [None] * 4 and logged[5:] == [None] * 3
    assert format_duration(2400) == "40 minutes" and format_duration(86400 * 4.2) == "4 days"
