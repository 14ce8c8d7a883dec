"""The verb `play`: from a folder to an address, and what it says when it cannot."""

import importlib.util
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from ghostpad import cli
from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.play import onnx_world
from ghostpad.play.server import PlayConfig, load_world, play
from ghostpad.world.starts import read_starts, write_starts
from play_server import BREAKOUT, Player
from small_world import saved_world, small_world


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    """A world's folder, as `ghostpad world` and `ghostpad controls` leave it."""
    folder = saved_world(small_world(store), store, tmp_path_factory.mktemp("worlds") / "world")
    BREAKOUT.write(folder)
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Comparing engines takes seconds and has tests of its own."""
    monkeypatch.setattr(onnx_world, "fastest", lambda world, state: (world, "PyTorch"))


@pytest.fixture
def own(folder, tmp_path):
    """A copy of it to change."""
    return pathlib.Path(shutil.copytree(folder, tmp_path / "world"))


def test_the_verb_serves_until_it_is_interrupted(folder, store):
    command = [sys.executable, "-m", "ghostpad", "play", "--world", folder, "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = server.stdout.readline()
            port = int(
                re.fullmatch(r"world is served at http://127\.0\.0\.1:(\d+) \(Ctrl-C stops it\)\n", said)[1]
            )
            with Player(port) as player:
                first = player.frame()
                test = next(e for e, episode in enumerate(store.episodes) if episode.split == "test")
                recorded = store.read(test, [0], grayscale=False)[0].transpose(1, 2, 0)
                assert (first.picture == recorded).all()
                assert first.real is not None
                assert player.welcome["episodes"] == [{"name": "recorded starts", "frames": 5}]
                player.press(control=2)
                assert player.frame_that_heard(1).button == 1
                server.send_signal(signal.SIGINT)
                assert player.closed()[0] == 1012
            assert server.wait(60) == 0
            assert server.stdout.read() == ""
            assert server.stderr.read() == "ghostpad: loading world, which takes some seconds\n"
        finally:
            server.kill()


def test_every_start_leads_the_emulator_to_its_frame(folder, store):
    frames, replays = read_starts(folder)
    assert frames.shape == (5, 2, 210, 160, 3)
    assert len(replays) == 5
    for history, replay in zip(frames, replays, strict=True):
        assert (replay.emulator().getScreenRGB() == history[-1]).all()
    assert (frames[0, 0] == frames[0, 1]).all()


def test_recordings_of_others_make_starts_without_a_real_game(folder, store, own):
    shutil.copytree(store.path, own / "foreign.store")
    for file in (own / "foreign.store").rglob("*.json"):
        if file.name != "manifest.json":
            file.unlink()
    write_starts(own, FrameStore.open(own / "foreign.store"), 2, num_starts=5)
    frames, replays = read_starts(own)
    assert (frames == read_starts(folder)[0]).all() and replays == []
    assert (
        load_world(PlayConfig(world=own)).no_emulator
        == "these recordings do not hold their controls and seeds"
    )


def test_without_the_emulator_there_is_no_real_game_and_it_says_why(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    served = load_world(PlayConfig(world=folder))
    assert 'pip install "ghostpad[atari]"' in served.no_emulator
    assert served.new_game(0).start(0, 0).real is None


def test_an_emulator_that_leads_elsewhere_is_not_shown(own):
    with np.load(own / "starts.npz") as archive:
        arrays = dict(archive)
    replay = json.loads(str(arrays["replays"][3]))
    arrays["replays"][3] = json.dumps(replay | {"controls": [1] * 7})
    np.savez(own / "starts.npz", **arrays)
    game = load_world(PlayConfig(world=own)).new_game(0)
    assert game.start(0, 3).real is None
    assert game.start(0, 2).real is not None


def test_a_store_gives_every_frame(folder, store):
    served = load_world(PlayConfig(world=folder, data=store.path))
    assert served.starts.names == tuple(episode.name for episode in store.episodes)
    assert served.no_emulator == ""
    assert (served.name, served.named, served.controls) == ("world", True, BREAKOUT)


def test_it_takes_the_trained_world_before_the_shipped_one(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "checkpoints/world")
    assert load_world(PlayConfig()).name == "world"


def mistake(**options):
    with pytest.raises(UserError) as raised:
        play(PlayConfig(**{"port": 0, **options}))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_mistakes_are_reported_in_one_line(folder, own, store, tmp_path):
    assert mistake(players=0) == "--players 0: must be at least 1"
    assert mistake(fps=0.5) == "--fps 0.5: must be from 1 to 60"
    assert mistake(port=65536) == "--port 65536: must be from 0 to 65535"
    assert "give another --port or --host" in mistake(host="no.such.host.invalid")
    assert "no such" in mistake(world=tmp_path / "nothing")
    assert "run ghostpad controls" not in mistake(world=folder, data=tmp_path / "nothing")
    (own / "controls.json").write_text((own / "controls.json").read_text().replace("0.9", "x"))
    assert "damaged" in mistake(world=own)
    (own / "controls.json").unlink()
    (own / "starts.npz").write_bytes(b"PK")
    assert "starts.npz" in mistake(world=own)
    (own / "starts.npz").unlink()
    assert "starts.npz" in mistake(world=own)


def test_controls_of_another_world_are_refused(own):
    control_map = json.loads((own / "controls.json").read_text())
    control_map["control_given_button"].append([0.25] * 4)
    (own / "controls.json").write_text(json.dumps(control_map))
    assert "is for 4 buttons, but the world has 3" in mistake(world=own)


def test_a_port_in_use_is_reported_before_anything_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["play", "--port", str(port)]) == 2
    where = f"--host 127.0.0.1 --port {port}"
    said = capsys.readouterr().err
    assert said == f"ghostpad: {where}: Address already in use; give another --port or --host\n"


def test_frames_of_another_size_are_refused(folder, tmp_path):
    from PIL import Image

    for episode in range(3):
        (tmp_path / f"small/{episode}").mkdir(parents=True)
        for frame in range(3):
            Image.new("RGB", (16, 20), (frame, 0, 0)).save(tmp_path / f"small/{episode}/{frame}.png")
    said = mistake(world=folder, data=tmp_path / "small")
    assert "frames of 16 by 20, but this world's are 160 by 210" in said


def test_the_extra_is_asked_for_by_name(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name))
    assert mistake() == 'playing needs uvicorn; install it with: pip install "ghostpad[play]"'


def test_everyone_is_warned_of_when_everyone_may_play(folder, monkeypatch, capsys):
    from ghostpad.play import server

    class Silent:
        def run(self, sockets):
            pass

    monkeypatch.setattr(server, "make_server", lambda app: Silent())
    for host, warned in (("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)):
        play(PlayConfig(world=folder, host=host, port=0))
        said = capsys.readouterr()
        assert ("everyone who reaches" in said.err) == warned
        assert f"http://{'127.0.0.1' if warned else host}:" in said.out
