"""Two processes train as one does: same losses, same codebook, same files, one report."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ghostpad import cli
from ghostpad.frames.store import FrameStore
from ghostpad.training.distributed import exit_with_parent

OPTIONS = {
    "--device": "cpu",
    "--precision": "fp32",
    "--steps": 8,
    "--batch-size": 8,
    "--downsample": 3,
    "--save-every": 4,
    "--validate-every": 4,
    "--validation-pairs": 8,
    "--validation-micro-batch": 2,
    "--tracker": "none",
    "--log-every": 3,
    "--model.encoder.widths": "4 8 8 8",
    "--model.decoder.frame-widths": "4 8 8 8",
    "--model.decoder.widths": "8 8 4",
    "--model.quantizer.codebook-size": 16,
    "--model.quantizer.dim": 8,
    "--model.quantizer.warmup-steps": 2,
    "--model.quantizer.reset-every": 3,
}


def options(data: Path, out: Path, *more: object, **changed: object) -> list[str]:
    words = ["train", "--data", str(data), "--out", str(out), *map(str, more)]
    for name, value in {**OPTIONS, **{f"--{k.replace('_', '-')}": v for k, v in changed.items()}}.items():
        words += [name, *str(value).split()]
    return words


def on_two(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command line on two processes through torchrun."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "ghostpad"]
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *start, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=settings, timeout=300)


def steps(folder: Path) -> list[dict[str, float]]:
    """What was logged of each training step."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def last(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.pt", weights_only=True)["model"]


def assert_alike(one: Path, other: Path) -> None:
    """Losses, weights and codebook use agree within rounding."""
    for mine, theirs in zip(steps(one), steps(other), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine.keys() & {"loss", "reconstruction", "entropy", "codes_reset", "validation_loss"}:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), (mine["step"], name)
    for name, weights in last(one).items():
        assert torch.allclose(weights.float(), last(other)[name].float(), rtol=1e-3, atol=2e-4), name


@pytest.fixture(scope="module")
def data(episodes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes that are not ingested yet."""
    return Path(shutil.copytree(episodes_folder, tmp_path_factory.mktemp("two") / "bulk_videos"))


@pytest.fixture(scope="module")
def together(data: Path) -> tuple[Path, str]:
    """A run of two processes, which also ingest: its folder and what it said."""
    out = data.parent / "together"
    done = on_two(options(data, out))
    assert done.returncode == 0, done.stderr
    return out, done.stdout + done.stderr


def test_two_processes_train_as_one_with_the_same_batch(together: tuple[Path, str], data: Path) -> None:
    out, said = together
    alone = data.parent / "alone"
    assert cli.main(options(data, alone)) == 0
    assert_alike(out, alone)
    assert torch.equal(last(out)["quantizer.use_counts"], last(alone)["quantizer.use_counts"])
    assert any("codes_reset" in row for row in steps(out))
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in alone.iterdir())
    assert FrameStore.open(data.with_name("bulk_videos.store")).episodes
    assert "Traceback" not in said and "Warning" not in said


def test_a_run_resumes_with_another_number_of_processes(together: tuple[Path, str], data: Path) -> None:
    out = data.parent / "changing"
    assert cli.main(options(data, out, stop_after=3)) == 0
    done = on_two(options(data, out, "--resume"))
    assert done.returncode == 0, done.stderr
    assert_alike(out, together[0])


def test_a_mistake_is_reported_once(together: tuple[Path, str], data: Path) -> None:
    done = on_two(options(data, together[0]))
    lines = [line for line in done.stderr.splitlines() if line.startswith("ghostpad:")]
    assert done.returncode != 0 and len(lines) == 1 and "--resume" in lines[0]


def test_a_process_ends_when_the_one_that_started_it_is_killed() -> None:
    listening, speaking = os.pipe()
    starter = os.fork()
    if not starter:
        if not os.fork():
            exit_with_parent()
            os.write(speaking, b"r")
            time.sleep(60)
        time.sleep(60)
        os._exit(0)
    os.close(speaking)
    assert os.read(listening, 1) == b"r"
    os.kill(starter, signal.SIGKILL)
    os.waitpid(starter, 0)
    ended, _, _ = select.select([listening], [], [], 20)
    assert ended and os.read(listening, 1) == b"", "it outlived its parent"
