"""Weights and config fields under their former and their present names."""

import pytest

from ghostpad import renamed

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


@pytest.mark.parametrize("table", [renamed.WEIGHTS, renamed.CONFIG_FIELDS])
def test_every_new_name_has_one_former_name(table: dict[str, str]) -> None:
    assert len(set(table.values())) == len(table)


def test_former_flags_are_replaced_and_reported() -> None:
    options = ["--model.head-start", "3", "--model.head_start=4", "head-start", "--steps=2"]
    current, flags = renamed.current_options(options)
    name = "--model.residual-logit-bias"
    assert current == [name, "3", f"{name}=4", "head-start", "--steps=2"]
    assert flags == {"--model.head-start": name, "--model.head_start": name}
