"""Videos, LeRobot and Minari datasets: the store holds exactly their pixels and controls."""

from pathlib import Path

import numpy as np
import pytest

from ghostpad.errors import UserError
from ghostpad.frames.ingest import IngestConfig, ingest, open_data
from ghostpad.frames.store import FrameStore
from recordings import noise, write_lerobot, write_lerobot_v2, write_minari, write_pngs, write_video


def check(store: FrameStore, name: str, frames: list[np.ndarray]) -> None:
    index = [episode.name for episode in store.episodes].index(name)
    rgb = np.stack([np.dstack([frame] * 3) if frame.ndim == 2 else frame for frame in frames])
    read = store.read(index, np.arange(store.episodes[index].num_frames), grayscale=False)
    assert np.array_equal(read, rgb.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("kind", ["palette", "rgb", "gray"])
def test_lossless_videos_are_bit_exact(kind: str, suffix: str, tmp_path: Path) -> None:
    if (kind, suffix) == ("gray", ".mp4"):
        pytest.skip("FFV1 does not go into mp4")
    episodes = {f"v{seed}{suffix}": noise(7, kind, seed) for seed in range(3)}
    for name, frames in episodes.items():
        write_video(tmp_path / "in" / name, frames)
    store = open_data(tmp_path / "in")
    assert store.encoding == kind
    assert [episode.name for episode in store.episodes] == list(episodes)
    for name, frames in episodes.items():
        check(store, name, frames)


@pytest.mark.parametrize("name", ["v.mp4", "v.webm"])
def test_subsampled_colours_are_warned_about(name: str, tmp_path: Path) -> None:
    write_video(tmp_path / "in" / name, noise(12), lossy=True)
    with pytest.warns(UserWarning, match="yuv420p"):
        store = ingest(IngestConfig(tmp_path / "in"))
    assert store.episodes[0].num_frames == 12


def test_a_gif_is_bit_exact(tmp_path: Path) -> None:
    flat = [np.full((32, 48, 3), value, np.uint8) for value in (0, 255, 0, 255)]
    write_video(tmp_path / "v.gif", flat, fps=10)
    check(ingest(IngestConfig(tmp_path / "v.gif")), "v.gif", flat)


def test_episode_seconds_splits_a_long_video(tmp_path: Path) -> None:
    frames = noise(95, "palette")
    source = write_video(tmp_path / "long.mp4", frames, fps=10)
    whole = ingest(IngestConfig(source))
    assert [episode.num_frames for episode in whole.episodes] == [95]
    cut = ingest(IngestConfig(source, tmp_path / "cut", episode_seconds=3))
    assert [episode.num_frames for episode in cut.episodes] == [30, 30, 30, 5]
    assert [episode.name for episode in cut.episodes] == [
        "long.mp4",
        "long.mp4@30",
        "long.mp4@60",
        "long.mp4@90",
    ]
    assert {episode.split for episode in cut.episodes} == {"train", "validation", "test"}
    check(cut, "long.mp4@60", frames[60:90])


def test_scene_cut_splits_a_video_at_hard_cuts(tmp_path: Path) -> None:
    dark, bright = [[frame // 8 + low for frame in noise(20, "gray")] for low in (0, 200)]
    source = write_video(tmp_path / "v.mkv", [*dark, *bright, *dark])
    store = ingest(IngestConfig(source, scene_cut=0.3))
    assert [episode.num_frames for episode in store.episodes] == [20, 20, 20]
    check(store, "v.mkv@20", bright)


@pytest.mark.parametrize(
    ("fps", "kept"), [(10, range(0, 60, 3)), (15, range(0, 60, 2)), (30, range(60)), (90, range(60))]
)
def test_fps_keeps_evenly_spaced_frames(fps: float, kept: range, tmp_path: Path) -> None:
    frames = noise(60, "palette")
    store = ingest(IngestConfig(write_video(tmp_path / "v.mkv", frames, fps=30), fps=fps))
    check(store, "v.mkv", [frames[number] for number in kept])


def test_video_options_are_refused_for_png_episodes_and_when_not_positive(tmp_path: Path) -> None:
    source = write_pngs(tmp_path / "in", {"e": noise()})
    with pytest.raises(UserError, match="--fps"):
        ingest(IngestConfig(source, fps=10))
    with pytest.raises(UserError, match=r"--episode-seconds -1"):
        ingest(IngestConfig(source, episode_seconds=-1))


def test_videos_and_png_episodes_may_share_a_folder(tmp_path: Path) -> None:
    source = write_pngs(tmp_path / "in", {"a": noise(4, seed=1), "c": noise(4, seed=3)})
    write_video(source / "b.mp4", noise(4, seed=2))
    store = ingest(IngestConfig(source))
    assert [episode.name for episode in store.episodes] == ["a", "b.mp4", "c"]
    check(store, "b.mp4", noise(4, seed=2))


@pytest.mark.parametrize("dtype", ["video", "image"])
@pytest.mark.parametrize("kind", ["palette", "rgb"])
def test_lerobot_datasets_are_bit_exact_with_their_controls(kind: str, dtype: str, tmp_path: Path) -> None:
    episodes = [noise(6 + seed, kind, seed) for seed in range(4)]
    store = open_data(write_lerobot(tmp_path / "in", episodes, dtype=dtype))
    assert store.encoding == kind
    for index, frames in enumerate(episodes):
        check(store, f"episode_{index:06d}", frames)
        controls = store.controls(index)
        assert controls is not None
        assert controls.tolist() == [(index + number) % 4 for number in range(len(frames) - 1)]
        assert store.control_names(index) == ["NOOP", "FIRE", "RIGHT", "LEFT"]


def test_lerobot_with_two_cameras_asks_which(tmp_path: Path) -> None:
    source = write_lerobot(tmp_path / "in", [noise()] * 3, cameras=2)
    with pytest.raises(UserError, match=r"--camera: observation\.images\.view0, observation\.images\.view1"):
        ingest(IngestConfig(source))
    assert len(ingest(IngestConfig(source, camera="observation.images.view1")).episodes) == 3


def test_lerobot_datasets_of_another_version_are_refused(tmp_path: Path) -> None:
    source = write_lerobot(tmp_path / "in", [noise()])
    info = source / "meta" / "info.json"
    info.write_text(info.read_text().replace("v3.0", "v2.1"))
    with pytest.raises(UserError, match=r"v2\.1.*convert"):
        ingest(IngestConfig(source))


@pytest.mark.parametrize("kind", ["hdf5", "hdf5-dict", "arrow", "parquet"])
@pytest.mark.parametrize("pixels", ["palette", "rgb", "gray"])
def test_minari_datasets_are_bit_exact_with_their_controls(kind: str, pixels: str, tmp_path: Path) -> None:
    if kind.startswith("hdf5"):
        pytest.importorskip("h5py")
    episodes = [noise(5 + seed, pixels, seed) for seed in range(11)]
    store = open_data(write_minari(tmp_path / "in", episodes, kind))
    assert store.encoding == pixels
    assert [episode.name for episode in store.episodes] == [f"episode_{index}" for index in range(11)]
    for index, frames in enumerate(episodes):
        check(store, f"episode_{index}", frames)
        controls = store.controls(index)
        assert controls is not None
        assert controls.tolist() == (np.arange(len(frames) - 1) % 4).tolist()


BUTTONS = {"w": [0, 1, 0, 1], "space": [0, 0, 1, 1]}
HELD = [set(), {"w"}, {"space"}, {"w", "space"}]


def held(store: FrameStore, episode: int) -> list[set[str]]:
    controls, names = store.controls(episode), store.control_names(episode)
    assert controls is not None and names is not None
    return [set(names[control].split("+")) - {"NOOP"} for control in controls]


@pytest.mark.parametrize("version", [2, 3])
def test_vectors_of_buttons_in_lerobot_datasets_are_controls_with_names(version: int, tmp_path: Path) -> None:
    write = write_lerobot if version == 3 else write_lerobot_v2
    vectors = [[float(column[number]) for column in BUTTONS.values()] for number in range(4)]
    source = write(tmp_path / "in", [noise(6)] * 3, actions=vectors, names=[*BUTTONS])
    store = ingest(IngestConfig(source))
    assert held(store, 1) == (HELD[1:] + HELD)[:5]


@pytest.mark.parametrize("kind", ["hdf5", "arrow", "parquet"])
@pytest.mark.parametrize("is_dict", [True, False], ids=["dict", "vector"])
def test_combined_buttons_in_minari_datasets_are_controls(kind: str, is_dict: bool, tmp_path: Path) -> None:
    actions = {name: np.resize(values, 6) for name, values in BUTTONS.items()}
    vectors = np.stack([*actions.values()], 1)
    source = write_minari(tmp_path / "in", [noise(7)] * 3, kind, actions=actions if is_dict else vectors)
    names = dict(zip("01", BUTTONS, strict=True))
    found = [{names.get(name, name) for name in each} for each in held(ingest(IngestConfig(source)), 2)]
    assert found == (HELD * 2)[:6]


def test_continuous_actions_of_datasets_are_named_in_a_notice(tmp_path: Path) -> None:
    vectors = [[0.5 * number, 0.25] for number in range(4)]
    robot = write_lerobot(tmp_path / "robot", [noise(6)] * 3, actions=vectors)
    minari = write_minari(tmp_path / "minari", [noise(5)] * 3, "arrow", actions=np.array(vectors))
    for source in (robot, minari):
        with pytest.warns(UserWarning, match=r"actions are continuous \(2 numbers each\); they are not kept"):
            store = ingest(IngestConfig(source))
        assert store.controls(0) is None


def test_jpeg_images_in_minari_datasets_are_warned_about(tmp_path: Path) -> None:
    flat = [np.full((32, 48, 3), value, np.uint8) for value in (10, 60, 200)]
    with pytest.warns(UserWarning, match="JPEG"):
        store = ingest(IngestConfig(write_minari(tmp_path / "in", [flat] * 3, "parquet", jpeg=True)))
    assert abs(store.read(0, np.array([2]), grayscale=True).astype(int) - 200).max() < 3
