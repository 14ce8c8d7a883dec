"""Extraction: files have the codes of the model, reruns complete them, other folders are refused."""

import json
import pathlib
import shutil

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.labels import shards as shards_module
from ghostpad.labels.encoders import OnnxEncoder, TorchEncoder
from ghostpad.labels.extract import ExtractConfig, extract
from ghostpad.labels.folder import Labels
from ghostpad.labels.shards import frame_runs
from small_model import saved, small_model


@pytest.fixture(scope="module")
def model(store):
    return small_model(store)


@pytest.fixture(scope="module")
def model_path(model, tmp_path_factory):
    return saved(model, tmp_path_factory.mktemp("model") / "best.pt")


@pytest.fixture
def config(model_path, store_path, tmp_path):
    return ExtractConfig(
        model=model_path, data=store_path, out=tmp_path / "labels", shard_size=60, runtime="torch", workers=2
    )


@pytest.fixture(scope="module")
def labels(model_path, store_path, tmp_path_factory):
    """Read only."""
    out = tmp_path_factory.mktemp("labels") / "latent_actions"
    return extract(ExtractConfig(model=model_path, data=store_path, out=out, shard_size=60, runtime="torch"))


def replaced(config, **changes):
    return type(config)(**{**vars(config), **changes})


def content(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def everything(labels: Labels) -> dict[str, np.ndarray]:
    tables = [labels.table(shard) for shard in labels.shards]
    columns = tables[0].column_names
    return {name: np.concatenate([np.array(table[name].to_pylist()) for table in tables]) for name in columns}


@pytest.mark.parametrize("encoder_type", [TorchEncoder, OnnxEncoder])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_model_with_history_sees_it_across_the_runs_of_an_episode(store, stride, encoder_type, monkeypatch):
    monkeypatch.setattr(shards_module, "RUN", 7)
    model = small_model(store, stride=stride, history=3)
    encoder = (
        encoder_type(model, torch.device("cpu"), "fp32")
        if encoder_type is TorchEncoder
        else OnnxEncoder(model)
    )
    runs = frame_runs(store, 0, True, stride, past=2 * stride)
    codes = np.concatenate([encoder(frames, stride) for _, frames in runs])
    transitions = Transitions(store, None, stride, history=3)
    rows = np.flatnonzero(transitions.episode_index == 0)
    expected = model.encode(*transitions.read(rows, True)).numpy()
    assert codes.shape == expected.shape
    assert (codes != expected).mean() < 1e-3
    without = model.encode(*Transitions(store, None, stride).read(rows, True)).numpy()
    assert (without != expected).any(), "the history must matter"


def test_every_transition_has_the_codes_that_the_model_gives(labels, model, store):
    transitions = Transitions(store, None)
    rows = everything(labels)
    assert np.array_equal(rows["episode_index"], transitions.episode_index)
    assert np.array_equal(rows["frame_index"], transitions.frame_index)
    assert np.array_equal(rows["next_frame_index"], transitions.frame_index + 1)
    expected = model.encode(*transitions.read(slice(None), True)).flatten(1).numpy()
    assert len(np.unique(expected)) > 10, "constant codes would prove nothing"
    assert (rows["codes"] != expected).mean() < 1e-3


def test_controls_are_those_of_the_recording(labels, store):
    recorded = np.concatenate([store.controls(i) for i in range(len(store.episodes))])
    assert np.array_equal(everything(labels)["control"], recorded)
    assert labels.manifest["control_names"] == store.control_names(0)


def test_files_have_the_documented_columns_and_metadata(labels, model, store):
    schema = pq.read_schema(labels.path / labels.shards[0].file_name)
    assert [str(field.type) for field in schema] == [
        *["int32"] * 3,
        "fixed_size_list<element: uint8>[140]",
        "int8",
    ]
    says = json.loads(schema.metadata[b"ghostpad"])
    assert says["model_hash"] == model.model_hash and says["store_fingerprint"] == store.fingerprint
    assert (says["stride"], says["grid"], says["codebook_size"]) == (1, [14, 10], 32)
    assert labels.manifest["num_transitions"] == 4 * 39 and len(labels.shards) == 2


def test_more_than_256_codes_take_two_bytes(store, store_path, tmp_path):
    model = small_model(store, codebook_size=300)
    path = saved(model, tmp_path / "best.pt")
    made = extract(ExtractConfig(path, store_path, tmp_path / "labels", runtime="torch"))
    codes = made.codes(made.shards[0])
    assert codes.dtype == np.uint16 and codes.max() > 255


@pytest.mark.parametrize("stride", [2, 5])
def test_labels_of_an_rgb_model_with_a_stride_have_its_codes(store, store_path, tmp_path, stride):
    model = small_model(store, stride=stride, grayscale=False)
    path = saved(model, tmp_path / "best.pt")
    made = extract(ExtractConfig(path, store_path, tmp_path / "labels", runtime="torch"))
    transitions = Transitions(store, None, stride)
    rows = everything(made)
    assert np.array_equal(rows["next_frame_index"], transitions.frame_index + stride)
    expected = model.encode(*transitions.read(slice(None), False)).flatten(1).numpy()
    assert (rows["codes"] != expected).mean() < 1e-3


def test_each_frame_is_read_once(store, monkeypatch):
    monkeypatch.setattr(shards_module, "RUN", 8)
    asked = []
    read = type(store).read
    monkeypatch.setattr(type(store), "read", lambda *args: asked.extend(args[2]) or read(*args))
    runs = list(frame_runs(store, 1, True, 3))
    assert sorted(asked) == list(range(40))
    assert sum(len(frames) - 3 for _, frames in runs) == 37
    for start, frames in runs:
        assert np.array_equal(frames, read(store, 1, np.arange(start, start + len(frames)), True))


def test_run_length_and_threads_do_not_change_the_files(config, labels, monkeypatch):
    monkeypatch.setattr(shards_module, "RUN", 7)
    made = extract(replaced(config, workers=1, out=config.out.parent / "latent_actions"))
    for shard in made.shards:
        assert (made.path / shard.file_name).read_bytes() == (labels.path / shard.file_name).read_bytes()


def test_a_rerun_does_only_what_is_missing(config):
    made = extract(config)
    before = content(config.out)
    first, second = (config.out / shard.file_name for shard in made.shards)
    second.unlink()
    (config.out / f".{second.name}.abc.partial").write_bytes(b"half of it")
    stamp = first.stat().st_mtime_ns
    extract(config)
    assert content(config.out) == before
    assert first.stat().st_mtime_ns == stamp


def test_a_folder_with_labels_of_another_origin_is_refused_and_untouched(
    config, store, tmp_path, episodes_folder
):
    extract(config)
    before = content(config.out)
    fewer = tmp_path / "fewer"
    for name in ("episode_0000", "episode_0001", "episode_0002"):
        shutil.copytree(episodes_folder / name, fewer / name)
    other = saved(small_model(store, seed=1), tmp_path / "other.pt")
    for changes, words in [
        ({"model": other}, "another model"),
        ({"data": fewer}, "other frames"),
        ({"model": saved(small_model(store, stride=2), tmp_path / "two.pt")}, "another model"),
        ({"shard_size": 20}, "--shard-size"),
        ({"with_frames": True}, "--with-frames"),
    ]:
        with pytest.raises(UserError, match=words) as refused:
            extract(replaced(config, **changes))
        assert str(config.out) in str(refused.value) and "\n" not in str(refused.value)
        assert content(config.out) == before


def test_a_folder_with_other_files_is_refused_and_untouched(config):
    config.out.mkdir()
    for name, words in [
        ("notes.txt", "holds notes.txt"),
        ("_labels.parquet", "damaged"),
        ("labels-0.parquet", "damaged"),
    ]:
        (config.out / name).write_text("mine")
        with pytest.raises(UserError, match=words):
            extract(config)
        assert content(config.out) == {name: b"mine"}
        (config.out / name).unlink()


def test_frames_of_another_size_are_refused(config, store, tmp_path):
    model = small_model(store)
    frames = type(model.config.frames)(height=100, width=80)
    other = type(model)(type(model.config)(frames, model.config.architecture)).eval()
    with pytest.raises(UserError, match="100 high and 80 wide"):
        extract(replaced(config, model=saved(other, tmp_path / "small.pt")))
    assert not config.out.exists()


def test_labels_continue_beside_the_page_and_the_map_of_controls(config):
    made = extract(config)
    (made.path / made.shards[0].file_name).unlink()
    for name in ("ask.html", "controls.json"):
        (made.path / name).write_text("{}")
    assert (extract(config).path / made.shards[0].file_name).exists()
    assert (made.path / "ask.html").exists()


def test_verify_counts_equal_codes_and_names_a_file_with_a_wrong_one(config, capsys):
    made = extract(replaced(config, verify=True))
    assert "verified 156 transitions: 21,840 of 21,840 codes are the same" in capsys.readouterr().out
    path = made.path / made.shards[1].file_name
    table = pq.read_table(path)
    codes = made.codes(made.shards[1]).copy()
    codes[5, 3, 2] = (codes[5, 3, 2] + 1) % 32
    column = type(table["codes"].chunk(0)).from_arrays(codes.ravel(), 140)
    pq.write_table(table.set_column(3, table.schema.field("codes"), column), path)
    with pytest.raises(UserError, match=f"{path}: 1 of"):
        extract(replaced(config, verify=True))


def test_verify_names_a_file_whose_rows_are_not_those_of_the_store(config):
    made = extract(config)
    path = made.path / made.shards[0].file_name
    table = pq.read_table(path)
    number = table.schema.get_field_index("frame_index")
    shifted = pc.add(table["frame_index"], 1).cast(table.schema.field(number).type)
    pq.write_table(table.set_column(number, table.schema.field(number), shifted), path)
    with pytest.raises(UserError, match=f"{path}: frame_index"):
        extract(replaced(config, verify=True))


def test_an_interruption_leaves_whole_files_only(config, monkeypatch):
    calls = []

    def interrupted(self, frames, stride):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return np.zeros((len(frames) - stride, 14, 10), np.int64)

    monkeypatch.setattr(TorchEncoder, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(replaced(config, workers=1))
    assert [path.name for path in config.out.iterdir()] == ["labels-000000.parquet"]
    with pytest.raises(UserError, match="no complete labels"):
        Labels.open(config.out)


def test_labels_are_incomplete_while_a_missing_file_is_made_again(config, monkeypatch):
    made = extract(config)
    (config.out / made.shards[1].file_name).unlink()

    def interrupted(self, frames, stride):
        raise KeyboardInterrupt

    monkeypatch.setattr(TorchEncoder, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(replaced(config, workers=1))
    with pytest.raises(UserError, match="no complete labels"):
        Labels.open(config.out)


def test_onnx_runtime_gives_the_same_codes(store, model):
    pytest.importorskip("onnxruntime")
    frames = store.read(0, np.arange(40), True)
    expected = model.encode(frames[:-2], frames[2:]).numpy()
    encode = OnnxEncoder(model)
    codes = encode(frames, 2)
    assert codes.shape == expected.shape
    assert (codes != expected).mean() < 1e-3
    # The graph tells the frame from the next frame.
    assert (codes != encode(frames[::-1].copy(), 2)[::-1]).mean() > 0.01


def test_the_fast_encoder_is_a_copy(model, store):
    before = model.model_hash
    TorchEncoder(model, torch.device("cpu"), "bf16")(store.read(0, np.arange(4), True), 1)
    assert model.model_hash == before
