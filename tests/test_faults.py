"""Every row of the table "Files as people have them" in docs/inputs.md: what once went wrong."""

import json
import shutil
import struct
import warnings
import zlib
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from ghostpad.errors import Notice, UserError
from ghostpad.evaluation.reconstruction import structural_similarity
from ghostpad.frames import info as info_module
from ghostpad.frames.info import InfoConfig, info
from ghostpad.frames.ingest import IngestConfig, ingest, open_data
from ghostpad.frames.splits import find_originals, read_split_file
from ghostpad.labels.formats import features_metadata
from ghostpad.training.checkpoint import RunFolder, write_checkpoint
from ghostpad.training.tracking import Tracker
from input_rows import Rows, lengths, table
from recordings import noise, write_lerobot, write_minari, write_pngs, write_video
from test_sources_video import frames_of, read, turn, write

FAULTS = table("Files as people have them")
row = Rows()


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_as_people_have_it_gives_what_is_documented(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row.run(name, tmp_path=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def test_every_documented_fault_has_a_test() -> None:
    assert list(FAULTS) == list(row.cases)


def pngs(folder: Path, names: str, start: int = 0, count: int = 6) -> None:
    """Write frames `start` … of noise, six in all, under `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(noise(start + count, "palette")[start:], start):
        Image.fromarray(frame).save(folder / names.format(number))


@row("phone clips with a rotation in their header")
def rotated(tmp_path: Path) -> None:
    turn(write(tmp_path / "v.mp4", noise(3)), 0, 1, -1, 0)
    store, said = read(tmp_path / "v.mp4")
    assert np.array_equal(frames_of(store), np.stack([np.rot90(frame, -1) for frame in noise(3)]))
    assert "turned" in said[0]


@row("cuts without re-encoding (`ffmpeg -ss … -c copy`)")
def cut(tmp_path: Path) -> None:
    times = [100 * number - 500 for number in range(12)]
    path = write(tmp_path / "v.mp4", noise(12), times, muxer={"avoid_negative_ts": "disabled"})
    assert np.array_equal(frames_of(read(path)[0]), np.stack(noise(12)[5:]))


@row("GIFs and idle screen recordings that end with a pause")
def paused(tmp_path: Path) -> None:
    store, _ = read(write(tmp_path / "v.mkv", noise(6), [0, 100, 200, 300, 400, 9000]))
    assert store.episodes[0].num_frames == 6


@row("clips whose sound lasts longer than the picture")
def sound(tmp_path: Path) -> None:
    assert read(write(tmp_path / "v.mp4", noise(6), sound=4))[0].episodes[0].num_frames == 6


@row("screen recordings with uneven times")
def uneven(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mkv", noise(4), [0, 100, 500, 600])
    assert "unevenly spaced" in read(path)[1][0]
    assert read(path, out=tmp_path / "even", fps=10)[0].episodes[0].num_frames == 7


@row("files with several video tracks")
def tracks(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mkv", noise(3), tracks=2)
    assert "2 tracks" in read(path)[1][0]
    assert np.array_equal(frames_of(read(path, out=tmp_path / "b", track=2)[0]), 255 - np.stack(noise(3)))


@row("pixels that are not square, more than 8 bits, shared colours, transparency")
def kept_changed(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.mkv", noise(3), sar=Fraction(8, 9))
    write(tmp_path / "in" / "b.mkv", noise(3), codec="ffv1", pix_fmt="gbrp10le")
    write(tmp_path / "in" / "c.mkv", noise(3), codec="ffv1", pix_fmt="yuv420p")
    clear = [Image.fromarray(np.dstack([frame, frame[..., 0] // 128 * 255])) for frame in noise(3)]
    clear[0].save(tmp_path / "in" / "d.gif", save_all=True, append_images=clear[1:], duration=100)
    said = " ".join(read(tmp_path / "in")[1])
    assert all(part in said for part in ("not square", "10-bit", "yuv420p", "transparent"))


@row("GIFs with transparent pixels")
def transparent_gif(tmp_path: Path) -> None:
    pictures = np.zeros((4, 24, 32, 3), np.uint8)
    for number, picture in enumerate(pictures):
        picture[4:9, 5 * number : 5 * number + 8] = 200, 60, 20
    first, *rest = [Image.fromarray(np.dstack([each, each.max(2) // 200 * 255])) for each in pictures]
    first.save(tmp_path / "t.gif", save_all=True, append_images=rest, duration=100, disposal=2)
    store, said = read(tmp_path / "t.gif")
    assert np.array_equal(frames_of(store), pictures)
    assert "as black" in said[0]


@row("images with a colour profile other than sRGB")
def colour_profile(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = srgb.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
    store, said = read(write_pngs(tmp_path / "in", {"a": noise(3)}, icc_profile=wide))
    assert np.array_equal(frames_of(store), np.stack(noise(3)))
    assert "colour profile other than sRGB" in said[0]


@row("60 and 29.97 frames a second")
def rates(tmp_path: Path) -> None:
    for rate in (Fraction(60), Fraction(30000, 1001)):
        path = write_video(tmp_path / f"{rate.numerator}.mp4", noise(4), fps=rate)  # type: ignore[arg-type]
        assert read(path)[0].episodes[0].fps == rate


@row("names with a colon")
def colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "v.mp4", noise(3)).rename(tmp_path / "T12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert lengths(read(Path("T12:30.mp4"))[0]) == {"T12:30.mp4": 3}


@row("names that are not UTF-8")
def latin(tmp_path: Path) -> None:
    write_pngs(tmp_path / "in", {"Pok\udce9mon": noise(3)})
    assert lengths(read(tmp_path / "in")[0]) == {"Pok\\xe9mon": 3}


@row("videos of one frame")
def still(tmp_path: Path) -> None:
    for count in (1, 4):
        write_video(tmp_path / "in" / f"{count}.mp4", noise(count))
    with pytest.raises(UserError, match=r"1\.mp4: has a single frame"):
        read(tmp_path / "in")
    store, said = read(tmp_path / "in", on_bad="skip")
    assert lengths(store) == {"4.mp4": 4}
    assert "1.mp4 was left out" in said[0]


@row("PNGs with a large colour profile or text")
def profile(tmp_path: Path) -> None:
    pngs(tmp_path / "in" / "a", "{}.png")
    body = b"iCCPp\0\0" + zlib.compress(bytes(2_000_000))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    for path in (tmp_path / "in" / "a").iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:33] + chunk + data[33:])
    assert np.array_equal(frames_of(read(tmp_path / "in")[0]), np.stack(noise(6, "palette")))


@row("frames named `frame_0001.png`, `000001.jpg` or `1.PNG`, or every fourth one")
def names(tmp_path: Path) -> None:
    for number, pattern in enumerate(("frame_{:04d}.png", "{}.PNG", "img-{}.bmp")):
        pngs(tmp_path / "in" / str(number), pattern)
    pngs(tmp_path / "in" / "steps", "{}.png")
    for path in sorted((tmp_path / "in" / "steps").iterdir()):
        path.rename(path.with_name(f"{4 * int(path.stem):05d}.png"))
    store, said = read(tmp_path / "in")
    for episode in range(4):
        assert np.array_equal(frames_of(store, episode), np.stack(noise(6, "palette")))
    assert len(said) == 1
    assert "numbered in steps" in said[0]
    pngs(tmp_path / "jpeg" / "a", "{:06d}.jpg")
    store, said = read(tmp_path / "jpeg")
    assert lengths(store) == {"a": 6}
    assert "JPEG" in said[0]


@row("episodes whose frames are named in two ways")
def two_names(tmp_path: Path) -> None:
    pngs(tmp_path / "in" / "a", "{}.png", count=4)
    pngs(tmp_path / "in" / "a", "frame_{}.png", start=4, count=2)
    with pytest.raises(UserError, match=r"frame_4\.png: and 1 more are named unlike 0\.png"):
        read(tmp_path / "in")
    store, said = read(tmp_path / "in", on_bad="skip")
    assert lengths(store) == {"a": 4}
    assert "frame_4.png was left out" in said[0]


@row("other files between the frames")
def unused(tmp_path: Path) -> None:
    pngs(tmp_path / "in" / "a", "{}.png")
    for name in ("5 (1).png", "notes.txt"):
        (tmp_path / "in" / "a" / name).write_text("")
    store, said = read(tmp_path / "in")
    assert lengths(store) == {"a": 6}
    assert "5 (1).png and 1 more were not taken" in said[0]


@row("episodes below folders of classes")
def nested(tmp_path: Path) -> None:
    pngs(tmp_path / "in" / "one" / "a", "{}.png")
    write_video(tmp_path / "in" / "two" / "a.mp4", noise(4))
    assert lengths(read(tmp_path / "in")[0]) == {"one/a": 6, "two/a.mp4": 4}


@row("snapshots in the cache of the Hugging Face hub")
def hub(tmp_path: Path) -> None:
    plain = write_lerobot(tmp_path / "plain", [noise(4, seed=seed) for seed in range(3)])
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "0123", tmp_path / "hub" / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(path for path in sorted(plain.rglob("*")) if path.is_file()):
        link = snapshot / path.relative_to(plain)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(shutil.copyfile(path, blobs / str(number)))
    assert ingest(IngestConfig(snapshot)).fingerprint == ingest(IngestConfig(plain)).fingerprint
    away = snapshot.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="--follow-links"):
        ingest(IngestConfig(away))
    assert len(ingest(IngestConfig(away, follow_links=True)).episodes) == 3


@row("Minari datasets of fractions, channels first, or with transparency")
def minari(tmp_path: Path) -> None:
    frames = noise(4)
    kinds: dict[str, Any] = {
        "fractions": [(frame / 255).astype(np.float32) for frame in frames],
        "first": [frame.transpose(2, 0, 1) for frame in frames],
        "alpha": [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in frames],
    }
    for name, episode in kinds.items():
        path = write_minari(tmp_path / name, [episode] * 3, "arrow")
        metadata = json.loads((path / "data" / "metadata.json").read_text())
        space = {
            "type": "Box",
            "dtype": str(episode[0].dtype),
            "shape": episode[0].shape,
            "low": 0,
            "high": 1,
        }
        metadata["observation_space"] = json.dumps(space)
        (path / "data" / "metadata.json").write_text(json.dumps(metadata))
        assert np.array_equal(frames_of(read(path)[0]), np.stack(frames)), name


@row("csv and json with a byte-order mark, semicolons or tabs")
def spreadsheets(tmp_path: Path) -> None:
    expected = {"ep0": "train", "ep1": "validation", "ep2": "test"}
    plain = (
        "Episode,Split\r\n" + "".join(f'"{name}", {split}\r\n' for name, split in expected.items()) + ",\r\n"
    )
    for separator in ",;\t":
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            path = tmp_path / "split.csv"
            path.write_bytes(plain.replace(",", separator).encode(encoding))
            assert read_split_file(path) == expected
    pngs(tmp_path / "in" / "a", "{}.png")
    (tmp_path / "in" / "a" / "episode.json").write_text('{"controls": [0, 1, 0, 1, 0]}', encoding="utf-8-sig")
    controls = ingest(IngestConfig(tmp_path / "in")).controls(0)
    assert controls is not None
    assert controls.tolist() == [0, 1, 0, 1, 0]


@row("thousands of episodes that begin with the same frame")
def same_start() -> None:
    reads = []

    def frame(episode: int, number: int) -> bytes:
        reads.append(episode)
        return f"{episode if number > 1 else 0} {number}".encode()

    count = 2000
    assert find_originals(["start"] * count, [3] * count, frame) == list(range(count))
    assert len(reads) == count


@row("frames smaller than the window of SSIM")
def tiny() -> None:
    pair = np.zeros((2, 1, 4, 300), np.float32)
    assert np.isnan(structural_similarity(pair, pair)).all()


@row("folders that cannot be written")
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pngs(tmp_path / "in" / "a", "{}.png")
    store = ingest(IngestConfig(tmp_path / "in"))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(info_module.Image.Image, "save", refuse)
        info(InfoConfig(store.path))
    assert "6 of 48x32" in (said := capsys.readouterr().out)
    assert "--sheet" in said
    shutil.rmtree(store.path)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(UserError, match=r"ghostpad ingest .* --out STORE.* give --data STORE"):
        open_data(tmp_path / "in")


@row("a disk that is full at a checkpoint")
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match=r"last\.pt: cannot be written .*disk"):
        write_checkpoint(tmp_path / "last.pt", {})
    assert not list(tmp_path.iterdir())


@row("two trainings into one folder")
def two_trainings(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", True)
    first.prepare(resume=False, overwrite=False)
    with pytest.raises(UserError, match="is being written by another process"):
        RunFolder(tmp_path / "run", True).prepare(resume=True, overwrite=False)
    first.release()
    RunFolder(tmp_path / "run", True).prepare(resume=True, overwrite=False)


@row("a wandb or TensorBoard that fails, at the start or later")
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    for number, (kind, name, broken) in enumerate(
        (
            ("wandb", "wandb.init", fail),
            ("wandb", "wandb.init", lambda **_: SimpleNamespace(id="one", log=fail)),
            ("tensorboard", "torch.utils.tensorboard.SummaryWriter", fail),
            ("tensorboard", "torch.utils.tensorboard.SummaryWriter.add_scalar", fail),
            ("metrics.jsonl", "json.dumps", fail),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patched, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            patched.setattr(name, broken)
            tracker = Tracker(folder, "none" if kind == "metrics.jsonl" else kind, {}, 0, "test")
            for step in range(3):
                tracker.log(step, {"loss": 1.0})
                assert tracker.flush() == [(step, {"loss": 1.0})]
            tracker.close()
        messages = [str(each.message) for each in caught if each.category is Notice]
        assert messages == [f"{kind} fails (ConnectionError: no network); the run continues without it"]
        if kind != "metrics.jsonl":
            assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3


@row("pictures in exports that come back as palette indices")
def exported_pictures() -> None:
    import pyarrow as pa

    images = pa.schema({"frame": pa.struct({"bytes": pa.binary(), "path": pa.string()})})
    described = json.loads(features_metadata(images)[b"huggingface"])["info"]["features"]
    assert described == {"frame": {"_type": "Image", "mode": "RGB"}}
