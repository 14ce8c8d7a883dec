"""Exports of labels: lossless, and valid in the formats of other tools."""

import dataclasses
import json
import pathlib
from typing import get_args

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.labels import lerobot
from ghostpad.labels.export import ExportConfig, LabelFormatName, export
from ghostpad.labels.extract import ExtractConfig, extract
from ghostpad.labels.lerobot import Statistics
from recordings import rewrite_manifest
from small_model import saved, small_model


@pytest.fixture(scope="module")
def config(store, store_path, tmp_path_factory):
    home = tmp_path_factory.mktemp("labels")
    path = saved(small_model(store), home / "best.pt")
    return ExtractConfig(path, store_path, home / "labels", shard_size=60, runtime="torch")


@pytest.fixture(scope="module")
def labels(config):
    return extract(config)


@pytest.fixture(scope="module")
def codes(labels):
    return np.concatenate([labels.codes(shard) for shard in labels.shards])


@pytest.fixture(scope="module")
def dataset(labels, tmp_path_factory):
    """The LeRobotDataset, read only."""
    out = tmp_path_factory.mktemp("lerobot") / "dataset"
    export(ExportConfig(labels=labels.path, format="lerobot", out=out))
    return out


def video_frames(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_lerobot_video_is_the_recording_to_the_bit(dataset, store):
    shown = video_frames(dataset / "videos/observation.image/chunk-000/file-000.mp4")
    assert len(shown) == 160
    for index, (time, rgb) in enumerate(shown):
        truth = store.read(index // 40, np.array([index % 40]), False)[0].transpose(1, 2, 0)
        assert np.array_equal(rgb, truth), index
        assert abs(time - index / 15) < 1e-4


def test_lerobot_rows_follow_the_published_rules(dataset, codes, store):
    info = json.loads((dataset / "meta/info.json").read_text())
    table = pq.read_table(dataset / info["data_path"].format(chunk_index=0, file_index=0))
    assert info["codebase_version"] == "v3.0" and info["fps"] == 15
    assert info["total_frames"] == len(table) == 160 and info["total_episodes"] == 4
    for name, feature in info["features"].items():
        if feature["dtype"] == "video":
            assert name not in table.column_names
        elif feature["shape"] == [1]:
            # Readers take a list of one number for a mistake.
            kind = table.schema.field(name).type
            assert kind == pa.type_for_alias(feature["dtype"])
        else:
            assert table.schema.field(name).type.list_size == feature["shape"][0] == 140
    actions = np.array(table["latent_action"].to_pylist()).reshape(4, 40, 140)
    assert np.array_equal(actions[:, :39].reshape(-1, 14, 10), codes)
    assert (actions[:, 39] == -1).all()
    controls = np.array(table["action"].to_pylist()).reshape(4, 40)
    assert np.array_equal(controls[2, :39], store.controls(2))
    assert np.flatnonzero(table["next.done"].to_numpy()).tolist() == [38, 78, 118, 158]
    assert np.array_equal(table["index"].to_numpy(), np.arange(160))
    assert np.allclose(table["timestamp"].to_numpy(), np.tile(np.arange(40) / 15, 4))


def test_lerobot_episodes_name_their_rows_and_their_part_of_the_video(dataset, store):
    rows = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["episode_index"] for row in rows] == [0, 1, 2, 3]
    for index, row in enumerate(rows):
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (40 * index, 40 * index + 40)
        start = row["videos/observation.image/from_timestamp"]
        assert start == pytest.approx(40 * index / 15)
        assert row["videos/observation.image/to_timestamp"] == pytest.approx(start + 40 / 15)
        assert row["split"] == store.episodes[index].split
        assert row["stats/action/count"] == [39]
    stats = json.loads((dataset / "meta/stats.json").read_text())
    assert np.shape(stats["observation.image"]["mean"]) == (3, 1, 1)
    assert len(stats["latent_action"]["max"]) == 140 and min(stats["latent_action"]["min"]) >= 0
    tasks = pq.read_table(dataset / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_lerobot_starts_another_file_when_one_is_full(labels, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot, "VIDEO_MB", 0)
    monkeypatch.setattr(lerobot, "DATA_MB", 0)
    monkeypatch.setattr(lerobot, "FILES_PER_CHUNK", 3)
    export(ExportConfig(labels=labels.path, format="lerobot", out=tmp_path / "out"))
    whole = video_frames(dataset / "videos/observation.image/chunk-000/file-000.mp4")
    rows = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for index, row in enumerate(rows):
        chunk, file = divmod(index, 3)
        assert (row["data/chunk_index"], row["data/file_index"]) == (chunk, file)
        assert row["videos/observation.image/from_timestamp"] == 0
        place = f"chunk-{chunk:03d}/file-{file:03d}"
        part = video_frames(tmp_path / f"out/videos/observation.image/{place}.mp4")
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(part, whole[40 * index :][:40], strict=True))
        table = pq.read_table(tmp_path / f"out/data/{place}.parquet")
        assert set(table["episode_index"].to_pylist()) == {index}


def test_a_lerobot_export_is_ingested_to_the_same_frames_and_controls(dataset, store, tmp_path):
    from ghostpad.frames.ingest import IngestConfig, ingest

    ingest(IngestConfig(source=dataset, out=tmp_path / "back.store", workers=1))
    back = FrameStore.open(tmp_path / "back.store")
    assert len(back.episodes) == 4
    for index in range(4):
        frames = np.arange(40)
        assert np.array_equal(back.read(index, frames, False), store.read(index, frames, False))
        assert np.array_equal(back.controls(index), store.controls(index))


def test_labels_with_frames_are_exported_without_the_store(config, dataset, tmp_path):
    out = tmp_path / "labels"
    alone = extract(dataclasses.replace(config, out=out, with_frames=True))
    rewrite_manifest(out, ".store", ".gone")
    export(ExportConfig(labels=alone.path, format="lerobot", out=tmp_path / "out"))
    names = ["videos/observation.image/chunk-000/file-000.mp4", "data/chunk-000/file-000.parquet"]
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (dataset / name).read_bytes()


def test_lerobot_stores_a_single_code_as_a_scalar(store, store_path, tmp_path):
    path = saved(small_model(store, tokens=(1, 1)), tmp_path / "best.pt")
    made = extract(ExtractConfig(path, store_path, tmp_path / "labels", runtime="torch"))
    export(ExportConfig(labels=made.path, format="lerobot", out=tmp_path / "out"))
    schema = pq.read_schema(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert str(schema.field("latent_action").type) == "int64"


def test_npz_has_the_columns_of_the_labels(labels, codes, tmp_path, store):
    export(ExportConfig(labels=labels.path, format="npz", out=tmp_path / "out"))
    parts = [dict(np.load(path)) for path in sorted((tmp_path / "out").glob("*.npz"))]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    transitions = Transitions(store, None)
    assert np.array_equal(joined["codes"], codes)
    assert np.array_equal(joined["episode_index"], transitions.episode_index)
    assert np.array_equal(joined["next_frame_index"], transitions.frame_index + 1)
    assert np.array_equal(joined["control"], np.concatenate([store.controls(i) for i in range(4)]))


def test_jsonl_has_the_fields_of_lapa(labels, codes, tmp_path, store, episodes_folder):
    export(ExportConfig(labels=labels.path, format="jsonl", out=tmp_path / "out"))
    lines = [json.loads(line) for line in (tmp_path / "out/labels.jsonl").read_text().splitlines()]
    assert len(lines) == len(codes)
    line = lines[39 + 5]
    assert line["id"] == "episode_0001_5" and line["instruction"] == ""
    assert (episodes_folder / line["image"]).is_file() and (episodes_folder / line["next_image"]).is_file()
    assert line["next_image"] == "episode_0001/6.png"
    assert [int(code) for code in line["delta"]] == codes[39 + 5].ravel().tolist()
    assert line["fields"] == "[instruction],[vision],delta" and line["split"] == store.episodes[1].split


def test_datasets_has_files_per_split_that_describe_their_features(config, store, tmp_path):
    made = extract(dataclasses.replace(config, out=tmp_path / "labels", with_frames=True))
    export(ExportConfig(labels=made.path, format="datasets", out=tmp_path / "out"))
    counts = {}
    for path in (tmp_path / "out/data").iterdir():
        table = pq.read_table(path)
        split = path.name.split("-")[0]
        assert {store.episodes[i].split for i in table["episode_index"].to_pylist()} == {split}
        counts[split] = counts.get(split, 0) + len(table)
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert list(features) == table.column_names
        assert features["frame"] == {"_type": "Image", "mode": "RGB"}
        assert table["frame"][0].as_py()["bytes"].startswith(b"\x89PNG")
    assert counts == {"train": 78, "validation": 39, "test": 39}
    assert "path: data/train-*.parquet" in (tmp_path / "out/README.md").read_text()


def test_the_datasets_library_opens_the_export(config, store, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    made = extract(dataclasses.replace(config, out=tmp_path / "labels", with_frames=True))
    export(ExportConfig(labels=made.path, format="datasets", out=tmp_path / "out"))
    cache = str(tmp_path / "cache")
    opened = datasets.load_dataset("parquet", data_dir=str(tmp_path / "out"), cache_dir=cache)
    assert {split: len(rows) for split, rows in opened.items()} == {"train": 78, "validation": 39, "test": 39}
    row = opened["test"][3]
    truth = store.read(row["episode_index"], np.array([3]), False)[0].transpose(1, 2, 0)
    assert np.array_equal(np.asarray(row["frame"].convert("RGB")), truth)
    assert len(row["codes"]) == 140


def test_the_webdataset_library_opens_the_export(config, store, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    labels = extract(dataclasses.replace(config, with_frames=True, out=tmp_path / "labels"))
    export(ExportConfig(labels=labels.path, format="webdataset", out=tmp_path / "out"))
    shards = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    expected = np.concatenate([labels.codes(shard) for shard in labels.shards])
    assert np.array_equal(
        [sample["json"]["codes"] for sample in samples], expected.reshape(len(expected), -1)
    )
    controls = np.concatenate([store.controls(index) for index in range(len(store.episodes))])
    assert [sample["json"]["control"] for sample in samples] == controls.tolist()
    frames = [store.read(index, slice(0, -1), False) for index in range(len(store.episodes))]
    shown = np.stack([sample["frame.png"] for sample in samples])
    assert np.array_equal(shown, np.concatenate(frames).transpose(0, 2, 3, 1))


@pytest.mark.parametrize("file_format", get_args(LabelFormatName))
def test_every_export_has_a_dataset_card(labels, tmp_path, file_format):
    export(ExportConfig(labels=labels.path, format=file_format, out=tmp_path / "out"))
    card = (tmp_path / "out/README.md").read_text()
    assert "| train | 78 |" in card
    assert {"latent-actions", "ghostpad"} <= set(DatasetCard(card).data.tags)
    assert labels.origin.model_hash in card and labels.origin.store_fingerprint in card


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": None}, "give --labels"),
        ({"model": pathlib.Path("best.pt")}, "no --model"),
        ({"format": "onnx"}, "give --model"),
        ({"fps": 0}, "--fps 0"),
    ],
)
def test_contradictory_options_are_refused(labels, tmp_path, changes, words):
    config = ExportConfig(labels=labels.path, format="lerobot", out=tmp_path / "out")
    with pytest.raises(UserError, match=words):
        export(dataclasses.replace(config, **changes))
    assert not (tmp_path / "out").exists()


def test_an_export_of_labels_never_overwrites(labels, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        export(ExportConfig(labels=labels.path, format="npz", out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_merged_statistics_are_those_of_all_values():
    values = np.random.default_rng(0).normal(3, 2, (50, 4))
    plain = Statistics.of(values[:7]).merged(Statistics.of(values[7:])).plain()
    assert np.allclose(plain["mean"], values.mean(0)) and np.allclose(plain["std"], values.std(0))
    assert np.allclose(plain["min"], values.min(0)) and plain["count"] == [50]
    assert Statistics.of(values[:0]).plain()["max"] == [0, 0, 0, 0]
