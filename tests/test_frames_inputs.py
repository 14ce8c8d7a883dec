"""Every row of docs/inputs.md: what goes in, what is wrong with it, and what happens."""

import errno
import hashlib
import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.frames import ingest as ingest_module
from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.frames.lock import writing
from ghostpad.frames.pieces import PieceWriter
from ghostpad.frames.store import FrameStore, open_data
from recordings import noise, write_lerobot, write_minari, write_pngs, write_video

DOCS = Path(__file__).parent.parent / "docs" / "inputs.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCS.read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| input |", "| fault |"))
]
LINES = {row[0]: row[1] for row in ROWS}
CASES: dict[str, Callable[..., None]] = {}


def row(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the test of a row."""

    def register(case: Callable[..., None]) -> Callable[..., None]:
        CASES[name] = case
        return case

    return register


def lengths(store: FrameStore) -> dict[str, int]:
    return {episode.name: episode.num_frames for episode in store.episodes}


def fingerprint(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def fails(name: str, source: Path, **options: object) -> None:
    """The line that the table promises, no store, no litter, and a source that is as it was."""
    before, around = fingerprint(source) if source.is_dir() else {}, set(source.parent.iterdir())
    pattern = ".*".join(re.escape(part) for part in LINES[name].strip("`").split("…"))
    with pytest.raises(UserError) as mistake:
        ingest(IngestConfig(source, **options))  # type: ignore[arg-type]
    assert re.fullmatch(pattern, str(mistake.value)), str(mistake.value)
    assert set(source.parent.iterdir()) == around
    assert not source.is_dir() or fingerprint(source) == before


def skips(source: Path, kept: dict[str, int], reason: str, frame: int | None = 3) -> FrameStore:
    """What is kept, and what `rejected.json` says about the rest."""
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert lengths(store) == kept
    rejected = json.loads((store.path / "rejected.json").read_text())
    assert [(fault["frame"], reason in fault["reason"]) for fault in rejected] == [(frame, True)]
    assert Path(rejected[0]["file"]).is_relative_to(source)
    return store


SPLIT_THERE = {"a": 6, "b": 3, "b@4": 2, "c": 6}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three episodes of six frames."""
    return write_pngs(tmp_path / "in", {name: noise(6, "palette", seed) for seed, name in enumerate("abc")})


@pytest.mark.parametrize("name", [cells[0] for cells in ROWS])
def test_row(name: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    wanted = {"source": source, "name": name, "monkeypatch": monkeypatch}
    case(**{key: wanted[key] for key in case.__annotations__ if key in wanted})


def test_the_table_and_the_tests_are_the_same() -> None:
    assert list(LINES) == list(CASES)
    assert len(ROWS) >= 30


@row("PNG episodes, `<episode>/0.png, 1.png, …`")
def png_episodes(source: Path) -> None:
    store = ingest(IngestConfig(source))
    assert (store.encoding, lengths(store)) == ("palette", {"a": 6, "b": 6, "c": 6})
    expected = np.stack(noise(6, "palette", 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(store.read(1, np.arange(6), grayscale=False), expected)


@row("zero-padded names, `0007.png`")
def zero_padded(source: Path) -> None:
    before = ingest(IngestConfig(source)).fingerprint
    for path in source.glob("*/*.png"):
        path.rename(path.with_name(f"{int(path.stem):04d}.png"))
    assert ingest(IngestConfig(source, source.parent / "padded")).fingerprint == before


@row("8-bit gray, palette, or RGBA PNGs")
def gray_palette_rgba(source: Path) -> None:
    for path in source.glob("b/*.png"):
        picture = Image.open(path).convert("RGBA")
        picture.putalpha(7)
        picture.save(path)
    for path in source.glob("c/*.png"):
        Image.open(path).quantize(256).save(path)
    with pytest.warns(UserWarning, match="transparen"):
        store = ingest(IngestConfig(source))
    for index, seed in ((1, 1), (2, 2)):
        expected = np.stack(noise(6, "palette", seed)).transpose(0, 3, 1, 2)
        assert np.array_equal(store.read(index, np.arange(6), grayscale=False), expected)
    write_pngs(source.parent / "gray", {"a": noise(2, "gray")})
    assert ingest(IngestConfig(source.parent / "gray")).encoding == "gray"


@row("16-bit PNGs")
def sixteen_bits(source: Path) -> None:
    frames = [frame.astype(np.uint16) << 8 | 77 for frame in noise(3, "gray")]
    with pytest.warns(UserWarning, match="16-bit"):
        store = ingest(IngestConfig(write_pngs(source.parent / "deep", {"a": frames})))
    assert np.array_equal(store.read(0, np.arange(3), grayscale=True)[:, 0], np.stack(noise(3, "gray")))


@row("frames of any size")
def any_size(source: Path) -> None:
    write_pngs(source.parent / "odd", {"a": noise(3, size=(17, 23))})
    store = ingest(IngestConfig(source.parent / "odd"))
    assert (store.height, store.width) == (17, 23)
    store = ingest(IngestConfig(source, height=16))
    assert (store.height, store.width) == (16, 24)


@row("`episode.json`, `truth.npz` beside the frames")
def beside(source: Path) -> None:
    known = {"controls": [0, 1, 2, 3, 0], "rewards": [0] * 5, "lives": [5] * 6, "control_names": list("abcd")}
    (source / "b" / "episode.json").write_text(json.dumps(known))
    np.savez(source / "b" / "truth.npz", ball_x=np.arange(6))
    (source / "b" / "2.png").unlink()
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert lengths(store) == {"a": 6, "b": 2, "b@3": 3, "c": 6}
    parts = [(store.controls(index), store.truth(index)) for index in (1, 2)]
    told = [
        (controls.tolist(), truth["ball_x"].tolist())
        for controls, truth in parts
        if controls is not None and truth
    ]
    assert told == [([0], [0, 1]), ([3, 0], [3, 4, 5])]


@row("video files: mp4, mkv, webm, gif")
def video_files(source: Path) -> None:
    folder = source.parent / "videos"
    flat = [np.full((32, 48, 3), value, np.uint8) for value in (0, 255, 0)]
    for name in ("a.mp4", "b.mkv", "d.gif"):
        write_video(folder / name, flat)
    write_video(folder / "c.webm", flat, lossy=True)
    with pytest.warns(UserWarning, match="yuv420p"):
        store = ingest(IngestConfig(folder))
    assert lengths(store) == {"a.mp4": 3, "b.mkv": 3, "c.webm": 3, "d.gif": 3}
    for index in (0, 1, 3):
        assert np.array_equal(store.read(index, np.arange(3), grayscale=True)[:, 0], np.stack(flat)[..., 0])


@row("one long video")
def long_video(source: Path) -> None:
    video = write_video(source.parent / "v.mkv", noise(60, "palette"), fps=10)
    assert list(lengths(ingest(IngestConfig(video, episode_seconds=2))).values()) == [20, 20, 20]
    assert list(lengths(ingest(IngestConfig(video, video.with_name("b"), fps=5))).values()) == [30]
    dark, bright = ([np.full((32, 48), value, np.uint8)] * 9 for value in (0, 250))
    video = write_video(source.parent / "cuts.mkv", [*dark, *bright])
    assert list(lengths(ingest(IngestConfig(video, scene_cut=0.3))).values()) == [9, 9]


@row("Minari dataset (HDF5, Arrow, Parquet)")
def minari(source: Path) -> None:
    for kind in ("arrow", "parquet"):
        store = ingest(IngestConfig(write_minari(source.parent / kind, [noise(4)] * 3, kind)))
        controls = store.controls(0)
        assert (len(store.episodes), controls is not None and controls.tolist()) == (3, [0, 1, 2])


@row("LeRobotDataset v3")
def lerobot(source: Path) -> None:
    store = ingest(
        IngestConfig(write_lerobot(source.parent / "robot", [noise(4, seed=seed) for seed in range(3)]))
    )
    controls = store.controls(2)
    assert (len(store.episodes), controls is not None and controls.tolist()) == (3, [2, 3, 0])


@row("the same folder with more episodes")
def more_episodes(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ingest(IngestConfig(source))
    write_pngs(source, {"d": noise(6, "palette", 9)})
    read: list[str] = []
    decode = ingest_module.decode
    monkeypatch.setattr(ingest_module, "decode", lambda task: read.append(task.unit.name) or decode(task))
    after = ingest(IngestConfig(source))
    assert read == ["d"]
    assert [episode.split for episode in after.episodes[:3]] == [episode.split for episode in before.episodes]


@row("copies of an episode")
def copies(source: Path) -> None:
    for name in "abc":
        shutil.copytree(source / name, source / f"x{name}")
        (source / f"x{name}" / "5.png").unlink()
    store = ingest(IngestConfig(source))
    splits = {episode.name: episode.split for episode in store.episodes}
    assert {splits[name] for name in "abc"} == {"train", "validation", "test"}
    assert all(splits[name] == splits[f"x{name}"] for name in "abc")


@row("own splits")
def own_splits(source: Path) -> None:
    path = source.parent / "splits.csv"
    path.write_text("episode,split\na,test\nb,train\nc,validation\n")
    store = ingest(IngestConfig(source, split_file=path))
    assert [episode.split for episode in store.episodes] == ["test", "train", "validation"]
    assert open_data(source).episodes == store.episodes, "later verbs must keep them"
    path.write_text("a,test\nb,train\n")
    with pytest.raises(UserError, match="no line for episode c"):
        ingest(IngestConfig(source, split_file=path))
    assert FrameStore.open(store.path).episodes == store.episodes


@row("truncated PNG")
def truncated(source: Path, name: str) -> None:
    frame = source / "b" / "3.png"
    frame.write_bytes(frame.read_bytes()[:-20])
    fails(name, source)
    skips(source, SPLIT_THERE, "truncated")


@row("corrupt PNG (a flipped bit)")
def corrupt(source: Path, name: str) -> None:
    frame = source / "b" / "3.png"
    data = bytearray(frame.read_bytes())
    data[len(data) // 2] ^= 1
    frame.write_bytes(data)
    fails(name, source)
    skips(source, SPLIT_THERE, "corrupt")


@row("zero-byte PNG")
def zero_bytes(source: Path, name: str) -> None:
    (source / "b" / "3.png").write_bytes(b"")
    fails(name, source)
    skips(source, SPLIT_THERE, "empty")


@row("something else named .png")
def no_png(source: Path, name: str) -> None:
    Image.fromarray(noise(1)[0]).save(source / "b" / "3.png", format="JPEG")
    fails(name, source)
    skips(source, SPLIT_THERE, "not a PNG")


@row("decompression bomb")
def bomb(source: Path, name: str) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
    (source / "b" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    fails(name, source)
    skips(source, SPLIT_THERE, "larger than")


@row("wrong size in mid-episode")
def wrong_size(source: Path, name: str) -> None:
    Image.new("RGB", (20, 10)).save(source / "b" / "3.png")
    fails(name, source)
    skips(source, SPLIT_THERE, "20x10")


@row("missing number")
def missing_number(source: Path, name: str) -> None:
    (source / "b" / "3.png").unlink()
    fails(name, source)
    skips(source, SPLIT_THERE, "missing")


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
    assert lengths(store) == SPLIT_THERE


@row("unreadable permissions")
def permissions(source: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(path: str, mode: str) -> object:
        if path == str(source / "b" / "3.png"):  # the tests may run as root, who may read everything
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return open(path, mode)  # noqa: PTH123

    monkeypatch.setattr("ghostpad.frames.png.open", guarded, raising=False)
    fails(name, source)
    skips(source, SPLIT_THERE, "Permission denied")


@row("symbolic link out of the folder")
def link_out(source: Path, name: str) -> None:
    frame = source / "b" / "3.png"
    frame.rename(source.parent / "secret.png")
    frame.symlink_to(source.parent / "secret.png")
    fails(name, source)
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert lengths(store) == SPLIT_THERE
    (source / "c" / "0.png").unlink()
    (source / "c" / "0.png").symlink_to(source / "a" / "0.png")
    assert lengths(ingest(IngestConfig(source, on_bad="skip")))["c"] == 6, "links inside are welcome"


@row("an episode of one frame")
def one_frame(source: Path, name: str) -> None:
    for number in range(1, 6):
        (source / "b" / f"{number}.png").unlink()
    fails(name, source)
    skips(source, {"a": 6, "c": 6}, "single frame", frame=None)


@row("damaged `episode.json` or `truth.npz`")
def damaged_beside(source: Path, name: str) -> None:
    (source / "b" / "episode.json").write_text('{"controls": [0,')
    fails(name, source)
    skips(source, {"a": 6, "b": 6, "c": 6}, "episode.json", frame=None)
    (source / "b" / "episode.json").unlink()
    for content in (b"no archive", b"PK\x03\x04 nearly one"):
        (source / "b" / "truth.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"truth\.npz that cannot be read"):
            ingest(IngestConfig(source, source.parent / "other"))
    (source / "b" / "truth.npz").unlink()
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
def an_episode(source: Path, name: str) -> None:
    fails(name, source / "b")


@row("fewer than three episodes")
def too_few(source: Path, name: str) -> None:
    shutil.rmtree(source / "b")
    pattern = ".*".join(re.escape(part) for part in LINES[name].strip("`").split("…"))
    with pytest.raises(UserError) as mistake:
        open_data(source, min_episodes=3)
    assert re.fullmatch(pattern, str(mistake.value))
    assert not source.with_name("in.store").exists()
    assert [episode.split for episode in ingest(IngestConfig(source)).episodes] == ["train", "train"]


@row("no room on the disk")
def no_room(source: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


@row("disk full on the way")
def disk_full(source: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [7]
    add = PieceWriter.add

    def full(writer: PieceWriter, frame: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(writer, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(PieceWriter, "add", full)
    fails(name, source)


@row("killed at any moment")
def killed(source: Path) -> None:
    store = ingest(IngestConfig(source))
    before = store.fingerprint
    write_pngs(source, {"d": noise(6, "rgb", 3)})  # more colours: every file is written again
    shutil.rmtree(source / "a")
    survived, moment, status = set(), 0, -1
    while status != 0:
        moment += 1
        status = _ingest_and_die(source, moment)
        now = FrameStore.open(store.path)
        survived.add(now.fingerprint)
        for index in range(len(now.episodes)):
            now.read(index, np.arange(6), grayscale=True)
    after = ingest(IngestConfig(source))
    assert survived == {before, after.fingerprint}
    assert moment > 10
    files = {path.stem for path in after.path.glob("*.npy")}
    assert files == {episode.files.name for episode in after.episodes}
    assert sorted(path.name for path in source.parent.iterdir()) == ["in", "in.store"]


def _ingest_and_die(source: Path, moment: int) -> int:
    """Ingest in a child that dies at the n-th touch of the disk; 0 if it came to the end."""
    child = os.fork()
    if child == 0:
        left = [moment]

        def dying(method: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)
                return method(*arguments, **options)

            return call

        for method in ("rename", "replace", "unlink", "open", "write_text"):
            setattr(Path, method, dying(getattr(Path, method)))
        try:
            ingest(IngestConfig(source))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@row("two ingests into one store")
def two_ingests(source: Path, name: str) -> None:
    with writing(source.with_name("in.store"), wait=False):
        fails(name, source)
    assert len(ingest(IngestConfig(source)).episodes) == 3


@row("the output holds something else")
def something_else(source: Path, name: str) -> None:
    out = source.parent / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    fails(name, source, out=out)
    assert (out / "thesis.txt").read_text() == "years of work"


@row("the output lies in the source")
def out_in_source(source: Path, name: str) -> None:
    fails(name, source, out=source / "store")
