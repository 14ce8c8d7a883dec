"""Every row of the table "Recordings" in docs/inputs.md: the input, and the store that it becomes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.frames import ingest as ingest_module
from ghostpad.frames.ingest import IngestConfig, ingest, open_data
from ghostpad.frames.store import FrameStore
from ghostpad.sources.branches import Branches
from input_rows import RECORDINGS, Rows, lengths
from recordings import noise, write_lerobot, write_minari, write_pngs, write_video

row = Rows()


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_of_the_table_becomes_what_is_documented(
    name: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row.run(name, source=source, name=name, monkeypatch=monkeypatch)


def test_every_documented_recording_has_a_test() -> None:
    assert list(RECORDINGS) == list(row.cases)


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
def metadata_and_truth(source: Path) -> None:
    known = {"controls": [0, 1, 2, 3, 0], "rewards": [0] * 5, "lives": [5] * 6, "control_names": list("abcd")}
    (source / "b" / "episode.json").write_text(json.dumps(known))
    np.savez(source / "b" / "truth.npz", ball_x=np.arange(6))
    (source / "b" / "2.png").unlink()
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert lengths(store) == {"a": 6, "b": 2, "b@3": 3, "c": 6}
    parts = [(store.controls(index), store.truth(index)) for index in (1, 2)]
    found = [
        (controls.tolist(), truth["ball_x"].tolist())
        for controls, truth in parts
        if controls is not None and truth
    ]
    assert found == [([0], [0, 1]), ([3, 0], [3, 4, 5])]


@row("`branches.npz` beside the frames")
def branches(source: Path) -> None:
    frames = np.stack(noise(3 * 2, seed=5)).reshape(3, 2, 32, 48, 3)
    Branches(np.array([0, 2, 4]), frames).save(source / "b" / "branches.npz")
    store = ingest(IngestConfig(source))
    found = store.branches(1)
    assert found is not None
    assert store.branches(0) is None
    assert np.array_equal(found.frame_index, [0, 2, 4])
    assert np.array_equal(found.next_frames, frames)
    (source / "b" / "3.png").unlink()
    (source / "d").mkdir()
    for number, frame in enumerate(noise(2, "gray")):  # too many colours for a palette: all are written again
        Image.fromarray(frame).save(source / "d" / f"{number}.png")
    store = ingest(IngestConfig(source, on_bad="skip"))
    parts = [part for index in range(len(store.episodes)) if (part := store.branches(index)) is not None]
    assert [part.frame_index.tolist() for part in parts] == [[0], [0]]  # no branch spans the gap
    assert np.array_equal(parts[1].next_frames, frames[2:])
    resized = ingest(IngestConfig(source, source.parent / "small", on_bad="skip", height=16)).branches(1)
    assert resized is not None
    assert resized.next_frames.shape == (1, 2, 16, 24, 3)


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
    encode = ingest_module.encode_unit
    monkeypatch.setattr(
        ingest_module, "encode_unit", lambda task: read.append(task.unit.name) or encode(task)
    )
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


@row("user-defined splits")
def user_defined_splits(source: Path) -> None:
    path = source.parent / "splits.csv"
    path.write_text("episode,split\na,test\nb,train\nc,validation\n")
    store = ingest(IngestConfig(source, split_file=path))
    assert [episode.split for episode in store.episodes] == ["test", "train", "validation"]
    assert open_data(source).episodes == store.episodes, "later verbs must keep them"
    path.write_text("a,test\nb,train\n")
    with pytest.raises(UserError, match="no line for episode c"):
        ingest(IngestConfig(source, split_file=path))
    assert FrameStore.open(store.path).episodes == store.episodes
