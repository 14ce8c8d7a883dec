"""Labels as training data."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ghostpad.errors import UserError
from ghostpad.frames.pairs import FramePairDataset, Transitions
from ghostpad.labels.dataset import LatentActionDataset
from ghostpad.labels.extract import ExtractConfig, extract
from ghostpad.labels.folder import Labels
from recordings import rewrite_manifest
from small_model import saved, small_model


@pytest.fixture(scope="module")
def model(store):
    return small_model(store, stride=2)


@pytest.fixture(scope="module")
def config(model, store_path, tmp_path_factory):
    home = tmp_path_factory.mktemp("labels")
    path = saved(model, home / "best.pt")
    return ExtractConfig(path, store_path, home / "labels", shard_size=60, runtime="torch")


@pytest.fixture(scope="module")
def folder(config):
    return extract(config).path


@pytest.fixture(scope="module")
def folder_with_frames(config):
    out = config.out.with_name("self_contained")
    return extract(type(config)(**{**vars(config), "out": out, "with_frames": True})).path


@pytest.mark.parametrize("split", [None, "train", "validation", "test"])
def test_items_are_the_pairs_of_the_split_with_their_codes(folder, store, model, split):
    dataset = LatentActionDataset(folder, split)
    pairs = FramePairDataset(store, split, stride=2)
    assert len(dataset) == len(pairs)
    for index in (0, 36, len(dataset) - 1):
        frame, codes, next_frame = dataset[index]
        assert torch.equal(frame, pairs[index][0]) and torch.equal(next_frame, pairs[index][1])
        assert torch.equal(codes, model.encode(frame, next_frame))
        assert frame.dtype == torch.float32 and codes.dtype == torch.int64


def test_windows_follow_one_episode(folder, store):
    dataset = LatentActionDataset(folder, window=5)
    # 40 frames, stride 2: a window reaches from its first frame over 10 more.
    assert len(dataset) == 4 * 30
    frames, codes, next_frames = dataset[31]
    assert frames.shape == (5, 1, 210, 160) and codes.shape == (5, 14, 10)
    assert torch.equal(frames[1:], next_frames[:-1])
    truth = store.read(1, np.arange(1, 12, 2), True)
    assert torch.equal(torch.cat([frames, next_frames[-1:]]), torch.tensor(truth).float() / 255)
    single = LatentActionDataset(folder)
    assert torch.equal(codes[3], single[38 + 1 + 6][1])


def test_windows_can_be_disjoint(folder):
    dataset = LatentActionDataset(folder, "test", window=5, step=5)
    assert dataset.frame_index.tolist() == [0, 5, 10, 15, 20, 25]


def test_color_on_request(folder, store):
    frame, _, _ = LatentActionDataset(folder, grayscale=False)[3]
    assert torch.equal(frame, torch.tensor(store.read(0, np.array([3]), False)[0]).float() / 255)


@pytest.mark.parametrize("grayscale", [True, False])
@pytest.mark.parametrize("window", [1, 4])
def test_labels_with_frames_give_the_same_items_without_the_store(
    folder, folder_with_frames, tmp_path, monkeypatch, grayscale, window
):
    alone = tmp_path / "elsewhere"
    shutil.copytree(folder_with_frames, alone)
    rewrite_manifest(alone, ".store", ".gone")
    one = LatentActionDataset(folder, "train", window, grayscale=grayscale)
    other = LatentActionDataset(alone, "train", window, grayscale=grayscale)
    assert len(one) == len(other)
    for index in (0, 17, len(one) - 1):
        assert all(torch.equal(a, b) for a, b in zip(one[index], other[index], strict=True))


WORKERS = """
import sys, torch
from torch.utils.data import DataLoader
from ghostpad.labels.dataset import LatentActionDataset
dataset = LatentActionDataset(sys.argv[1], "validation")
dataset[0]  # opens files that workers must not share
workers = DataLoader(dataset, 8, num_workers=2, multiprocessing_context="fork", timeout=100)
torch.save(list(workers), sys.argv[2])
"""


def test_workers_and_pickled_copies_read_the_same_items(folder, folder_with_frames, tmp_path):
    for path in (folder, folder_with_frames):
        dataset = LatentActionDataset(path, "validation")
        alone = list(DataLoader(dataset, 8))
        subprocess.run([sys.executable, "-c", WORKERS, path, tmp_path / "items.pt"], check=True, timeout=300)
        workers = torch.load(tmp_path / "items.pt", weights_only=True)
        sent = list(DataLoader(pickle.loads(pickle.dumps(dataset)), 8))
        assert len(alone) == len(workers) == len(sent) == 5
        for one, other, third in zip(alone, workers, sent, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
            assert all(torch.equal(a, b) for a, b in zip(one, third, strict=True))


def test_shuffling_shows_every_item_once(folder):
    dataset = LatentActionDataset(folder, "test")
    loader = DataLoader(dataset, 4, shuffle=True, generator=torch.Generator().manual_seed(0))
    shown = torch.cat([frame for frame, _, _ in loader])
    ordered = torch.stack([dataset[i][0] for i in range(len(dataset))])
    assert not torch.equal(shown, ordered)
    assert torch.equal(shown.flatten(1).sum(1).sort().values, ordered.flatten(1).sum(1).sort().values)


def test_a_pickled_dataset_is_small(folder):
    dataset = LatentActionDataset(folder)
    dataset[0]
    assert len(pickle.dumps(dataset)) < 10_000


def test_a_store_that_moved_with_its_labels_is_found_and_a_missing_one_is_named(folder, store_path, tmp_path):
    home = tmp_path / "home"
    place = home / os.path.relpath(folder, folder.parent.parent)
    shutil.copytree(folder, place)
    text = json.dumps(Labels.open(place).manifest)
    absolute = str(store_path.resolve())
    relative = os.path.relpath(store_path, folder)
    assert absolute in text and relative in text
    rewrite_manifest(place, absolute, "/nowhere")
    with pytest.raises(UserError, match="store=") as missing:
        LatentActionDataset(place)
    assert "/nowhere" in str(missing.value)
    moved = (place / relative).resolve()
    moved.parent.mkdir()
    moved.symlink_to(store_path)
    assert len(LatentActionDataset(place)) == 4 * 38
    moved.unlink()
    assert len(LatentActionDataset(place, store=store_path)) == 4 * 38


def test_another_store_is_refused(folder, episodes_folder, tmp_path):
    from ghostpad.frames.ingest import open_data

    for name in ("episode_0000", "episode_0001", "episode_0002"):
        shutil.copytree(episodes_folder / name, tmp_path / "fewer" / name)
    other = open_data(tmp_path / "fewer")
    with pytest.raises(UserError, match="other frames"):
        LatentActionDataset(folder, store=other.path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"split": "tset"}, "tset"), ({"window": 0}, "at least 1"), ({"window": 100}, "no window of 100")],
)
def test_invalid_arguments_are_refused_in_one_line(folder, changes, words):
    with pytest.raises(UserError, match=words):
        LatentActionDataset(folder, **changes)


def test_items_are_in_the_order_of_transitions(folder, store):
    dataset, transitions = LatentActionDataset(folder), Transitions(store, None, 2)
    assert np.array_equal(dataset.episode_index, transitions.episode_index)
    assert np.array_equal(dataset.frame_index, transitions.frame_index)


def test_a_labels_folder_is_a_parquet_data_set_as_it_is(folder):
    import pyarrow.dataset as pads
    import pyarrow.parquet as pq

    labels = Labels.open(folder)
    assert pads.dataset(folder).count_rows() == labels.manifest["num_transitions"]
    assert {path.suffix for path in folder.iterdir()} == {".parquet"}, "polars refuses other files"
    assert len({pq.read_schema(path).remove_metadata().to_string() for path in folder.iterdir()}) == 1
    assert pq.ParquetFile(folder / "_labels.parquet").metadata.num_row_groups == 0


def test_a_labels_folder_of_an_earlier_version_opens(folder, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    manifest = Labels.open(old).manifest
    (old / "_labels.parquet").unlink()
    (old / "labels.json").write_text(json.dumps(manifest | {"fps": 29.97}))
    assert Labels.open(old).rates == [Fraction(30000, 1001)]
    assert np.array_equal(
        Labels.open(old).codes(Labels.open(old).shards[0]),
        Labels.open(folder).codes(Labels.open(folder).shards[0]),
    )
