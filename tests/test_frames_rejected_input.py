"""Every row of the table "Rejected input" in docs/inputs.md: the problem, the message, and what is kept."""

import errno
import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dying import exit_status, ingest_and_die
from ghostpad.errors import UserError
from ghostpad.frames.encode import EpisodeWriter
from ghostpad.frames.ingest import IngestConfig, ingest, open_data
from ghostpad.frames.store import FrameStore
from ghostpad.locking import writing
from input_rows import PROBLEMS, RECORDINGS, SPLIT_AT_3, Rows, fails, lengths, pattern, skips
from recordings import noise, write_pngs, write_video

row = Rows()


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_of_the_table_is_handled_as_documented(
    name: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row.run(name, source=source, name=name, monkeypatch=monkeypatch)


def test_every_documented_problem_has_a_test() -> None:
    assert list(PROBLEMS) == list(row.cases)


def test_the_tables_do_not_shrink() -> None:
    assert len(RECORDINGS) + len(PROBLEMS) >= 38


@row("truncated PNG")
def truncated(source: Path, name: str) -> None:
    frame = source / "b" / "3.png"
    frame.write_bytes(frame.read_bytes()[:-20])
    fails(name, source)
    skips(source, SPLIT_AT_3, "truncated")


@row("corrupt PNG (a flipped bit)")
def corrupt(source: Path, name: str) -> None:
    frame = source / "b" / "3.png"
    data = bytearray(frame.read_bytes())
    data[len(data) // 2] ^= 1
    frame.write_bytes(data)
    fails(name, source)
    skips(source, SPLIT_AT_3, "corrupt")


@row("empty PNG (0 bytes)")
def empty_png(source: Path, name: str) -> None:
    (source / "b" / "3.png").write_bytes(b"")
    fails(name, source)
    skips(source, SPLIT_AT_3, "empty")


@row("another format named .png")
def jpeg_named_png(source: Path, name: str) -> None:
    Image.fromarray(noise(1)[0]).save(source / "b" / "3.png", format="JPEG")
    fails(name, source)
    skips(source, SPLIT_AT_3, "not a PNG")


@row("decompression bomb")
def bomb(source: Path, name: str) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
    (source / "b" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    fails(name, source)
    skips(source, SPLIT_AT_3, "larger than")


@row("size changes within an episode")
def size_changes(source: Path, name: str) -> None:
    Image.new("RGB", (20, 10)).save(source / "b" / "3.png")
    fails(name, source)
    skips(source, SPLIT_AT_3, "20x10")


@row("missing number")
def missing_number(source: Path, name: str) -> None:
    (source / "b" / "3.png").unlink()
    fails(name, source)
    skips(source, SPLIT_AT_3, "missing")


@row("duplicate numbers, `3.png` and `03.png`")
def duplicates(source: Path, name: str) -> None:
    shutil.copyfile(source / "b" / "4.png", source / "b" / "03.png")
    fails(name, source)
    store = skips(source, {"a": 6, "b": 6, "c": 6}, "same number")
    expected = noise(6, "palette", 1)[3].transpose(2, 0, 1)
    assert np.array_equal(store.read(1, np.array([3]), grayscale=False)[0], expected)


@row("a folder named `3.png`")
def folder_for_a_frame(source: Path, name: str) -> None:
    (source / "b" / "3.png").unlink()
    (source / "b" / "3.png").mkdir()
    fails(name, source)
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert lengths(store) == SPLIT_AT_3


@row("no read permission")
def no_permission(source: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(path: str, mode: str) -> object:
        if path == str(source / "b" / "3.png"):  # the tests may run as root, who can read everything
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return open(path, mode)  # noqa: PTH123

    monkeypatch.setattr("ghostpad.sources.formats.images.open", guarded, raising=False)
    fails(name, source)
    skips(source, SPLIT_AT_3, "Permission denied")


@row("symbolic link out of the folder")
def link_out_of_the_folder(source: Path, name: str) -> None:
    frame = source / "b" / "3.png"
    frame.rename(source.parent / "secret.png")
    frame.symlink_to(source.parent / "secret.png")
    fails(name, source)
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert lengths(store) == SPLIT_AT_3
    (source / "c" / "0.png").unlink()
    (source / "c" / "0.png").symlink_to(source / "a" / "0.png")
    assert lengths(ingest(IngestConfig(source, on_bad="skip")))["c"] == 6, "links within are fine"


@row("an episode or a video of one frame")
def one_frame(source: Path, name: str) -> None:
    for number in range(1, 6):
        (source / "b" / f"{number}.png").unlink()
    fails(name, source)
    skips(source, {"a": 6, "c": 6}, "single frame", frame=None)


@row("damaged `episode.json`, `truth.npz` or `branches.npz`")
def damaged_metadata(source: Path, name: str) -> None:
    (source / "b" / "episode.json").write_text('{"controls": [0,')
    fails(name, source)
    skips(source, {"a": 6, "b": 6, "c": 6}, "episode.json", frame=None)
    (source / "b" / "episode.json").unlink()
    for content in (b"no archive", b"PK\x03\x04 nearly one"):
        (source / "b" / "truth.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"truth\.npz that cannot be read"):
            ingest(IngestConfig(source, source.parent / "other"))
    (source / "b" / "truth.npz").unlink()
    one = np.zeros((1, 2, 32, 48, 3), np.uint8)
    for index, frames in (
        ([0], one[0]),
        ([0], one.astype(float)),
        ([3, 1], np.repeat(one, 2, 0)),
        ([[0]], one),
    ):
        np.savez(source / "b" / "branches.npz", frame_index=index, next_frames=frames)
        with pytest.raises(UserError, match=r"branches\.npz that cannot be read"):
            ingest(IngestConfig(source, source.parent / "other"))
    (source / "b" / "branches.npz").unlink()
    (source / "b" / "episode.json").write_text('{"controls": [-1, "up"]}')
    with pytest.raises(UserError, match=r"episode\.json of another form"):
        ingest(IngestConfig(source, source.parent / "other"))


@row("truncated video")
def truncated_video(source: Path, name: str) -> None:
    folder = source.parent / "videos"
    for letter in "abc":
        write_video(folder / f"{letter}.mp4", noise(6))
    (folder / "b.mp4").write_bytes((folder / "b.mp4").read_bytes()[:1000])
    fails(name, folder)
    skips(folder, {"a.mp4": 6, "c.mp4": 6}, "not a readable video", frame=None)


@row("video that ends early")
def short_video(source: Path, name: str) -> None:
    folder = source.parent / "videos"
    for letter in "abc":
        write_video(folder / f"{letter}.mkv", noise(6))
    data = (folder / "b.mkv").read_bytes()
    (folder / "b.mkv").write_bytes(data[: len(data) * 6 // 10])
    fails(name, folder)
    skips(folder, {"a.mkv": 6, "b.mkv": 3, "c.mkv": 6}, "ends after")


@row("missing or empty folder")
def missing_or_empty(source: Path, name: str) -> None:
    empty = source.parent / "empty"
    empty.mkdir()
    fails(name, empty)
    (empty / "notes").mkdir()
    fails(name, empty)
    with pytest.raises(UserError, match="no such folder"):
        ingest(IngestConfig(source.parent / "nowhere"))


@row("the folder is itself an episode")
def source_is_an_episode(source: Path, name: str) -> None:
    fails(name, source / "b")


@row("fewer than three episodes")
def fewer_than_three(source: Path, name: str) -> None:
    shutil.rmtree(source / "b")
    with pytest.raises(UserError) as mistake:
        open_data(source, min_episodes=3)
    assert re.fullmatch(pattern(name), str(mistake.value))
    assert not source.with_name("in.store").exists()
    assert [episode.split for episode in ingest(IngestConfig(source)).episodes] == ["train", "train"]


@row("an option of another format")
def option_of_another_format(source: Path, name: str) -> None:
    fails(name, source, fps=10)
    with pytest.raises(UserError, match=r"--camera is for LeRobotDatasets and Minari datasets"):
        ingest(IngestConfig(source, camera="front"))


@row("not enough disk space")
def not_enough_space(source: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 18 * 32 * 48 - 1
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - free, free)
    )
    fails(name, source)
    with pytest.raises(UserError, match=r"--height (\d+)$") as mistake:
        ingest(IngestConfig(source))
    height = int(str(mistake.value).rsplit(maxsplit=1)[1])
    assert 8 <= height < 32
    store = ingest(IngestConfig(source, height=height))
    assert sum(path.stat().st_size for path in store.path.glob("*.npy")) <= free


@row("disk full during the ingest")
def disk_fills_up(source: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [7]
    add = EpisodeWriter.add

    def full(writer: EpisodeWriter, *frame: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(writer, *frame)  # type: ignore[arg-type]

    monkeypatch.setattr(EpisodeWriter, "add", full)
    fails(name, source)


@row("killed at any moment")
def killed(source: Path) -> None:
    store = ingest(IngestConfig(source))
    before = store.fingerprint
    write_pngs(source, {"d": noise(6, "rgb", 3)})  # more colours: every episode is written again
    shutil.rmtree(source / "a")
    seen, moment, status = set(), 0, -1
    while status != 0:
        moment += 1
        status = exit_status(ingest_and_die, source, moment)
        now = FrameStore.open(store.path)
        seen.add(now.fingerprint)
        for index in range(len(now.episodes)):
            now.read(index, np.arange(6), grayscale=True)
    after = ingest(IngestConfig(source))
    assert seen == {before, after.fingerprint}
    assert moment > 10
    files = {path.stem for path in after.path.glob("*.npy")}
    assert files == {episode.files.name for episode in after.episodes}
    assert sorted(path.name for path in source.parent.iterdir()) == ["in", "in.store"]


@row("two ingests into one store")
def two_ingests(source: Path, name: str) -> None:
    with writing(source.with_name("in.store"), wait=False):
        fails(name, source)
    assert len(ingest(IngestConfig(source)).episodes) == 3


@row("the output holds other files")
def output_holds_other_files(source: Path, name: str) -> None:
    out = source.parent / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    fails(name, source, out=out)
    assert (out / "thesis.txt").read_text() == "years of work"


@row("the output lies in the source")
def output_in_source(source: Path, name: str) -> None:
    fails(name, source, out=source / "store")
