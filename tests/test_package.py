"""The package as others get it: a wheel that works outside the checkout, on every supported Python."""

import ast
import os
import pathlib
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest

import ghostpad

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
    assert len(page) == 9
    assert sources | page | {"ghostpad/py.typed"} <= inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    assert not [name for name in inside if name.startswith("tests")]


def test_the_wheel_runs_outside_the_checkout(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    bin_folder = tmp_path / "venv" / "bin"
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
    site_packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (site_packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(program, *arguments):
        command = [bin_folder / program, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )

    where = run("python", "-c", "import ghostpad; print(ghostpad.__file__)")
    assert where.stdout.startswith(str(site_packages)), where
    assert run("ghostpad", "--version").stdout == f"ghostpad {ghostpad.__version__}\n"
    shown = run("ghostpad", "record", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--max-frames" in shown.stdout


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
