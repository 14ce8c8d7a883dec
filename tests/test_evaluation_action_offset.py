"""`--action-offset`: a number is applied, `auto` measures it; the recorded actions stay as they are."""

import json
import pathlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.evaluation.action_offset import measure_action_offset
from ghostpad.evaluation.ingest import ingest
from ghostpad.frames.info import describe
from ghostpad.frames.ingest import IngestConfig
from ghostpad.frames.store import FrameStore

NAMES = ["NOOP", "RIGHT", "LEFT"]


def write_moving_squares(root: pathlib.Path, episodes: int = 6, frames: int = 90) -> pathlib.Path:
    """Episodes in which a square moves as its controls say, three pixels a frame."""
    rng = np.random.default_rng(0)
    for episode in range(episodes):
        folder = root / f"e{episode}"
        folder.mkdir(parents=True)
        controls = np.repeat(rng.integers(0, 3, frames), rng.integers(2, 6, frames))[: frames - 1]
        place = 30
        for number in range(frames):
            picture = np.zeros((48, 64), np.uint8)
            picture[20:28, place : place + 8] = 200
            Image.fromarray(picture).save(folder / f"{number}.png")
            if number < frames - 1:
                place = (place + (0, 3, -3)[controls[number]]) % 56
        (folder / "episode.json").write_text(
            json.dumps({"controls": controls.tolist(), "control_names": NAMES})
        )
    return root


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return write_moving_squares(tmp_path_factory.mktemp("squares") / "in")


@pytest.fixture(scope="module")
def stored(squares):
    return ingest(IngestConfig(squares))


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_every_episode_names_the_offset_of_a_shifted_recording(stored, shift):
    found = measure_action_offset(replace(stored, action_offset=-shift))
    assert (found.offset, found.agree, found.episodes, found.is_sure) == (shift, 6, 6, True)


def test_controls_that_do_not_show_are_not_measured(stored, squares, tmp_path):
    rng = np.random.default_rng(1)
    for path in stored.path.glob("*.json"):
        if path.name != "manifest.json":
            metadata = json.loads(path.read_text())
            (tmp_path / path.name).write_text(json.dumps(metadata))
    episodes = []
    for episode in stored.episodes:
        shuffled = rng.permutation(episode.metadata["controls"]).tolist()
        files = tmp_path / episode.files.name
        files.with_suffix(".json").write_text(json.dumps({"controls": shuffled, "control_names": NAMES}))
        files.with_suffix(".npy").symlink_to(episode.files.with_suffix(".npy"))
        episodes.append(replace(episode, files=files))
    found = measure_action_offset(replace(stored, episodes=tuple(episodes)))
    assert found.offset is None and not found.is_sure
    assert "stands out" in str(found)


def test_auto_says_what_it_found_and_info_shows_it(squares, tmp_path, capsys):
    for path in squares.glob("*/episode.json"):
        folder = tmp_path / "shifted" / path.parent.name
        folder.mkdir(parents=True)
        for image in path.parent.glob("*.png"):
            (folder / image.name).symlink_to(image)
        metadata = json.loads(path.read_text())
        metadata["controls"] = [0, *metadata["controls"][:-1]]  # each is stored with the frame it led to
        (folder / "episode.json").write_text(json.dumps(metadata))
    config = IngestConfig(tmp_path / "shifted", action_offset="auto", follow_links=True)
    store = ingest(config)
    shown = capsys.readouterr().out
    assert "action offset: +1 measured, 6 of 6 episodes agree" in shown
    assert store.action_offset == 1
    assert any(line.startswith("action offset  +1 (+1 measured, 6 of 6") for line in describe(store))
    kept = json.loads(store.episodes[0].files.with_suffix(".json").read_text())["controls"]
    assert store.controls(0).tolist() == [*kept[1:], kept[-1]]  # the last one is not recorded
    assert ingest(replace(config, action_offset=None)).action_offset == 1, "a later ingest keeps it"
    assert ingest(replace(config, action_offset="0")).controls(0).tolist() == kept
    assert FrameStore.open(store.path).action_offset == 0


@pytest.mark.parametrize("given", ["9", "one", "1.5", ""])
def test_an_offset_that_is_none_is_refused(squares, tmp_path, given):
    with pytest.raises(UserError, match=r"--action-offset .*: must be auto or a whole number from -8 to 8"):
        ingest(IngestConfig(squares, tmp_path / "out", action_offset=given))
