"""The package still does what it did: see `golden/make.py`, which makes the numbers anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from golden import make

pytest.importorskip("ale_py")


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    with make.one_thread():
        yield


@pytest.fixture(scope="module")
def golden_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make.make_store(tmp_path_factory.mktemp("golden"))


def require_same(name: str, found: Any, *keys: str) -> None:
    """Fail with what differs first from a golden file; skip where it was made on another type of machine."""
    golden = make.read_golden(name)
    made_on = golden.pop("machine_type")
    for key in keys:
        golden = golden[key]
    unlike = list(make.differences(found, golden, *make.TOLERANCES[name]))
    if unlike and (reason := make.other_machine(name, made_on)):
        pytest.skip(f"{len(unlike)} numbers of {name}.json differ, which was made elsewhere: {reason}")
    if unlike:
        head = f"{len(unlike)} numbers differ from {'.'.join([name, *keys])}; see {make.__file__}"
        pytest.fail("\n  ".join([head, *make.first_of_each(unlike)]), pytrace=False)


def test_every_preset_is_held() -> None:
    from ghostpad.presets import PRESETS

    assert set(make.PRESET_NAMES) == set(PRESETS)


@pytest.mark.parametrize("preset", make.PRESET_NAMES)
def test_losses(preset: str, golden_store: Path, tmp_path: Path) -> None:
    require_same("losses", make.loss_curves(preset, golden_store, tmp_path), preset)


@pytest.mark.parametrize("preset", make.PRESET_NAMES)
def test_losses_without_learning(preset: str, golden_store: Path, tmp_path: Path) -> None:
    require_same("still", make.still_curves(preset, golden_store, tmp_path), preset)


def test_codes(golden_store: Path) -> None:
    require_same("codes", make.shipped_codes(golden_store))


@pytest.mark.parametrize("temperature", make.TEMPERATURES)
def test_world(temperature: float) -> None:
    require_same("world", make.world_walk(temperature), f"temperature_{temperature:g}")


def test_world_nll(golden_store: Path) -> None:
    require_same("world", make.world_nll(golden_store), "nll")


def test_metrics(golden_store: Path, tmp_path: Path) -> None:
    require_same("metrics", make.metrics(golden_store, tmp_path))


def test_world_training(golden_store: Path, tmp_path: Path) -> None:
    require_same("world_training", make.world_training(golden_store, tmp_path))


def test_what_differs_is_found() -> None:
    golden = {"a": [1.0, 2.0], "b": "x", "c": 3, "gone": None}
    found = {"a": [1.00001, 2.1], "b": "y", "c": 3, "new": 1}
    assert list(make.differences(found, golden, 1e-4, 0.0)) == [
        "a[1]: 2.1, golden 2.0",
        "b: y, golden x",
        "gone: only in the golden file",
        "new: only here",
    ]
