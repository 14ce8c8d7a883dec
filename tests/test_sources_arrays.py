"""NumPy, HDF5 and Zarr files, written by their own libraries: the store holds their pixels and actions."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostpad.errors import UserError
from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.frames.store import FrameStore
from recordings import noise
from test_sources_formats import check

KINDS = ["npz", "npz-compressed", "npy", "hdf5", "zarr", "zarr.zip"]


def write(path: Path, kind: str, arrays: dict[str, Any]) -> Path:
    """Write arrays with the library of the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind.startswith("npz"):
        path = path.with_suffix(".npz")
        (np.savez_compressed if "compressed" in kind else np.savez)(path, **arrays)
    elif kind == "npy":
        path.mkdir()
        for name, values in arrays.items():
            np.save(path / f"{name.rpartition('/')[2]}.npy", values)
    elif kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        path = path.with_suffix(".hdf5")
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                compression = "gzip" if np.ndim(values) else None
                file.create_dataset(name, data=values, compression=compression)
    else:
        zarr = pytest.importorskip("zarr")
        path = path.with_name(f"{path.name}.{kind}")
        store = zarr.storage.ZipStore(path, mode="w") if kind.endswith("zip") else path
        group = zarr.open_group(store, mode="w", zarr_format=2)
        for name, values in arrays.items():
            chunks = (7, *values.shape[1:])
            group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks)[:] = values
        if kind.endswith("zip"):
            store.close()
    return path


def controls_of(store: FrameStore, index: int = 0) -> list[int] | None:
    controls = store.controls(index)
    return None if controls is None else controls.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixels", ["palette", "rgb", "gray"])
def test_an_array_of_frames_is_bit_exact_with_its_actions(kind: str, pixels: str, tmp_path: Path) -> None:
    frames = noise(20, pixels)
    path = write(tmp_path / "e", kind, {"frames": np.stack(frames), "actions": np.arange(20) % 5})
    store = ingest(IngestConfig(path))
    assert store.encoding == pixels
    check(store, store.episodes[0].name, frames)
    assert controls_of(store) == [number % 5 for number in range(19)]
    assert store.control_names(0) == list("01234")


@pytest.mark.parametrize("kind", KINDS)
def test_done_flags_split_an_array_into_episodes(kind: str, tmp_path: Path) -> None:
    frames, done = noise(20), np.zeros(20, bool)
    done[[5, 13, 18, 19]] = True  # flags that stay on to the end are one end
    arrays = {"obs": np.stack(frames), "action": np.arange(20), "terminals": done}
    store = ingest(IngestConfig(write(tmp_path / "e", kind, arrays)))
    assert [episode.num_frames for episode in store.episodes] == [6, 8, 6]
    check(store, store.episodes[1].name, frames[6:14])
    assert controls_of(store, 1) == list(range(6, 13))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("is_first", np.isin(np.arange(20), (0, 6, 14)).astype(np.uint8)),
        ("episode_ends", [6, 14, 20]),
        ("episode_lengths", [6, 8, 6]),
        ("episode_id", np.repeat([4, 5, 9], [6, 8, 6])),
        ("episode_starts", [0, 6, 14]),
        ("timeouts", np.isin(np.arange(19), (4, 12))),  # one for each transition
    ],
)
def test_episodes_are_split_by_whatever_says_where_they_begin(name: str, values: Any, tmp_path: Path) -> None:
    arrays = {"data/img": np.stack(noise(20)), f"meta/{name}": np.asarray(values)}
    store = ingest(IngestConfig(write(tmp_path / "e", "hdf5", arrays)))
    assert [episode.num_frames for episode in store.episodes] == [6, 8, 6]


@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_a_group_per_trajectory_is_an_episode_each(kind: str, tmp_path: Path) -> None:
    episodes = [noise(5 + seed, seed=seed) for seed in range(11)]
    arrays = {}
    for index, frames in enumerate(episodes):
        arrays[f"data/demo_{index}/obs/agentview_image"] = np.stack(frames)
        arrays[f"data/demo_{index}/obs/joint_pos"] = np.ones((len(frames), 7), np.float32)
        arrays[f"data/demo_{index}/actions"] = np.arange(len(frames)) % 3
        arrays[f"data/demo_{index}/dones"] = np.arange(len(frames)) >= len(frames) - 3
    path = write(tmp_path / "e", kind, arrays)
    store = ingest(IngestConfig(path))
    assert [episode.name for episode in store.episodes] == [f"{path.name}/data/demo_{i}" for i in range(11)]
    for index, frames in enumerate(episodes):
        check(store, store.episodes[index].name, frames)
        assert controls_of(store, index) == [number % 3 for number in range(len(frames) - 1)]


@pytest.mark.parametrize(
    "order", ["chw", "gray1", "float", "float-chw", "int64", "stack", "stack-chw", "batch"]
)
def test_channel_order_type_and_stacks_are_recognized(order: str, tmp_path: Path) -> None:
    frames = noise(12)
    whole = np.stack(frames)
    stacked = np.stack([np.clip(np.arange(12) - back, 0, None) for back in (3, 2, 1, 0)], -1)
    grays = whole[..., 0]
    arrays, expected = {
        "chw": (whole.transpose(0, 3, 1, 2), frames),
        "gray1": (whole[..., :1], list(grays)),
        "float": (whole / np.float32(255), frames),
        "float-chw": ((whole / np.float32(255)).transpose(0, 3, 1, 2), frames),
        "int64": (whole.astype(np.int64), frames),
        "stack": (grays[stacked].transpose(0, 2, 3, 1), list(grays)),
        "stack-chw": (grays[stacked], list(grays)),
        "batch": (whole.reshape(2, 6, *whole.shape[1:]), frames),
    }[order]
    path = write(tmp_path / "e", "npz", {"observations": arrays})
    with pytest.warns(UserWarning, match="scaled") if order.startswith("float") else nullcontext():
        store = ingest(IngestConfig(path))
    if order == "batch":
        assert [episode.num_frames for episode in store.episodes] == [6, 6]
        check(store, "e.npz@6", frames[6:])
    else:
        check(store, "e.npz", expected)


def test_actions_in_batches_follow_their_frames(tmp_path: Path) -> None:
    frames = np.stack(noise(12)).reshape(2, 6, 32, 48, 3)
    for width in (6, 5):
        actions = np.arange(2 * width).reshape(2, width)
        arrays = {"frames": frames, "actions": actions}
        store = ingest(IngestConfig(write(tmp_path / f"e{width}", "npz", arrays)))
        assert [controls_of(store, 0), controls_of(store, 1)] == [row[:5].tolist() for row in actions]


@pytest.mark.parametrize(
    ("actions", "controls", "names"),
    [
        (np.eye(4)[[2, 0, 3, 1]], [2, 0, 3], ["0", "1", "2", "3"]),
        (np.array([[0, 0], [1, 1], [0, 1], [0, 0]], bool), [2, 3, 1], ["0", "1", "NOOP", "0+1"]),
        (np.array([1.0, 2.0, 0.0, 1.0]), [1, 2, 0], ["0", "1", "2"]),
        (np.array([[3], [1], [2], [0]]), [3, 1, 2], ["0", "1", "2", "3"]),
        (np.array(["left", "right", "left", "fire"]), [0, 1, 0], ["left", "right", "fire"]),
    ],
)
def test_actions_of_every_form_become_controls(
    actions: np.ndarray, controls: list[int], names: list[str], tmp_path: Path
) -> None:
    arrays = {"frames": np.stack(noise(4)), "actions": actions}
    store = ingest(IngestConfig(write(tmp_path / "e", "npz", arrays)))
    assert (controls_of(store), store.control_names(0)) == (controls, names)


def test_episodes_with_their_own_names_of_controls_share_one_numbering(tmp_path: Path) -> None:
    for name, actions in {"a": ["up", "down", "up"], "b": ["down", "left", "down"], "c": ["up"] * 3}.items():
        arrays = {"frames": np.stack(noise(3)), "actions": np.array(actions)}
        write(tmp_path / "in" / name, "npz", arrays)
    store = ingest(IngestConfig(tmp_path / "in"))
    assert [controls_of(store, index) for index in range(3)] == [[0, 1], [1, 2], [0, 0]]
    assert all(store.control_names(index) == ["up", "down", "left"] for index in range(3))


def test_continuous_actions_are_not_kept_and_said_so(tmp_path: Path) -> None:
    arrays = {"frames": np.stack(noise(4)), "actions": np.full((4, 7), 0.3)}
    with pytest.warns(UserWarning, match=r"actions are continuous \(7 numbers each\); they are not kept"):
        store = ingest(IngestConfig(write(tmp_path / "e", "npz", arrays)))
    assert store.controls(0) is None


def test_two_cameras_ask_for_a_key(tmp_path: Path) -> None:
    arrays = {f"observations/images/cam_{name}": np.stack(noise(4)) for name in ("high", "low")}
    path = write(tmp_path / "e", "hdf5", {**arrays, "action": np.arange(4)})
    with pytest.raises(UserError, match=r"cam_high uint8\[4, 32, 48, 3\].*choose one with --frames-key"):
        ingest(IngestConfig(path))
    store = ingest(IngestConfig(path, frames_key="cam_low"))
    assert controls_of(store) == [0, 1, 2]
    with pytest.raises(UserError, match="--frames-key nowhere: there is no such array"):
        ingest(IngestConfig(path, frames_key="nowhere"))


def test_numbered_arrays_of_a_picture_each_are_frames(tmp_path: Path) -> None:
    frames = noise(12)
    arrays = {f"frame_{number}_x": frame for number, frame in enumerate(frames)}
    arrays |= {f"frame_{number}_y": np.eye(5)[number % 5] for number in range(12)}
    path = write(tmp_path / "e", "hdf5", arrays)
    store = ingest(IngestConfig(path, actions_key="frame_#_y"))
    check(store, "e.hdf5", frames)
    assert controls_of(store) == [number % 5 for number in range(11)]


def test_encoded_images_in_hdf5_are_decoded(tmp_path: Path) -> None:
    import io

    from PIL import Image

    h5py = pytest.importorskip("h5py")
    frames, files = noise(4), []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, format="PNG")
        files.append(np.frombuffer(buffer.getvalue(), np.uint8))
    with h5py.File(tmp_path / "e.h5", "w") as file:
        rows = file.create_dataset("images", 4, h5py.vlen_dtype(np.uint8))
        for number, data in enumerate(files):
            rows[number] = data
    check(ingest(IngestConfig(tmp_path / "e.h5")), "e.h5", frames)
    longest = max(map(len, files))
    padded = np.stack([np.pad(data, (0, longest - len(data))) for data in files])
    check(ingest(IngestConfig(write(tmp_path / "p", "npz", {"images": padded}))), "p.npz", frames)


def test_frames_without_borders_are_split_by_time_or_scene_cuts(tmp_path: Path) -> None:
    dark, bright = np.zeros((2, 9, 32, 48), np.uint8)
    bright += 200
    path = write(tmp_path / "e", "npz", {"frames": np.concatenate([dark, bright])})
    assert [e.num_frames for e in ingest(IngestConfig(path, tmp_path / "a", scene_cut=0.3)).episodes] == [
        9,
        9,
    ]
    with pytest.raises(UserError, match=r"does not say how many frames a second.*--fps"):
        ingest(IngestConfig(path, tmp_path / "b", episode_seconds=2))
    store = ingest(IngestConfig(path, tmp_path / "b", episode_seconds=2, fps=3))
    assert [episode.num_frames for episode in store.episodes] == [6, 6, 6]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"frames": np.array([{"a": 1}], object)}, "holds pickled Python objects"),
        ({"codes": np.zeros((9, 4), np.float32)}, r"holds no array of frames, but codes float32\[9, 4\]"),
        ({"frames": np.full((4, 32, 48, 3), 300)}, "holds values from 300 to 300"),
    ],
)
def test_arrays_that_are_no_frames_are_refused_in_one_line(
    arrays: dict[str, np.ndarray], reason: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(UserError, match=reason) as caught:
        ingest(IngestConfig(tmp_path / "e.npz"))
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_left_out_and_named(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "in" / f"e{index}", "npz", {"frames": np.stack(noise(40, seed=index))})
    path = tmp_path / "in" / "e1.npz"
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(UserError, match=r"e1\.npz.*cannot be read"):
        ingest(IngestConfig(tmp_path / "in"))
    store = ingest(IngestConfig(tmp_path / "in", on_bad="skip"))
    assert [episode.name for episode in store.episodes] == ["e0.npz", "e2.npz"]
    assert "e1.npz" in json.loads((store.path / "rejected.json").read_text())[0]["file"]


def test_missing_libraries_are_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "e", "hdf5", {"frames": np.stack(noise(4))})
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UserError, match=r"e\.hdf5: reading it needs h5py; install it with: pip install h5py"):
        ingest(IngestConfig(path))
