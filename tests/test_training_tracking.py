"""What a run records of every step, in its folder, in wandb and in TensorBoard."""

import dataclasses
import io
import json
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ghostpad.progress import format_duration
from ghostpad.training.config import TrainConfig
from ghostpad.training.latent_action import train
from ghostpad.training.throughput import Throughput
from ghostpad.training.tracking import Tracker
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


def offline_records(path: Path) -> list[Any]:
    """Records of a file that wandb writes offline: protocol buffers in a LevelDB log."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, records, whole = path.read_bytes(), 7, [], b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:  # the end of a block is too short for a header
            place += 32768 - place % 32768
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(Record.FromString(whole))
            whole = b""
    return records


CHARTS = {
    **dict.fromkeys(("loss", "reconstruction", "commitment", "entropy", "validation_loss"), "losses"),
    **dict.fromkeys(("validation_psnr_db", "validation_ssim"), "quality"),
    **dict.fromkeys(("codes_reset", "code_counts", "validation_usage"), "codebook"),
    **{"reconstructions": "examples", "learning_rate": "optimizer"},
    **dict.fromkeys(("pairs_per_second", "memory_gb"), "speed"),
}
"""What the reference specification asks for (docs/spec.md), and in which section it is shown."""


def checks(*_: object) -> dict[str, float]:
    return {"psnr_db": 30.0, "ssim": 0.9, "usage": 0.5}


def test_wandb_offline_shows_every_panel_of_the_specification_and_resumes_the_same_run(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("ghostpad.training.tracking.WANDB_TIMEOUT_S", 200)  # files are whole, however slow
    for kind in ("CACHE", "CONFIG", "DATA", "ARTIFACT"):
        monkeypatch.setenv(f"WANDB_{kind}_DIR", str(tmp_path / "wandb_home"))
    config = dataclasses.replace(config, tracker="wandb")
    train(dataclasses.replace(config, stop_after=4), checks)
    identity = (config.out / "wandb" / "run_id.txt").read_text().strip()
    train(dataclasses.replace(config, resume=True), checks)
    runs = sorted((config.out / "wandb").glob("offline-run-*"))
    assert len(runs) == 2 and all(run.name.endswith(f"-{identity}") for run in runs)
    assert all(next(run.glob("files/media/images/examples/*.png")).stat().st_size for run in runs)
    records = [record for run in runs for record in offline_records(next(run.glob("*.wandb")))]
    assert {record.run.run_id for record in records if record.HasField("run")} == {identity}
    charts: dict[str, dict[int, Any]] = {}
    for row in (record.history.item for record in records if record.HasField("history")):
        values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row}
        for name, value in values.items():
            charts.setdefault(name, {})[values["_step"]] = value
    shown = {"/".join(name.split("/")[:2]) for name in charts}
    assert {f"{section}/{name}" for name, section in CHARTS.items()} <= shown
    assert list(charts["losses/loss"]) == list(charts["losses/validation_loss"]) == list(range(1, 9))
    assert charts["quality/validation_psnr_db"] == {4: 30.0, 8: 30.0}
    assert charts["codebook/code_counts/_type"] == dict.fromkeys((4, 8), "histogram")
    assert charts["examples/reconstructions/_type"] == dict.fromkeys((4, 8), "image-file")
    settings = b"".join(record.SerializeToString() for record in records if record.HasField("run"))
    assert all(name in settings for name in (b"num_parameters", b"Conv2d", b"beta2"))
    train(dataclasses.replace(config, overwrite=True, stop_after=1))
    assert (config.out / "wandb" / "run_id.txt").read_text().strip() != identity


def test_tensorboard_shows_the_same_panels_and_drops_what_a_killed_run_wrote_too_much(
    config: TrainConfig,
) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def events() -> Any:
        everything = dict.fromkeys(("scalars", "images", "histograms", "tensors"), 0)
        return event_accumulator.EventAccumulator(str(config.out / "tensorboard"), everything).Reload()

    config = dataclasses.replace(config, tracker="tensorboard")
    train(dataclasses.replace(config, stop_after=4), checks)
    killed = Tracker(config.out, "tensorboard", {}, 4, "test")
    killed.log(6, {"loss": -1.0})
    killed.close()
    train(dataclasses.replace(config, resume=True), checks)
    read = events()
    tags = read.Tags()
    shown = {*tags["scalars"], *tags["images"], *tags["histograms"]}
    assert {f"{section}/{name}" for name, section in CHARTS.items()} <= shown
    by_step = {row.step: row.value for row in read.Scalars("losses/loss")}
    logged = {line["step"]: line["loss"] for line in lines(config.out) if "loss" in line}
    assert by_step == pytest.approx(logged) and list(by_step) == list(range(1, 9))
    assert [(row.step, row.value) for row in read.Scalars("quality/validation_psnr_db")] == [(4, 30), (8, 30)]
    counts = next(line["code_counts"] for line in lines(config.out) if "code_counts" in line)
    event = read.Histograms("codebook/code_counts")[0]
    histogram = event.histogram_value
    assert event.step == 4 and histogram.bucket == counts and histogram.num == sum(counts)
    assert histogram.sum == sum(code * count for code, count in enumerate(counts))
    picture = Image.open(io.BytesIO(read.Images("examples/reconstructions")[-1].encoded_image_string))
    assert np.array_equal(picture, Image.open(config.out / "examples" / "reconstructions_000008.png"))
    texts = {tag: read.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]}
    assert "Conv2d" in texts["run/architecture/text_summary"] and "beta2" in texts["run/config/text_summary"]
    train(dataclasses.replace(config, overwrite=True, stop_after=1))
    assert [row.step for row in events().Scalars("losses/loss")] == [1]


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
def test_histograms_fit_into_wandb(tmp_path: Path, num_codes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}
    run = SimpleNamespace(id="one", finish=dict, log=lambda values, step: logged.update(values))
    monkeypatch.setattr("wandb.init", lambda **_: run)
    tracker = Tracker(tmp_path, "wandb", {}, 0, "test")
    counts = np.arange(num_codes)
    tracker.histogram(1, "code_counts", counts)
    shown = logged["codebook/code_counts"]
    assert sum(shown.histogram) == counts.sum() and len(shown.histogram) <= 512
    assert (shown.bins[0], shown.bins[-1]) == (0, num_codes)
    tracker.close()
    assert lines(tmp_path)[0]["code_counts"] == counts.tolist()


def test_a_missing_tensorboard_is_a_warning_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.warns(UserWarning, match=r'tensorboard fails \(.*pip install "ghostpad\[tensorboard\]"'):
        Tracker(tmp_path, "tensorboard", {}, 0, "test").close()


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
