"""Videos as people have them: cut, turned, with pauses, sound and several tracks; complete or truncated."""

import struct
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from ghostpad.errors import UserError
from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.frames.store import FrameStore
from recordings import noise, write_video

MILLISECOND = Fraction(1, 1000)


def write(path: Path, frames: list[np.ndarray], times: list[int] | None = None, **options: Any) -> Path:
    """Write a lossless video of frames at `times` (milliseconds, 100 apart when None).

    Options: `sound` (seconds), `tracks`, `sar`, `pix_fmt` and `codec`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    times = [100 * number for number in range(len(frames))] if times is None else times
    with av.open(str(path), "w", options=options.get("muxer", {})) as file:
        streams = []
        for _ in range(options.get("tracks", 1)):
            stream = file.add_stream(
                options.get("codec", "libx264rgb"), rate=10, options={"qp": "0", "bf": "0"}
            )
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = options.get("pix_fmt", "rgb24")
            stream.time_base = stream.codec_context.time_base = MILLISECOND
            if "sar" in options:
                stream.codec_context.sample_aspect_ratio = options["sar"]
            streams.append(stream)
        sound = (
            file.add_stream("aac" if path.suffix == ".mp4" else "libopus", rate=48_000)
            if "sound" in options
            else None
        )
        for track, stream in enumerate(streams):
            for frame, time in zip(frames, times, strict=True):
                picture = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(frame if track == 0 else 255 - frame)
                )
                picture.pts, picture.time_base = time, MILLISECOND
                file.mux(stream.encode(picture))
            file.mux(stream.encode())
        for part in range(int(options.get("sound", 0) * 10)):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
            samples.pts, samples.sample_rate, samples.time_base = part * 4800, 48_000, Fraction(1, 48_000)
            file.mux(sound.encode(samples))
        if sound is not None:
            file.mux(sound.encode())
    return path


def read(path: Path, **options: Any) -> tuple[FrameStore, list[str]]:
    """The store of a recording, and what the ingest said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        store = ingest(IngestConfig(path, **options))
    return store, [str(each.message) for each in said if issubclass(each.category, UserWarning)]


def frames_of(store: FrameStore, episode: int = 0) -> np.ndarray:
    return store.read(episode, slice(None), grayscale=False).transpose(0, 2, 3, 1)


def turn(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into the header of an mp4."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), lambda frame: np.rot90(frame)),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),
    ],
)
def test_rotation_and_mirroring_are_applied(
    matrix: tuple[int, int, int, int], shown: Any, tmp_path: Path
) -> None:
    frames = noise(3)
    turn(write(tmp_path / "v.mp4", frames), *matrix)
    store, said = read(tmp_path / "v.mp4")
    assert np.array_equal(frames_of(store), np.stack([shown(frame) for frame in frames]))
    assert len(said) == 1
    assert "turned" in said[0]


def test_a_lossless_cut_keeps_the_frames_of_its_edit_list(tmp_path: Path) -> None:
    frames = noise(12, "palette")
    path = write(
        tmp_path / "v.mp4",
        frames,
        [100 * n - 500 for n in range(12)],
        muxer={"avoid_negative_ts": "disabled"},
    )
    store, said = read(path)
    assert np.array_equal(frames_of(store), np.stack(frames[5:]))
    assert not said


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.webm"])
def test_sound_may_last_longer_than_the_picture(name: str, tmp_path: Path) -> None:
    options = {"codec": "libvpx-vp9", "pix_fmt": "gbrp"} if name == "v.webm" else {}
    path = write(tmp_path / name, noise(6), sound=4, **options)
    store, said = read(path)
    assert [episode.num_frames for episode in store.episodes] == [6]
    assert not said
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(UserError, match=r"ends after|truncated|not a readable video|cannot be decoded"):
        read(path, out=tmp_path / "other")


@pytest.mark.parametrize("disposal", [1, 2])
def test_transparent_pixels_of_a_gif_show_the_frames_before_and_else_black(disposal, tmp_path):
    pictures = np.zeros((3, 24, 32, 4), np.uint8)
    for number, color in enumerate([(200, 60, 20), (20, 90, 200), (250, 250, 40)]):
        pictures[number, 8:16, 6 * number : 6 * number + 9] = (*color, 255)
    first, *rest = map(Image.fromarray, pictures)
    first.save(tmp_path / "t.gif", save_all=True, append_images=rest, duration=100, disposal=disposal)
    with Image.open(tmp_path / "t.gif") as shown:
        expected = [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(shown)]
    with pytest.warns(UserWarning, match="stored as black"):
        store = ingest(IngestConfig(tmp_path / "t.gif"))
    found = store.read(0, slice(None), False).transpose(0, 2, 3, 1)
    for picture, rgba in zip(found, expected, strict=True):
        assert np.array_equal(picture, rgba[..., :3] * (rgba[..., 3:] > 0))
    is_first = (found[1] == found[0]).all(-1) & found[0].any(-1)
    assert is_first.any() == (disposal == 1), "the frame before stays, or is taken away"


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.gif"])
def test_a_pause_at_the_end_is_no_missing_picture(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "v.gif":
        from PIL import Image

        first, *rest = (Image.fromarray(frame).quantize(64) for frame in noise(6, "palette"))
        first.save(path, save_all=True, append_images=rest, duration=[100] * 5 + [3000])
    else:
        write(path, [*noise(6), noise(6)[-1]], [0, 100, 200, 300, 400, 500, 9000])
    store, said = read(path)
    assert store.episodes[0].num_frames == (6 if name == "v.gif" else 7)
    assert len(said) == (name != "v.gif")
    data = path.read_bytes()
    for share in (0.5, 0.97):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(UserError, match=r"ends after|truncated|not a readable video|cannot be decoded"):
            read(path, out=tmp_path / "other")


def test_uneven_times_are_said_and_fps_resamples_by_time(tmp_path: Path) -> None:
    frames = noise(6, "palette")
    path = write(tmp_path / "v.mkv", frames, [0, 100, 200, 600, 700, 900])
    store, said = read(path)
    assert np.array_equal(frames_of(store), np.stack(frames))
    assert [text.partition(":")[0] for text in said] == ["v.mkv"]
    assert "0.100 to 0.400 s apart" in said[0]
    store, said = read(path, out=tmp_path / "even", fps=10)
    shown = [frames[index] for index in (0, 1, 2, 2, 2, 2, 3, 4, 4, 5)]
    assert np.array_equal(frames_of(store), np.stack(shown))
    assert (store.episodes[0].fps, said) == (10, [])


def test_of_several_tracks_one_is_taken_and_said(tmp_path: Path) -> None:
    frames = noise(4)
    path = write(tmp_path / "v.mkv", frames, tracks=2)
    store, said = read(path)
    assert np.array_equal(frames_of(store), np.stack(frames))
    assert "2 tracks" in said[0]
    store, said = read(path, out=tmp_path / "second", track=2)
    assert np.array_equal(frames_of(store), 255 - np.stack(frames))
    assert not said
    with pytest.raises(UserError, match=r"v\.mkv: has 2 tracks of pictures, no track 3"):
        read(path, out=tmp_path / "third", track=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sar": Fraction(8, 9)}, ["not square (8:9)"]),
        ({"codec": "ffv1", "pix_fmt": "gbrp10le"}, ["10-bit"]),
        ({"codec": "ffv1", "pix_fmt": "yuv422p"}, ["yuv422p"]),
        ({"codec": "ffv1", "pix_fmt": "yuva444p"}, []),
    ],
)
def test_what_a_store_does_not_keep_of_a_stream_is_said_once(
    options: dict[str, Any], said: list[str], tmp_path: Path
) -> None:
    for name in ("a.mkv", "b.mkv"):
        write(tmp_path / "in" / name, noise(3), **options)
    store, heard = read(tmp_path / "in")
    assert [part in text for part, text in zip(said, heard, strict=True)] == [True] * len(said)
    assert list(store.notices) == heard


@pytest.mark.parametrize(
    ("fps", "rate"), [(60, 60), (Fraction(30000, 1001), Fraction(30000, 1001)), (12.5, 12.5)]
)
def test_frame_rates_of_videos_are_exact(fps: Any, rate: Any, tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", noise(5), fps=Fraction(fps))  # type: ignore[arg-type]
    assert FrameStore.open(read(path)[0].path).episodes[0].fps == rate


def test_names_with_a_colon_or_without_utf8_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_video(tmp_path / "in" / "v.mp4", noise(3))
    (source.parent / "Pok\udce9mon.mp4").write_bytes(source.read_bytes())
    source.rename(source.with_name("2024-01-01T12:30:00.mp4"))
    monkeypatch.chdir(source.parent)
    store, said = read(Path(), out=tmp_path / "store")
    assert [episode.name for episode in store.episodes] == ["2024-01-01T12:30:00.mp4", "Pok\\xe9mon.mp4"]
    assert not said
    assert read(Path("2024-01-01T12:30:00.mp4"), out=tmp_path / "one")[0].episodes[0].num_frames == 3
