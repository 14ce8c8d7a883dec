"""Worker processes and locks: results come in order, and no process or lock file stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ghostpad.errors import UserError
from ghostpad.locking import writing
from ghostpad.workers import map_in_order

SOON = 20  # seconds, on a busy machine


def square(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return number * number


def fail_or_sleep(number: int) -> int:
    if number == 0:
        raise UserError("the first is bad")
    time.sleep(120)
    return number


def die(number: int) -> None:
    os._exit(number)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_results_come_in_order(num_workers: int) -> None:
    assert list(map_in_order(square, range(12), num_workers)) == [number * number for number in range(12)]


def test_the_first_error_ends_all_workers_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match="the first is bad"):
        list(map_in_order(fail_or_sleep, [0, 1], 2))
    assert time.monotonic() - start < SOON


def test_a_worker_that_dies_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="ended abruptly"):
        list(map_in_order(die, [1, 1, 1], 2))


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, time\n"
        "from ghostpad.workers import map_in_order\n"
        "from test_workers import report_and_sleep\n"
        f"list(map_in_order(report_and_sleep, [{str(tmp_path)!r}] * 2, 2))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parent)
    _until(lambda: len(list(tmp_path.iterdir())) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    children = [int(path.name) for path in tmp_path.iterdir()]
    _until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def report_and_sleep(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(120)


def _until(condition: object) -> None:
    end = time.monotonic() + SOON
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_only_one_process_writes_and_the_lock_file_is_removed(tmp_path: Path) -> None:
    with writing(tmp_path / "store", wait=False):
        with pytest.raises(UserError, match="another process"), writing(tmp_path / "store", wait=False):
            pass
        with writing(tmp_path / "other", wait=False):
            pass
    with writing(tmp_path / "store", wait=True):
        assert [path.name for path in tmp_path.iterdir()] == [".store.lock"]
    assert list(tmp_path.iterdir()) == []
