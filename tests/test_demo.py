"""The demo, made very small: every stage, a second run, and the same numbers for the same seed."""

import json
import shutil

import pytest

from ghostpad import cli, demo

SMALL = "--episodes 4 --max-frames 40 --steps 4 --device cpu --workers 2"
TIMES = ("seconds", "time", "per_second", "_s")


def run(out, *more):
    return cli.main(["demo", "--out", str(out), *SMALL.split(), *more])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pytest.importorskip("ale_py")
    out = tmp_path_factory.mktemp("made") / "demo"
    assert run(out) == 0
    return out


def test_everything_is_where_the_readme_says(made):
    for result in (
        "bulk_videos/episode_0000/0.png",
        "checkpoints/latent_action/best.pt",
        "latent_actions/_labels.parquet",
        "report/report.html",
        "report/metrics.json",
    ):
        assert (made / result).is_file(), result


def test_a_second_run_reuses_what_is_done(made, capsys):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    assert run(made) == 0
    shown = capsys.readouterr().out
    assert shown.count(" reused ") == 5
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()} == before
    assert str(made / "report" / "report.html") in shown.splitlines()[-1]
    for what in ("gain over copying", "ΔPSNR", "codebook", "ball", "paddle", "brick"):
        assert what in shown


def test_one_seed_gives_one_set_of_numbers(made, tmp_path):
    assert run(tmp_path / "again") == 0
    first, second = (
        json.loads((out / "report/metrics.json").read_text()) for out in (made, tmp_path / "again")
    )
    assert without_times(first) == without_times(second)
    assert first["reconstruction"]["psnr_db"] > 0


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if not key.endswith(TIMES)}
    return value


def test_an_interrupted_demo_continues(made, tmp_path, capsys):
    out = tmp_path / "demo"
    shutil.copytree(made, out)
    shutil.rmtree(out / "report")
    progress = json.loads((out / "demo.json").read_text())
    del progress["seconds"]["extract"], progress["seconds"]["evaluate"]
    (out / "demo.json").write_text(json.dumps(progress))
    assert run(out) == 0
    shown = capsys.readouterr().out
    assert shown.count(" reused ") == 3
    assert (out / "report" / "metrics.json").is_file()


@pytest.mark.parametrize("other", [["--steps", "5"], ["--seed", "1"], ["--episodes", "5"]])
def test_a_demo_with_other_settings_is_not_overwritten(made, other, capsys):
    assert run(made, *other) == 2
    line = capsys.readouterr().err
    assert other[0].strip("-") in line
    assert line.count("\n") == 1


def test_a_missing_metric_is_a_dash():
    metrics = {
        "num_episodes": 3,
        "num_transitions": 2,
        "reconstruction": {"gain_over_copy_db": None, "delta_psnr_db": 1.25},
        "codebook": {"usage": 0.5, "size": 256},
        "elements": {
            "ball": None,
            "paddle": {"within_2px": 0.875, "copy_within_2px": 0.5},
            "bricks": {"state_accuracy": None},
        },
    }
    lines = demo.summary(metrics).splitlines()
    assert [line[32:41].strip() for line in lines[1:]] == ["-", "1.2 dB", "50.00 %", "87.50 %", "-"]
    assert "paddle within 2 pixels" in lines[4] and "copying: 50.00 %" in lines[4]
