"""The verb `controls`: on real Breakout, with recorded labels, labels by hand, and none."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.buttons.control_labels import read_labels
from ghostpad.buttons.control_map import ControlMap
from ghostpad.buttons.labelling import write_buttons
from ghostpad.cli import main
from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.evaluation.config import ControlsConfig
from ghostpad.evaluation.controls.ask import choose, uncertainty
from ghostpad.evaluation.controls.buttons import world_buttons
from ghostpad.evaluation.controls.mapping import fit_and_study
from ghostpad.evaluation.inference import to_numpy
from ghostpad.frames.ingest import open_data
from ghostpad.games.breakout import detector as breakout
from ghostpad.labels.folder import Labels
from ghostpad.sources.recorder import RecordConfig, record
from ghostpad.training.checkpoint import write_checkpoint
from recordings import noise, rewrite_manifest, write_pngs
from small_world import small_world

NAMES = ["NOOP", "FIRE", "RIGHT", "LEFT"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    out = tmp_path_factory.mktemp("controls") / "videos"
    record(RecordConfig(out=out, episodes=6, max_frames=160, seed=3, workers=2))
    return out


@pytest.fixture(scope="module")
def played(recorded):
    return open_data(recorded)


class ChangedPixels:
    """Codes that count the changed pixels in each quarter of the frame."""

    codebook_size, grid, grayscale, stride = 8, (2, 2), True, 1

    def encode(self, frames, next_frames):
        changed = (frames != next_frames).reshape(len(frames), 2, 105, 2, 80)
        return np.minimum(changed.sum((2, 4)) // 8, 7)

    def decode(self, frames, codes):
        return frames / 255


class PaddleButtons:
    """A world whose button is 2 when the paddle moves right, 0 when left, and 1 when it stays."""

    history, num_buttons, grayscale, latent_action_model = 2, 4, True, ChangedPixels()
    device = torch.device("cpu")

    def nll(self, frames, next_frames):
        before, after = (
            breakout.detect(to_numpy(part))["paddle_x"].astype(int) for part in (frames[:, -1], next_frames)
        )
        return -torch.from_numpy(np.eye(4)[1 + np.sign(after - before)] * 0.9 + 0.025).log()


class RandomButtons(PaddleButtons):
    """A world whose buttons are random."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def nll(self, frames, next_frames):
        return 9 - 9 * torch.eye(4)[self.rng.integers(0, 4, len(frames))]


# -- real Breakout --------------------------------------------------------------------------------------


def test_buttons_that_follow_the_paddle_reach_most_of_the_ceiling(played):
    found, report = fit_and_study(
        world_buttons(PaddleButtons()), played, ControlsConfig(ceiling_seeds=1, workers=1)
    )
    assert found.control_names == tuple(NAMES)
    assert found.button_for_control == (1, 1, 2, 0)
    assert report["share_of_ceiling"] > 0.7
    assert report["balanced_accuracy"] > 0.6
    curve = report["label_budget"]
    assert curve["64"]["mean"] > report["accuracy"] - 0.05
    assert curve["200"]["mean"] > report["accuracy"] - 0.02
    assert report["codes"]["label_budget"]["64"]["mean"] < curve["64"]["mean"]
    bits = report["mutual_information_bits"]
    assert bits["control"]["bits"] > 0.4
    assert bits["control"]["shuffled"] < 0.05
    assert bits["bounce"]["bits"] < 0.1
    assert [row["displacement_px"] > 3 for row in report["buttons"]] == [False, False, True, False]


def test_random_buttons_name_no_control(played):
    _, report = fit_and_study(
        world_buttons(RandomButtons()), played, ControlsConfig(ceiling_seeds=1, workers=1)
    )
    assert abs(report["share_of_ceiling"]) < 0.1
    assert abs(report["window_share_of_ceiling"]) < 0.1
    assert report["mutual_information_bits"]["control"]["bits"] < 0.1


def test_labels_limits_the_transitions_that_the_map_is_fitted_to(played):
    few, report = fit_and_study(
        world_buttons(PaddleButtons()),
        played,
        ControlsConfig(ceiling_seeds=0, workers=1, labels=20, transitions=100),
    )
    assert few.num_labels == 20
    assert report["num_train"] == 100
    assert report["num_test"] <= 100
    assert list(report["label_budget"]) == ["8", "16", "32", "64"]
    again, _ = fit_and_study(
        world_buttons(PaddleButtons()),
        played,
        ControlsConfig(ceiling_seeds=0, workers=1, labels=20, transitions=100),
    )
    assert again == few
    other, _ = fit_and_study(
        world_buttons(PaddleButtons()),
        played,
        ControlsConfig(ceiling_seeds=0, workers=1, labels=20, transitions=100, seed=1),
    )
    assert other != few


def test_without_labels_buttons_are_named_by_their_effects(recorded, tmp_path):
    videos = tmp_path / "videos"
    shutil.copytree(recorded, videos, ignore=shutil.ignore_patterns("*.json", "*.npz"))
    found, report = fit_and_study(
        world_buttons(PaddleButtons()), open_data(videos), ControlsConfig(ceiling_seeds=0, workers=1)
    )
    assert found.num_labels == 0
    assert found.to_button("paddle left") == 0
    assert found.to_button("paddle still") == 1
    assert found.to_button("paddle right") == 2
    assert found.control_given_button[2][found.control_names.index("paddle right")] > 0.85
    assert "accuracy" not in report


def test_in_an_unknown_game_without_labels_buttons_are_numbered(tmp_path):
    dark = {f"e{n}": [frame // 4 for frame in noise(6, "gray", n, (210, 160))] for n in range(3)}
    videos = write_pngs(tmp_path / "videos", dark)
    found, report = fit_and_study(
        world_buttons(RandomButtons()), open_data(videos), ControlsConfig(ceiling_seeds=0, workers=1)
    )
    assert found.control_names == ("button 0", "button 1", "button 2", "button 3")
    assert found.button_for_control == (0, 1, 2, 3)
    assert report["mutual_information_bits"] == {}
    assert report["buttons"][0]["displacement_px"] is None


# -- labels by hand -------------------------------------------------------------------------------------


def write_csv(path, played, splits=("train", "test"), every=3):
    lines = ["episode,frame,control"]
    for index, episode in enumerate(played.episodes):
        if episode.split in splits:
            names = played.control_names(index)
            held = played.controls(index)[::every]
            lines += [f"{episode.name},{every * n},{names[c].lower()}" for n, c in enumerate(held)]
    path.write_text("\n".join(lines) + "\n")
    return path, len(lines) - 1


def test_labels_by_hand_give_the_map_that_recorded_ones_give(played, tmp_path, capsys):
    path, _ = write_csv(tmp_path / "labels.csv", played)
    found, report = fit_and_study(
        world_buttons(PaddleButtons()), played, ControlsConfig(ceiling_seeds=0, workers=1, labels_file=path)
    )
    names = set(found.control_names)
    assert names == {"noop", "fire", "right", "left"}
    assert [found.to_button(name) for name in ("noop", "fire", "right", "left")] == [1, 1, 2, 0]
    assert report["accuracy"] > report["chance"] + 0.2
    assert "window_accuracy" not in report  # no two labels stand side by side
    assert "not used" not in capsys.readouterr().out
    everywhere, _ = write_csv(tmp_path / "all.csv", played, ("train", "validation", "test"))
    fit_and_study(
        world_buttons(PaddleButtons()),
        played,
        ControlsConfig(ceiling_seeds=0, workers=1, labels_file=everywhere, transitions=64),
    )
    assert re.search(r"all\.csv: \d+ labels in validation episodes are not used", capsys.readouterr().out)
    only_train, num = write_csv(tmp_path / "train.csv", played, ("train",))
    found, report = fit_and_study(
        world_buttons(PaddleButtons()),
        played,
        ControlsConfig(ceiling_seeds=0, workers=1, labels_file=only_train),
    )
    assert found.num_labels == num
    assert "accuracy" not in report
    only_test, _ = write_csv(tmp_path / "test.csv", played, ("test",))
    with pytest.raises(UserError, match="label some of those"):
        fit_and_study(
            world_buttons(PaddleButtons()),
            played,
            ControlsConfig(ceiling_seeds=0, workers=1, labels_file=only_test),
        )


def test_label_files_may_have_blank_lines_spaces_and_repetitions(played, tmp_path):
    path = tmp_path / "labels.csv"
    text = "Episode, Frame, Control\nepisode_0001,4,LEFT\n\nepisode_0001,4,LEFT\nepisode_0000,0,my jump\n"
    path.write_text(text, encoding="utf-8-sig")
    file = read_labels(path, played, 1)
    assert file.names == ["LEFT", "my jump"]
    assert file.numbers == {(1, 4): 0, (0, 0): 1}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "first line must be episode,frame,control"),
        ("episode,control,frame\nepisode_0000,LEFT,1\n", "first line must be episode,frame,control"),
        ("episode,frame,control\n", "holds no labels"),
        ("episode,frame,control\nepisode_00,1,LEFT\n", "line 2: .*no episode episode_00; did you mean"),
        ("episode,frame,control\nzzz,1,LEFT\n", "line 2: .*no episode zzz; 'ghostpad info'"),
        ("episode,frame,control\nepisode_0000,one,LEFT\n", "line 2: frame one of episode_0000"),
        ("episode,frame,control\nepisode_0000,-1,LEFT\n", "line 2: frame -1 of episode_0000"),
        ("episode,frame,control\nepisode_0000,{last},LEFT\n", "whole number from 0 to "),
        ("episode,frame,control\nepisode_0000,1\n", "line 2: expected episode,frame,control"),
        ("episode,frame,control\nepisode_0000,1,\n", "line 2: expected episode,frame,control"),
        (
            "episode,frame,control\nepisode_0000,1,LEFT\nepisode_0000,1,RIGHT\n",
            "line 3: frame 1 of episode_0000 is RIGHT, but LEFT in an earlier line; keep one",
        ),
    ],
)
def test_a_mistake_in_a_label_file_is_reported_with_its_line(played, tmp_path, text, complaint):
    path = tmp_path / "labels.csv"
    path.write_text(text.format(last=played.episodes[0].num_frames - 1))
    with pytest.raises(UserError, match=complaint) as caught:
        read_labels(path, played, 1)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_csv_are_refused(played, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_labels(tmp_path / "none.csv", played, 1)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match="not a csv file"):
        read_labels(tmp_path / "picture.csv", played, 1)


# -- the verb -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world_folder(played, tmp_path_factory):
    world = small_world(played)
    folder = tmp_path_factory.mktemp("world")
    content = {"kind": "world", "model_config": to_plain(world.config), "model": world.state_dict()}
    write_checkpoint(folder / "best.pt", content)
    return folder


def test_the_verb_writes_the_map_and_a_picture_and_prints_the_label_budget(played, world_folder, capsys):
    options = [
        "--world",
        str(world_folder),
        "--data",
        str(played.path),
        "--transitions",
        "96",
        "--ceiling-seeds",
        "1",
    ]
    assert main(["controls", *options, "--labels", "50"]) == 0
    shown = capsys.readouterr().out
    found = ControlMap.read(world_folder)
    assert found.num_labels == 50
    assert (world_folder / "controls.png").read_bytes().startswith(b"\x89PNG")
    assert "chance" in shown
    assert "ceiling" in shown
    assert "64    0." in shown
    report = json.loads((world_folder / "controls.json").read_text())["report"]
    assert {"accuracy", "ceiling", "label_budget", "mutual_information_bits"} <= set(report)


def test_invalid_options_exit_with_status_2_and_one_line(played, world_folder, tmp_path, capsys):
    options = ["--world", str(world_folder), "--data", str(played.path)]
    for wrong in (["--labels", "0"], ["--transitions", "0"]):
        assert main(["controls", *options, *wrong]) == 2
        assert "must be at least" in capsys.readouterr().err
    assert main(["controls", "--world", str(tmp_path / "none"), "--data", str(played.path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# -- buttons of a labels folder ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(recorded, tmp_path_factory):
    out = tmp_path_factory.mktemp("labels") / "labels"
    assert main(["extract", "--model", "breakout-sharp", "--data", str(recorded), "--out", str(out)]) == 0
    return out


def test_labels_without_buttons_are_refused_with_the_command_that_adds_them(labelled, capsys):
    assert main(["controls", "--buttons", str(labelled)]) == 2
    assert f"ghostpad extract --buttons --out {labelled}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def with_buttons(labelled, tmp_path_factory):
    labels = Labels.open(shutil.copytree(labelled, tmp_path_factory.mktemp("labels") / "labels"))
    for shard in labels.shards:
        write_buttons(labels, shard.file_name, (labels.controls(shard) + 1).astype(np.int8))
    return labels.path


def test_labels_whose_store_has_moved_ask_for_it_and_take_it(with_buttons, recorded, tmp_path, capsys):
    moved = Path(shutil.copytree(with_buttons, tmp_path / "labels"))
    rewrite_manifest(moved, ".store", ".gone")
    options = ["controls", "--buttons", str(moved), "--ceiling-seeds", "0"]
    assert main(options) == 2
    complaint = capsys.readouterr().err
    assert "--data STORE" in complaint and complaint.count("\n") == 1
    assert main([*options, "--data", str(tmp_path / "none.store")]) == 2
    assert "none.store: no such folder" in capsys.readouterr().err
    assert main([*options, "--data", str(recorded)]) == 0
    assert ControlMap.read(moved) is not None


def test_buttons_of_labels_are_mapped_to_the_controls_that_they_equal(with_buttons, capsys):
    assert main(["controls", "--buttons", str(with_buttons), "--labels", "64", "--ceiling-seeds", "0"]) == 0
    found = ControlMap.read(with_buttons)
    assert found is not None
    assert found.button_for_control[2:] == (3, 4)  # RIGHT and LEFT
    assert json.loads((with_buttons / "controls.json").read_text())["report"]["accuracy"] > 0.9
    assert "to play: " in capsys.readouterr().out


# -- asking for labels ------------------------------------------------------------------------------------


def test_a_button_with_equal_labels_is_certain_and_one_without_labels_is_not():
    doubt = uncertainty(np.array([[20, 0, 0], [5, 5, 0], [0, 0, 0]]), seed=0)
    assert doubt[0] < 0.01 < 0.4 < doubt[1] < 0.6
    assert doubt[2] == pytest.approx(2 / 3, abs=0.05)


def test_transitions_are_asked_for_where_labels_are_missing():
    buttons, none = np.repeat([0, 1, 2], [60, 30, 10]), np.zeros(3)
    chosen = choose(buttons, np.array([0.0, 0.6, 0.6]), none, 8, seed=0)
    assert np.bincount(buttons[chosen]).tolist() == [0, 6, 2]
    chosen = choose(buttons, np.array([0.0, 0.6, 0.6]), np.array([0, 20, 0]), 3, seed=0)
    assert buttons[chosen].tolist() == [2, 2, 2]
    assert sorted(choose(buttons, none, none, 500, seed=0)) == list(range(100))


def test_the_page_asks_for_labels_and_keeps_those_that_are_there(with_buttons, recorded, tmp_path, capsys):
    store = open_data(recorded)
    episode = next(each.name for each in store.episodes if each.split == "train")
    labels_file = tmp_path / "labels.csv"
    labels_file.write_text(f'episode,frame,control\n{episode},5,"left, fast"\n', encoding="utf-8")
    command = ["controls", "--buttons", str(with_buttons), "--ask", "6", "--labels-file", str(labels_file)]
    assert main([*command, "--out", str(tmp_path)]) == 0
    page = (tmp_path / "ask.html").read_text(encoding="utf-8")
    assert page.count("data:image/gif;base64,") == page.count("data-frame=") == 6
    assert f'["{episode}", 5, "left, fast"]' in page
    assert f'data-episode="{episode}" data-frame="5"' not in page
    assert not (tmp_path / "controls.json").exists()
    assert "of the transitions uncertain" in capsys.readouterr().out
