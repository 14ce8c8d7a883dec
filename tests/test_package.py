"""The package as others get it: a wheel that works outside the checkout, on every supported Python."""

import ast
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import numpy as np
import pytest

import ghostpad
from recordings import write_video

ROOT = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_source_file_and_the_license(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src").rglob("*.py")}
    folders = (ROOT / "src/ghostpad/play" / name for name in ("static", "offline"))
    page = {str(p.relative_to(ROOT / "src")) for folder in folders for p in folder.iterdir()}
    assert len(page) == 10
    assert sources | page | {"ghostpad/py.typed"} <= inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    assert not [name for name in inside if name.startswith("tests")]


@pytest.fixture(scope="module")
def run_from_wheel(wheel, tmp_path_factory):
    """Runs a program of a new environment with the wheel, in a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False)
    bin_folder = folder / "venv" / "bin"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        bin_folder / "python",
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, wheel], check=True, capture_output=True)
    # What Ghostpad depends on is borrowed from this environment, which comes after the wheel on the path.
    site_packages = next((folder / "venv").glob("lib/python*/site-packages"))
    (site_packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(program, *arguments, cwd=folder):
        command = [bin_folder / program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)

    where = run("python", "-c", "import ghostpad; print(ghostpad.__file__)")
    assert where.stdout.startswith(str(site_packages)), where
    return run


def test_the_wheel_runs_outside_the_checkout(run_from_wheel):
    run = run_from_wheel
    assert run("ghostpad", "--version").stdout == f"ghostpad {ghostpad.__version__}\n"
    shown = run("ghostpad", "record", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--max-frames" in shown.stdout


def readme_blocks(heading, language):
    section = (ROOT / "README.md").read_text().partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_readmes_four_lines_and_its_python_work_with_the_wheel_alone(run_from_wheel, tmp_path):
    """As a newcomer would: an empty folder, a video, the lines of the README; training is cut short."""
    pytest.importorskip("ale_py")
    rng = np.random.default_rng(0)
    frames, place = [], np.array([20, 20])
    for _ in range(900):  # 60 seconds, three episodes
        place = np.clip(place + rng.integers(-2, 3, 2), 0, 56)
        frames.append(np.zeros((64, 64, 3), np.uint8))
        frames[-1][place[0] : place[0] + 8, place[1] : place[1] + 8] = (255, 200, 0)
    write_video(tmp_path / "my_video.mp4", frames, fps=15)
    few = ["--steps", "4", "--batch-size", "4", "--model.quantizer.warmup-steps", "1", "--tracker", "none"]

    def do(*command):
        done = run_from_wheel(*command, *(few if command[1] == "train" else ()), cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    (four_lines,) = readme_blocks("Your own video", "sh")
    for line in four_lines.splitlines():
        do(*shlex.split(line))
    assert (tmp_path / "reports/latent_action/report.html").is_file()
    for name in ("checkpoints", "data"):
        shutil.rmtree(tmp_path / name)
    do("ghostpad", "record", "--episodes", "4", "--max-frames", "40")
    do("ghostpad", "train", "--preset", "tiny")
    do("ghostpad", "extract")
    do("python", "-c", "\n".join(readme_blocks("From Python", "python")))


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_sources_parse_as_every_supported_python(minor):
    assert f"Programming Language :: Python :: 3.{minor}" in PROJECT["classifiers"]
    for path in (ROOT / "src").rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, minor))


def test_constraints_pin_what_the_project_asks_for():
    pinned = {
        line.partition("==")[0]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    extras = PROJECT["optional-dependencies"]
    asked = [
        *PROJECT["dependencies"],
        *(name for extra in ("atari", "minari", "play", "onnx", "docs", "dev") for name in extras[extra]),
    ]
    names = {name.split(">")[0].split("[")[0] for name in asked}
    assert names <= pinned


def test_importing_ghostpad_loads_nothing_heavy():
    code = "import sys, ghostpad; print(sorted({'torch', 'numpy', 'tyro'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
