"""Tables, shards, replay buffers and videos with actions, written by the libraries of the formats."""

import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.frames.ingest import IngestConfig, ingest
from recordings import noise, write_lerobot_v2, write_video
from test_sources_arrays import controls_of
from test_sources_formats import check

EPISODES = [noise(5 + seed, seed=seed) for seed in range(3)]


def png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()


def check_all(source: Path, **options: Any) -> None:
    """The store holds `EPISODES`, in order, with action (episode + frame) % 4."""
    store = ingest(IngestConfig(source, **options))
    assert [episode.num_frames for episode in store.episodes] == [len(frames) for frames in EPISODES]
    for index, frames in enumerate(EPISODES):
        check(store, store.episodes[index].name, frames)
        assert controls_of(store, index) == [(index + number) % 4 for number in range(len(frames) - 1)]


def rows() -> list[dict[str, Any]]:
    return [
        {"image": frame, "action": (index + number) % 4, "episode": index, "done": number == len(frames) - 1}
        for index, frames in enumerate(EPISODES)
        for number, frame in enumerate(frames)
    ]


@pytest.mark.parametrize("borders", ["episode", "done"])
@pytest.mark.parametrize("column", ["image", "array"])
def test_tables_that_datasets_writes_are_bit_exact(column: str, borders: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    image = datasets.Image() if column == "image" else datasets.Array3D((32, 48, 3), "uint8")
    features = {"image": image, "action": datasets.Value("int64"), "episode": datasets.Value("int64")}
    features["done"] = datasets.Value("bool")
    columns = {name: [row[name] for row in rows()] for name in features}
    if column == "image":
        columns["image"] = [Image.fromarray(frame) for frame in columns["image"]]
    del columns["done" if borders == "episode" else "episode"]
    table = datasets.Dataset.from_dict(columns, datasets.Features({name: features[name] for name in columns}))
    (tmp_path / "in" / "data").mkdir(parents=True)
    for shard in range(2):  # the second episode continues in the second file
        name = f"train-{shard:05d}-of-00002.parquet"
        table.shard(2, shard, contiguous=True).to_parquet(tmp_path / "in" / "data" / name)
    check_all(tmp_path / "in")
    table.save_to_disk(tmp_path / "disk")
    check_all(tmp_path / "disk")


def test_a_row_with_a_list_of_images_is_an_episode(tmp_path: Path) -> None:
    table = [
        {
            "frames": [{"bytes": png(frame), "path": None} for frame in frames],
            "actions": [(index + number) % 4 for number in range(len(frames) - index % 2)],
        }
        for index, frames in enumerate(EPISODES)
    ]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "e.parquet")
    check_all(tmp_path / "e.parquet")


def test_a_table_whose_actions_are_missing_in_a_row_is_named(tmp_path: Path) -> None:
    frames = [{"bytes": png(frame), "path": None} for frame in EPISODES[0]]
    table = [{"frames": frames, "actions": actions} for actions in ([1] * len(frames), None)]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "e.parquet")
    with pytest.raises(UserError, match="actions that cannot be read"):
        ingest(IngestConfig(tmp_path / "e.parquet"))


def test_tables_with_mixed_episodes_or_several_images_are_refused(tmp_path: Path) -> None:
    encoded = [{**row, "image": png(row["image"])} for row in rows()]
    pq.write_table(pa.Table.from_pylist(encoded[::2] + encoded[1::2]), tmp_path / "mixed.parquet")
    with pytest.raises(UserError, match="mixes episodes: sort its rows by episode"):
        ingest(IngestConfig(tmp_path / "mixed.parquet"))
    two = [{"left": row["image"], "right": row.pop("image"), **row} for row in encoded]
    pq.write_table(pa.Table.from_pylist(two), tmp_path / "two.parquet")
    with pytest.raises(UserError, match=r"left, right; choose one with --frames-key"):
        ingest(IngestConfig(tmp_path / "two.parquet"))
    check_all(tmp_path / "two.parquet", frames_key="right")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    with pytest.raises(UserError, match="holds no column of images, but text"):
        ingest(IngestConfig(tmp_path / "text.parquet"))


@pytest.mark.parametrize("names", ["{0}/{1:06d}", "ep{0}_{1:06d}", "{2:06d}"])
def test_shards_that_webdataset_writes_are_bit_exact(names: str, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    (tmp_path / "in").mkdir()
    counts = [len(frames) for frames in EPISODES]
    with webdataset.ShardWriter(str(tmp_path / "in" / "shard-%04d.tar"), maxcount=7, verbose=0) as writer:
        for place, row in enumerate(rows()):
            number = place - sum(counts[: row["episode"]])
            facts = {"action": row["action"], "episode_id": row["episode"]}
            writer.write(
                {"__key__": names.format(row["episode"], number, place), "png": row["image"], "json": facts}
            )
    assert len(list((tmp_path / "in").iterdir())) == 3
    check_all(tmp_path / "in")


def test_shards_without_json_take_classes_as_actions_and_folders_as_episodes(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for index, frames in enumerate(EPISODES):
            for number, frame in enumerate(frames):
                writer.write({"__key__": f"e{index}/{number}", "png": frame, "cls": (index + number) % 4})
    check_all(tmp_path / "a.tar")
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"a\.tar: .*truncated|a\.tar: cannot be read"):
        ingest(IngestConfig(tmp_path / "a.tar", tmp_path / "b"))


def test_dqn_replay_is_streamed_and_split_at_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in" / "1" / "replay_logs"
    folder.mkdir(parents=True)
    grays = [np.stack([np.pad(frame[..., 0], ((0, 52), (0, 36))) for frame in frames]) for frames in EPISODES]
    arrays = {
        "observation": np.concatenate(grays),
        "action": np.array([row["action"] for row in rows()], np.int32),
        "reward": np.zeros(len(rows()), np.float32),
        "terminal": np.array([row["done"] for row in rows()], np.uint8),
    }
    for checkpoint in (0, 1):
        for name, values in arrays.items():
            with gzip.open(folder / f"$store$_{name}_ckpt.{checkpoint}.gz", "wb") as file:
                np.save(file, values)
        with gzip.open(folder / f"add_count_ckpt.{checkpoint}.gz", "wb") as file:
            np.save(file, np.array(18))
    monkeypatch.setattr("ghostpad.sources.formats.dqn_replay.BLOCK_BYTES", 3 * 84 * 84)
    store = ingest(IngestConfig(tmp_path / "in"))
    assert [episode.num_frames for episode in store.episodes] == [5, 6, 7] * 2
    for index, frames in enumerate(grays * 2):
        check(store, store.episodes[index].name, list(frames))
        assert controls_of(store, index) == [(index % 3 + number) % 4 for number in range(len(frames) - 1)]


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
@pytest.mark.parametrize("dtype", ["video", "image"])
def test_lerobot_version_2_is_bit_exact_with_its_controls(dtype: str, version: str, tmp_path: Path) -> None:
    source = write_lerobot_v2(tmp_path / "in", EPISODES, dtype=dtype, version=version, cameras=2)
    with pytest.raises(UserError, match=r"--camera: observation\.images\.view0, observation\.images\.view1"):
        ingest(IngestConfig(source))
    check_all(source, camera="observation.images.view1")


def test_missing_videos_of_lerobot_version_2_are_named(tmp_path: Path) -> None:
    source = write_lerobot_v2(tmp_path / "in", EPISODES)
    next(source.glob("**/episode_000001.mp4")).unlink()
    with pytest.raises(UserError, match=r"episode_000001\.mp4: is missing"):
        ingest(IngestConfig(source))
    store = ingest(IngestConfig(source, on_bad="skip"))
    assert [episode.name for episode in store.episodes] == ["episode_000000", "episode_000002"]


def line(style: str, action: int, tick: int) -> Any:
    """A line of actions beside a video; `action` is 0 (nothing), 1 (W), 2 (mouse), 3 (both)."""
    held = [["w"], ["mouse0"]]
    names = [name for bit in range(2) if action >> bit & 1 for name in held[bit]]
    return {
        "vpt": {
            "keyboard": {"keys": ["key.keyboard.w"] if action & 1 else [], "chars": ""},
            "mouse": {"dx": 0.5 * tick, "buttons": [0] if action & 2 else []},
            "tick": tick,
        },
        "keys": {"frame": tick, "keys": names},
        "mapping": {"w": action & 1, "mouse0": action >> 1, "camera": [0.0, float(tick)]},
        "names": {"action": "+".join(names) or "NOOP"},
    }[style]


@pytest.mark.parametrize("style", ["vpt", "keys", "mapping", "names"])
def test_a_video_beside_a_line_of_actions_per_frame(style: str, tmp_path: Path) -> None:
    for index, frames in enumerate(EPISODES):
        write_video(tmp_path / "in" / f"e{index}.mp4", frames)
        lines = [json.dumps(line(style, (index + number) % 4, number)) for number in range(len(frames))]
        (tmp_path / "in" / f"e{index}.jsonl").write_text("\n".join(lines) + "\n")
    store = ingest(IngestConfig(tmp_path / "in"))
    names = ["NOOP", "w", "mouse0", "w+mouse0"]
    for index, frames in enumerate(EPISODES):
        check(store, f"e{index}.mp4", frames)
        found, own = controls_of(store, index), store.control_names(index)
        assert found is not None and own is not None
        expected = [names[(index + number) % 4] for number in range(len(frames) - 1)]
        assert [set(own[control].split("+")) for control in found] == [set(e.split("+")) for e in expected]


def test_time_splits_a_video_beside_actions_with_its_actions(tmp_path: Path) -> None:
    write_video(tmp_path / "e.mp4", noise(30, "palette"), fps=10)
    lines = [json.dumps({"action": number % 7}) for number in range(30)]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    store = ingest(IngestConfig(tmp_path / "e.mp4", episode_seconds=1))
    assert [episode.num_frames for episode in store.episodes] == [10, 10, 10]
    assert controls_of(store, 1) == [number % 7 for number in range(10, 19)]


def test_damaged_actions_beside_a_video_are_named(tmp_path: Path) -> None:
    for index, frames in enumerate(EPISODES):
        write_video(tmp_path / "in" / f"e{index}.mp4", frames)
        shutil.copyfile(tmp_path / "in" / "e0.mp4", tmp_path / "in" / f"x{index}.mp4")
        (tmp_path / "in" / f"e{index}.jsonl").write_text('{"action": 1}\n' * 4 + '{"action"')
    with pytest.raises(UserError, match=r"e0\.mp4.*has actions in e0\.jsonl that cannot be read"):
        ingest(IngestConfig(tmp_path / "in"))
