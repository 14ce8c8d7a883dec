"""Killed at any moment, a run is completed by the next one, to the same bytes."""

import json
import pathlib
import subprocess
import sys

import pytest

from small_model import saved, small_model

# Forks for every run, so that torch is loaded only once, and nothing of a killed run lives on in memory.
KILLER = """
import json, os, pathlib, random, signal, sys, time
import ghostpad.labels.extract as verb, ghostpad.labels.shards, ghostpad.model.latent_action_model

model, data, home, kills = sys.argv[1:]

def run(out):
    config = verb.ExtractConfig(
        pathlib.Path(model), pathlib.Path(data), pathlib.Path(home) / out, with_frames=True, shard_size=1,
        runtime="torch", workers=1,
    )
    verb.extract(config)

def start(out):
    pid = os.fork()
    if pid:
        return pid
    run(out)
    os._exit(0)

began = time.perf_counter()
os.waitpid(start("undisturbed"), 0)
seconds = time.perf_counter() - began
draw = random.Random(0)
states = []
for _ in range(int(kills)):
    pid = start("killed")
    time.sleep(draw.uniform(0.2, 1) * seconds)
    os.kill(pid, signal.SIGKILL)
    states.append(os.waitpid(pid, 0)[1])
os.waitpid(start("killed"), 0)
print(json.dumps(states))
"""


def content(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_do_not_show(store, store_path, tmp_path, kills):
    model = saved(small_model(store), tmp_path / "best.pt")
    arguments = [sys.executable, "-c", KILLER, str(model), str(store_path), str(tmp_path), str(kills)]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    states = json.loads(ran.stdout.splitlines()[-1])
    assert 9 in states, "no run was killed"
    undisturbed = content(tmp_path / "undisturbed")
    assert len(undisturbed) == 5
    assert content(tmp_path / "killed") == undisturbed
