"""`extract --buttons` adds a button to every transition of the label files, and leaves all else as it is."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from ghostpad.buttons import labelling
from ghostpad.buttons.persistence import PersistenceConfig
from ghostpad.errors import UserError
from ghostpad.labels.export import ExportConfig, export
from ghostpad.labels.extract import ExtractConfig
from small_model import saved, small_model


@pytest.fixture(scope="module")
def config(store, store_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("buttons")
    model = saved(small_model(store), folder / "best.pt")
    return ExtractConfig(
        model=model, data=store_path, out=folder / "labels", shard_size=60, runtime="torch", num_buttons=4
    )


@pytest.fixture(scope="module")
def plain(config):
    """Files of labels without buttons."""
    labels = labelling.extract(config)
    return [labels.table(shard) for shard in labels.shards]


@pytest.fixture(scope="module")
def labels(config, plain):
    return labelling.extract(dataclasses.replace(config, buttons=True))


def recorded_buttons(labels):
    return [button for shard in labels.shards for button in labels.table(shard)["button"].to_pylist()]


def test_buttons_are_a_new_column_and_nothing_else_changes(labels, plain):
    for shard, before in zip(labels.shards, plain, strict=True):
        after = labels.table(shard)
        assert str(after.schema.field("button").type) == "int8"
        assert after.drop_columns("button").equals(before)
        assert pq.read_schema(labels.path / shard.file_name).metadata[b"ghostpad"]


def test_every_transition_has_the_button_that_was_inferred(labels, store, config):
    written = np.concatenate([labels.table(shard)["button"].to_numpy() for shard in labels.shards])
    options = PersistenceConfig(config.num_buttons, config.seed)
    assert np.array_equal(written, labelling.transition_buttons(store, 1, options))
    assert set(np.unique(written)) <= set(range(4))


def test_the_same_command_again_gives_the_same_files(labels, config):
    before = {path.name: path.read_bytes() for path in labels.path.iterdir()}
    labelling.extract(dataclasses.replace(config, buttons=True))
    assert {path.name: path.read_bytes() for path in labels.path.iterdir()} == before


def test_npz_export_has_the_buttons(labels, tmp_path):
    export(ExportConfig(labels=labels.path, format="npz", out=tmp_path / "npz"))
    with np.load(tmp_path / "npz" / "labels-000000.npz") as arrays:
        assert np.array_equal(arrays["button"], labels.table(labels.shards[0])["button"].to_numpy())


def test_jsonl_export_has_the_buttons(labels, tmp_path):
    export(ExportConfig(labels=labels.path, format="jsonl", out=tmp_path / "jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "jsonl" / "labels.jsonl").read_text().splitlines()]
    assert [line["button"] for line in lines] == recorded_buttons(labels)


def test_lerobot_export_has_the_buttons_in_a_feature_of_their_own(labels, tmp_path):
    export(ExportConfig(labels=labels.path, format="lerobot", out=tmp_path / "lerobot"))
    info = json.loads((tmp_path / "lerobot/meta/info.json").read_text())
    assert info["features"]["button"] == {"dtype": "int64", "shape": [1], "names": None}
    table = pq.read_table(tmp_path / "lerobot/data/chunk-000/file-000.parquet")
    column = table["button"].to_numpy().reshape(len(labels.manifest["episodes"]), -1)
    assert column[:, :-1].ravel().tolist() == recorded_buttons(labels)
    assert (column[:, -1] == -1).all(), "the last frame of an episode starts no transition"
    stats = json.loads((tmp_path / "lerobot/meta/stats.json").read_text())
    assert stats["button"]["min"] == [min(recorded_buttons(labels))]


@pytest.mark.parametrize("number", [1, 128])
def test_numbers_of_buttons_that_make_no_sense_are_refused(config, tmp_path, number):
    with pytest.raises(UserError, match=f"num-buttons {number}"):
        labelling.extract(dataclasses.replace(config, num_buttons=number, out=tmp_path / "labels"))
