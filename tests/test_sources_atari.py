"""Recording: the same seed gives the same bytes, episodes are complete, and other files are not touched."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostpad.errors import UserError

pytest.importorskip("ale_py")
from ghostpad.sources.branches import Branches
from ghostpad.sources.recorder import RecordConfig, record


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RecordConfig:
    config = RecordConfig(out=tmp_path_factory.mktemp("recorded") / "a", episodes=3, max_frames=30, workers=1)
    record(config)
    return config


def test_the_number_of_processes_changes_no_byte(config: RecordConfig, tmp_path: Path) -> None:
    record(dataclasses.replace(config, out=tmp_path / "b", workers=2))
    assert _bytes_of(tmp_path / "b") == _bytes_of(config.out)


def test_another_seed_gives_another_recording(config: RecordConfig, tmp_path: Path) -> None:
    record(dataclasses.replace(config, out=tmp_path / "b", seed=1, episodes=1))
    controls = [
        json.loads((out / "episode_0000" / "episode.json").read_text())["controls"]
        for out in (config.out, tmp_path / "b")
    ]
    assert controls[0] != controls[1]


def test_frames_are_rgb_pngs_numbered_from_zero(config: RecordConfig) -> None:
    episode = config.out / "episode_0001"
    metadata = json.loads((episode / "episode.json").read_text())
    count = len(metadata["lives"])
    assert {path.name for path in episode.glob("*.png")} == {f"{number}.png" for number in range(count)}
    with Image.open(episode / "0.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (160, 210))
    assert len(metadata["controls"]) == len(metadata["rewards"]) == count - 1
    assert metadata["control_names"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    with np.load(episode / "truth.npz") as truth:
        assert truth["ball_x"].shape == (count,)
        assert truth["bricks"].shape == (count, 6, 18)


def test_controls_are_held_from_each_frame_to_the_next(config: RecordConfig) -> None:
    """The paddle responds to the control of the same transition, not of its neighbours."""
    moved = {"RIGHT": [], "LEFT": []}
    for episode in sorted(config.out.iterdir()):
        metadata = json.loads((episode / "episode.json").read_text())
        paddle = np.load(episode / "truth.npz")["paddle_x"]
        for step, control in enumerate(metadata["controls"]):
            before = metadata["controls"][max(0, step - 3) : step + 1]
            name = metadata["control_names"][control]
            if name in moved and set(before) == {control} and 10 < paddle[step] < 130:
                moved[name].append(int(paddle[step + 1]) - int(paddle[step]))
    assert moved["RIGHT"]
    assert min(moved["RIGHT"]) > 0
    assert max(moved["LEFT"], default=-1) < 0


def test_a_second_run_completes_what_is_missing_and_touches_nothing_else(
    config: RecordConfig, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(config.out, tmp_path / "b"))
    shutil.rmtree(out / "episode_0001")
    (out / ".episode_0001.x1.partial").mkdir()
    before = (out / "episode_0000" / "0.png").stat().st_mtime_ns
    record(dataclasses.replace(config, out=out))
    assert _bytes_of(out) == _bytes_of(config.out)
    assert (out / "episode_0000" / "0.png").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change", [{"frame_skip": 2}, {"seed": 7}, {"max_frames": 31}, {"policy": "random"}, {"branches": 3}]
)
def test_recordings_with_different_options_are_not_mixed(config: RecordConfig, change: dict) -> None:
    with pytest.raises(UserError, match=f"recorded with {next(iter(change))}=.*--out"):
        record(dataclasses.replace(config, episodes=4, **change))
    assert len(list(config.out.iterdir())) == 3


def test_a_folder_with_other_files_is_refused(config: RecordConfig, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"thesis\.txt"):
        record(dataclasses.replace(config, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"game": "no_such_game"}, "--game no_such_game"),
        ({"game": "pong", "policy": "tracker"}, "pong has no scripted player"),
        ({"episodes": 0}, "--episodes 0"),
        ({"max_frames": 1}, "--max-frames 1"),
        ({"frame_skip": 0}, "--frame-skip 0"),
        ({"sticky": 1.0}, "--sticky 1.0"),
        ({"sticky": 0.1, "branches": 2}, "--branches needs --sticky 0"),
        ({"branches": -1}, "--branches -1"),
        ({"policy": "expert"}, "mixed, random, tracker or module:function"),
    ],
)
def test_options_out_of_range_are_refused(
    config: RecordConfig, tmp_path: Path, change: dict, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        record(dataclasses.replace(config, out=tmp_path / "b", **change))
    assert not (tmp_path / "b").exists()


def test_without_ale_py_the_error_names_the_package_extra(
    config: RecordConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(UserError, match=r"ghostpad\[atari\]"):
        record(config)


def test_branches_show_the_next_frame_under_every_control_from_the_same_state(tmp_path: Path) -> None:
    config = RecordConfig(out=tmp_path / "b", episodes=1, max_frames=60, branches=8, workers=1)
    record(config)
    episode = config.out / "episode_0000"
    branches = Branches.load(episode / "branches.npz")
    metadata = json.loads((episode / "episode.json").read_text())
    assert metadata["branches"] == 8
    assert branches.next_frames.shape == (8, 4, 210, 160, 3)
    for frame, next_frames in zip(branches.frame_index, branches.next_frames, strict=True):
        recorded = np.asarray(Image.open(episode / f"{frame + 1}.png"))
        assert np.array_equal(next_frames[metadata["controls"][frame]], recorded)
    right, left = branches.next_frames[:, 2], branches.next_frames[:, 3]
    assert (right != left).any(axis=(1, 2, 3)).sum() >= 3  # not where the paddle stays at the edge
    record(dataclasses.replace(config, out=tmp_path / "plain", branches=0))
    for path in (tmp_path / "plain").rglob("*.png"):
        assert path.read_bytes() == (episode / path.name).read_bytes()


def test_any_game_plays_with_random_controls(tmp_path: Path) -> None:
    record(RecordConfig(out=tmp_path / "b", game="seaquest", episodes=1, max_frames=12, workers=1))
    episode = tmp_path / "b" / "episode_0000"
    assert len(list(episode.glob("*.png"))) == 12
    assert json.loads((episode / "episode.json").read_text())["policy"] == "random"
    assert not (episode / "truth.npz").exists()


def test_mixed_recordings_have_both_policies(tmp_path: Path) -> None:
    out = tmp_path / "b"
    record(RecordConfig(out=out, episodes=12, max_frames=2, workers=1))
    policies = [json.loads((episode / "episode.json").read_text())["policy"] for episode in out.iterdir()]
    assert 3 <= policies.count("tracker") <= 11
