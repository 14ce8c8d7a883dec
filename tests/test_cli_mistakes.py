"""Bad input through the command line: one clear line, exit status 2, and what was there stays as it was."""

import hashlib
import pathlib
import shutil

import pytest
from PIL import Image

from ghostpad import cli

FEW = "--steps 2 --batch-size 4 --model.quantizer.warmup-steps 1"
TRAIN = f"train --preset tiny --tracker none --device cpu {FEW}"


def fingerprint(folder):
    """Every path and the bytes of every file, but for the store that a recording gets beside it."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
        if "videos.store" not in path.parts
    }


@pytest.fixture
def refused(tmp_path, capsys):
    """Run a command line that must be refused; returns its line without the name of the program."""

    def run(*arguments):
        before = fingerprint(tmp_path)
        status = cli.main([str(argument) for argument in arguments])
        shown = capsys.readouterr().err
        assert status == 2, shown
        assert shown.startswith("ghostpad: ")
        assert shown.count("\n") == 1, shown
        assert "Traceback" not in shown
        assert fingerprint(tmp_path) == before, "what was there must stay untouched, and nothing be added"
        return shown.removeprefix("ghostpad: ").rstrip()

    return run


@pytest.fixture
def videos(episodes_folder, tmp_path):
    """A copy of the recording that a test may spoil."""
    return pathlib.Path(shutil.copytree(episodes_folder, tmp_path / "videos"))


def episodes(videos):
    return sorted(path for path in videos.iterdir() if path.is_dir())


def remove_all(videos):
    shutil.rmtree(videos)


def empty(videos):
    for episode in episodes(videos):
        shutil.rmtree(episode)


def leave_one_episode(videos):
    for episode in episodes(videos)[1:]:
        shutil.rmtree(episode)


def leave_one_frame_each(videos):
    for episode in episodes(videos):
        for frame in episode.glob("*.png"):
            if frame.name != "0.png":
                frame.unlink()
        for beside in (*episode.glob("*.json"), *episode.glob("*.npz")):
            beside.unlink()


def truncate(videos):
    frame = episodes(videos)[1] / "7.png"
    frame.write_bytes(frame.read_bytes()[:200])


def resize(videos):
    Image.new("RGB", (80, 105)).save(episodes(videos)[1] / "7.png")


def leave_a_gap(videos):
    (episodes(videos)[1] / "7.png").unlink()


FAULTS = {
    remove_all: ("videos", "no"),
    empty: ("videos", "no"),
    leave_one_episode: ("videos", "1 episode"),
    leave_one_frame_each: ("videos", "frame"),
    truncate: ("7.png", ""),
    resize: ("7.png", "80"),
    leave_a_gap: ("videos", "7.png"),
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_training_on_a_bad_recording(spoil, videos, refused, tmp_path):
    spoil(videos)
    line = refused(*TRAIN.split(), "--data", videos, "--out", tmp_path / "checkpoints")
    assert all(word in line for word in FAULTS[spoil]), line


@pytest.mark.parametrize(
    "spoil", [remove_all, empty, truncate, resize, leave_a_gap], ids=lambda spoil: spoil.__name__
)
def test_ingesting_a_bad_recording(spoil, videos, refused, tmp_path):
    spoil(videos)
    line = refused("ingest", videos, "--out", tmp_path / "store")
    assert all(word in line for word in FAULTS[spoil]), line


@pytest.fixture(scope="module")
def checkpoints(episodes_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "checkpoints"
    assert cli.main([*TRAIN.split(), "--data", str(episodes_folder), "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("verb", ["extract", "evaluate"])
def test_a_model_that_is_not_there(verb, store_path, refused, tmp_path):
    line = refused(verb, "--model", tmp_path / "nothing", "--data", store_path, "--out", tmp_path / "out")
    assert "nothing" in line


@pytest.mark.parametrize("verb", ["extract", "evaluate"])
def test_a_checkpoint_of_another_grid(verb, checkpoints, tmp_path, refused):
    videos = tmp_path / "small"
    for episode in range(3):
        (videos / f"{episode}").mkdir(parents=True)
        for frame in range(3):
            Image.new("RGB", (64, 64), (episode, frame, 0)).save(videos / f"{episode}" / f"{frame}.png")
    assert cli.main(["ingest", str(videos), "--out", str(tmp_path / "store")]) == 0
    line = refused(verb, "--model", checkpoints, "--data", tmp_path / "store", "--out", tmp_path / "out")
    assert "64" in line
    assert "210" in line


@pytest.mark.parametrize("verb", ["record", "ingest", "train", "extract", "evaluate", "demo"])
def test_an_output_folder_that_holds_something_else(
    verb, checkpoints, episodes_folder, store_path, tmp_path, refused
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    arguments = {
        "record": ["record", "--episodes", "1", "--max-frames", "2"],
        "ingest": ["ingest", episodes_folder],
        "train": [*TRAIN.split(), "--data", store_path],
        "extract": ["extract", "--model", checkpoints, "--data", store_path],
        "evaluate": ["evaluate", "--model", checkpoints, "--data", store_path],
        "demo": ["demo", "--steps", "2"],
    }[verb]
    assert "out" in refused(*arguments, "--out", out)


def test_training_into_a_folder_with_a_run(checkpoints, store_path, capsys):
    before = fingerprint(checkpoints)
    assert cli.main([*TRAIN.split(), "--data", str(store_path), "--out", str(checkpoints)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert fingerprint(checkpoints) == before


def test_resuming_with_another_config_names_the_field(checkpoints, store_path, capsys):
    other = [
        *TRAIN.split(),
        "--data",
        str(store_path),
        "--out",
        str(checkpoints),
        "--resume",
        "--batch-size",
        "8",
    ]
    assert cli.main(other) == 2
    assert "batch" in capsys.readouterr().err
