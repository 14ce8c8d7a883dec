"""The lines and the contact sheet of `ghostpad info`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.frames.info import InfoConfig, info
from ghostpad.frames.ingest import IngestConfig, ingest
from recordings import noise, write_pngs


def _printed(config: InfoConfig, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    info(config)
    return {line[:14].strip(): line[15:] for line in capsys.readouterr().out.splitlines()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eleven episodes of seven frames, two of them still throughout."""
    episodes = {f"e{seed}": noise(7, "palette", seed) for seed in range(9)}
    episodes |= {f"s{seed}": noise(1, "palette", 50 + seed) * 7 for seed in range(2)}
    return write_pngs(tmp_path / "in", episodes)


def test_every_line_states_the_contents_of_the_store(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ingest(IngestConfig(source))
    lines = _printed(InfoConfig(source), capsys)
    assert lines["frames"] == "77 of 48x32 in 11 episodes"
    assert lines["episodes"] == "7 to 7 frames long, median 7"
    assert lines["colours"] == "40, stored as palette"
    assert lines["splits"] == "9 train, 1 validation, 1 test"
    assert lines["transitions"] == "66, 18.2% of them still (no pixel changes)"
    assert lines["known beside"].startswith("nothing")
    assert lines["store"] == str(store.path)
    size = sum(path.stat().st_size for path in store.path.iterdir() if path.suffix != ".png")
    assert lines["disk"].startswith(f"{size / 1e6:.1f} MB")


def test_the_number_of_branches_is_mentioned(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("e1", "e2"):
        next_frames = np.zeros((3, 2, 32, 48, 3), np.uint8)
        np.savez(source / name / "branches.npz", frame_index=[0, 2, 4], next_frames=next_frames)
    ingest(IngestConfig(source))
    assert _printed(InfoConfig(source), capsys)["known beside"] == "branches of 6 frames in 2 episodes"


def test_rejected_input_is_mentioned(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "e4" / "3.png").write_bytes(b"")
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert _printed(InfoConfig(store.path), capsys)["left out"] == f"1, see {store.path / 'rejected.json'}"


def test_the_contact_sheet_shows_episodes_in_rows_and_time_to_the_right(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ingest(IngestConfig(source))
    lines = _printed(InfoConfig(store.path, tmp_path / "sheet.png"), capsys)
    assert lines["contact sheet"] == str(tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (8 * 36 + 4, 6 * 52 + 4, 3)
    first = store.read(0, np.array([0, 6]), grayscale=False).transpose(0, 2, 3, 1)
    assert np.array_equal(sheet[4:36, 4:52], first[0])
    assert np.array_equal(sheet[4:36, 264:312], first[1])
    last = store.read(10, np.array([0]), grayscale=False)[0].transpose(1, 2, 0)
    assert np.array_equal(sheet[256:288, 4:52], last)


def test_a_missing_store_and_an_unwritable_sheet_are_clear_errors(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"is not a frame store; .* ingest {source} --out {source}.store"):
        info(InfoConfig(source))
    with pytest.raises(UserError, match=r"is not a frame store; .* ingest SOURCE"):
        info(InfoConfig(tmp_path / "nowhere"))
    video = tmp_path / "my_video.mp4"
    video.touch()
    with pytest.raises(UserError, match=r"is not a frame store; .* ingest .*mp4 --out .*mp4.store"):
        info(InfoConfig(video))
    ingest(IngestConfig(source))
    with pytest.raises(UserError, match="--sheet"):
        info(InfoConfig(source, tmp_path / "nowhere" / "sheet.png"))
