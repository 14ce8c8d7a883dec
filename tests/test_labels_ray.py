"""The Ray engine writes the same files as the local engine."""

import dataclasses

import pytest

from ghostpad.errors import UserError
from ghostpad.labels.engines import Job, label_with_ray
from ghostpad.labels.extract import ExtractConfig, extract, origin_of
from ghostpad.labels.shards import plan_shards
from small_model import saved, small_model


@pytest.fixture
def config(store, store_path, tmp_path):
    return ExtractConfig(
        model=saved(small_model(store), tmp_path / "best.pt"),
        data=store_path,
        out=tmp_path / "one" / "labels",
        shard_size=30,
        runtime="torch",
        workers=2,
    )


def test_an_unreachable_cluster_is_reported_in_one_line(config):
    pytest.importorskip("ray")
    # Port 1 is reserved and never open.
    with pytest.raises(UserError, match="no cluster answers there") as refused:
        extract(dataclasses.replace(config, engine="ray", ray_address="127.0.0.1:1"))
    assert "\n" not in str(refused.value)


def test_an_address_without_the_engine_is_refused(config):
    with pytest.raises(UserError, match="--engine ray"):
        extract(dataclasses.replace(config, ray_address="auto"))


@pytest.mark.slow
def test_two_actors_write_the_files_that_one_process_writes(config, tmp_path):
    pytest.importorskip("ray")
    local = extract(config)
    there = tmp_path / "two" / "labels"
    there.mkdir(parents=True)
    first = local.path / local.shards[0].file_name
    # A run that was cut off is completed by either engine.
    (there / first.name).write_bytes(first.read_bytes())
    ray = extract(dataclasses.replace(config, engine="ray", out=there))
    names = sorted(path.name for path in local.path.iterdir())
    assert len(local.shards) == 4
    assert sorted(path.name for path in ray.path.iterdir()) == names
    for name in names:
        assert (local.path / name).read_bytes() == (ray.path / name).read_bytes(), name


@pytest.mark.slow
def test_a_machine_with_another_model_is_named(config, store, tmp_path):
    pytest.importorskip("ray")
    origin = dataclasses.replace(origin_of(small_model(store), store, config), model_hash="another")
    config.out.mkdir(parents=True)
    job = Job(str(config.model), str(store.path), str(config.out), origin, "torch", "auto", "cpu")
    with pytest.raises(UserError, match="differs on"):
        label_with_ray(job, plan_shards(store, 1, 30), workers=2, address=None)
    assert not list(config.out.iterdir())
