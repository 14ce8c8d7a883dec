"""Weights and config fields under their former and their present names."""

import dataclasses
from pathlib import Path

import pytest
import torch

from ghostpad import renamed
from ghostpad.frames.store import FrameStore
from ghostpad.world import preparation
from ghostpad.world.train import train_world
from small_world import small_world_config

NAMES = {"old.": "new.", "old.part.": "part.inside."}


def test_the_longest_prefix_that_fits_is_replaced_and_all_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "WEIGHTS", NAMES)
    former = {"old.weight": 1, "old.part.bias": 2, "older.weight": 3, "part.old.weight": 4}
    current = {"new.weight": 1, "part.inside.bias": 2, "older.weight": 3, "part.old.weight": 4}
    assert renamed.current_weights(former) == current == renamed.current_weights(current)
    assert renamed.former_weights(current) == former


def test_fields_are_renamed_in_every_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "CONFIG_FIELDS", {"old": "new"})
    former = {"old": [1, 2], "inner": {"old": None, "other": "old"}}
    current = {"new": [1, 2], "inner": {"new": None, "other": "old"}}
    assert renamed.current_config(former) == current == renamed.current_config(current)
    assert renamed.former_config(current) == former and renamed.current_config(None) is None


def test_an_added_field_has_its_neutral_value_in_former_configs_and_their_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renamed, "ADDED_FIELDS", {"part": {"added": 1}})
    former = {"model": {"part": {"x": 2}, "other": {}}}
    current = {"model": {"part": {"x": 2, "added": 1}, "other": {}}}
    assert renamed.current_config(former) == current == renamed.current_config(current)
    assert renamed.former_config(current) == former
    changed = {"part": {"added": 3}}
    assert renamed.former_config(changed) == changed == renamed.current_config(changed)


def test_fields_that_were_added_are_filled_in_and_leave_hashes_as_they_were() -> None:
    old = {"frames": {"height": 64}, "architecture": {"reconstruction": "mse"}}
    current = renamed.current_config(old)
    assert current["frames"] == {"height": 64, "history": 1}
    assert current["architecture"]["motion"] == "off" and not current["architecture"]["residual"]
    assert renamed.former_config(current) == old
    changed = {**current, "frames": {"height": 64, "history": 3}}
    assert renamed.former_config(changed)["frames"] == {"height": 64, "history": 3}
    assert renamed.current_config({"preset": "tiny", "model": {}})["history"] == 1


@pytest.mark.parametrize("table", [renamed.WEIGHTS, renamed.CONFIG_FIELDS])
def test_every_new_name_has_one_former_name(table: dict[str, str]) -> None:
    assert len(set(table.values())) == len(table)


@pytest.mark.parametrize(
    ("options", "current", "warnings"),
    [
        (["--old", "3", "--x"], ["--new", "3", "--x"], ["--old is now --new"]),
        (["--old=3"], ["--new", "3"], ["--old is now --new"]),
        (["--no_sprites", "here"], ["--objects", "off", "here"], ["--no-sprites is now --objects off"]),
        (["--gone", "-1", "here"], ["here"], ["--gone has no effect and is ignored"]),
        (["--gone=3", "here"], ["here"], ["--gone has no effect and is ignored"]),
        (["--gone", "--x", "3"], ["--x", "3"], ["--gone has no effect and is ignored"]),
        (["--older", "3", "head-start", "--m.x=2"], ["--older", "3", "head-start", "--m.x=2"], []),
        (
            ["--model.head_start=4"],
            ["--model.residual-logit-bias", "4"],
            ["--model.head-start is now --model.residual-logit-bias"],
        ),
    ],
)
def test_flags_are_renamed_or_dropped_with_their_value(
    options: list[str], current: list[str], warnings: list[str]
) -> None:
    table = {"--old": "--new", "--no-sprites": "--objects off", "--gone": None}
    assert renamed.current_flags(options, table) == (current, warnings)


def test_the_object_prior_of_version_0_1_was_part_of_the_dynamics() -> None:
    former = {"dynamics": {"history": 8, "goes_on": True}, "other": 1}
    current = {"dynamics": {"kind": "conv", "history": 8}, "objects": True, "other": 1}
    assert renamed.current_config(former) == current == renamed.current_config(current)


def test_a_run_of_version_0_1_on_windows_cannot_be_resumed_as_one_on_whole_frames() -> None:
    run = {"lapses": 0.3, "movement_steps": 9, "past_share": 0.2, "dynamics": {"goes_on": False}}
    current = {"object_dropout": 0.3, "object_steps": 9, "warmup_share": 0.2}
    current |= {"dynamics": {"kind": "conv"}, "objects": "off"}
    assert renamed.current_config({**run, "window": 0}) == current
    assert renamed.current_config({**run, "window": 5}) == {**current, "window": 5}


def test_a_world_training_of_version_0_1_resumes_exactly(
    store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "MIN_GAIN_DB", -float("inf"))  # version 0.1 always used the object prior
    config = dataclasses.replace(small_world_config(store, tmp_path), steps=4)
    train_world(config)
    former = dataclasses.replace(config, out=tmp_path / "former")
    train_world(dataclasses.replace(former, stop_after=2))
    last = former.out / "last.pt"
    content = torch.load(last, weights_only=True)
    plain, weights = content["config"], renamed.former_weights(content["model"])
    for old in ("lapses", "movement_steps", "past_share"):
        plain[old] = plain.pop(renamed.CONFIG_FIELDS[old])
    plain["window"] = 0
    for part in (plain, content["model_config"]):
        part["dynamics"]["goes_on"] = bool(part.pop("objects"))
        del part["dynamics"]["kind"]
    del weights["objects_active"]
    torch.save({**content, "model": weights}, last)
    train_world(dataclasses.replace(former, resume=True))
    one, other = (torch.load(c.out / "last.pt", weights_only=True)["model"] for c in (config, former))
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
