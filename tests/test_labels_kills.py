"""An extraction killed at any moment is completed by the next run, to the same bytes."""

import json
import pathlib
import subprocess
import sys

import pytest

from small_model import saved, small_model

# Forks for every run, so that torch is loaded only once, and nothing of a killed run stays in memory. A
# run is killed at its n-th step: before codes are computed, rows written, a file synced or put in its place.
KILLER = """
import json, os, pathlib, random, signal, sys
import pyarrow.parquet
import ghostpad.io, ghostpad.labels.encoders, ghostpad.labels.shards, ghostpad.labels.extract as verb

model, data, home, kills = sys.argv[1:]
left = -1

def counted(owner, name):
    step = getattr(owner, name)
    def wrapped(*args, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*args, **options)
    setattr(owner, name, wrapped)

counted(ghostpad.labels.encoders.TorchEncoder, "__call__")
counted(pyarrow.parquet.ParquetWriter, "write_table")
counted(ghostpad.io, "_sync")
counted(pathlib.Path, "replace")

def run(out, steps):
    global left
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    left = steps
    verb.extract(verb.ExtractConfig(
        pathlib.Path(model), pathlib.Path(data), pathlib.Path(home) / out, with_frames=True, shard_size=1,
        runtime="torch", workers=1,
    ))
    os._exit(0)

draw = random.Random(0)
states = [run("undisturbed", -1), *(run("killed", draw.randint(1, 6)) for _ in range(int(kills)))]
print(json.dumps([*states, run("killed", -1)]))
"""


def content(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_extraction_is_completed_to_the_same_bytes(store, store_path, tmp_path, kills):
    model = saved(small_model(store), tmp_path / "best.pt")
    arguments = [sys.executable, "-c", KILLER, str(model), str(store_path), str(tmp_path), str(kills)]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    first, *disturbed, last = json.loads(ran.stdout.splitlines()[-1])
    assert first == last == 0
    assert disturbed.count(9) >= 4, "hardly a run was killed"
    undisturbed = content(tmp_path / "undisturbed")
    assert len(undisturbed) == 5
    assert content(tmp_path / "killed") == undisturbed
