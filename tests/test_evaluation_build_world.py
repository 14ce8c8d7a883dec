"""The verb `world`: what a finished run leaves for play, controls and the reader."""

import dataclasses
import json
from pathlib import Path

import pytest

from ghostpad.errors import UserError
from ghostpad.evaluation.rollouts.build import build_world, recorded_map
from ghostpad.frames.store import FrameStore
from ghostpad.world.starts import read_starts
from ghostpad.world.world_model import WorldModel
from small_world import small_world, small_world_config


def test_a_run_leaves_what_play_and_controls_need(
    store: FrameStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(small_world_config(store, tmp_path), starts=0, steps=3)
    metrics = build_world(config)
    assert json.loads((config.out / "metrics.json").read_text()) == metrics
    world = WorldModel.from_pretrained(config.out)
    assert metrics["model_hash"] == world.model_hash and metrics["data_fingerprint"] == store.fingerprint
    assert read_starts(config.out)[0].shape[1:] == (2, 210, 160, 3)
    assert metrics["world"]["inferred_psnr_db"] > 0 and metrics["world"]["frames_per_s"] > 0
    assert (
        metrics["world"]["paddle_error_px_100"] is None
        and "paddle_error_px_100" in metrics["world"]["absent"]
    )
    assert len(metrics["buttons"]["bits"]) == metrics["buttons"]["num_buttons"] == 3
    said = capsys.readouterr().out
    assert "Buttons: " in said and "metrics.json" in said


def test_a_new_run_clears_what_belonged_to_the_previous_world(store: FrameStore, tmp_path: Path) -> None:
    config = dataclasses.replace(small_world_config(store, tmp_path), starts=0, steps=2)
    build_world(config)
    (config.out / "controls.json").write_text("{}")
    again = dataclasses.replace(config, overwrite=True, steps=1, model=str(tmp_path / "nothing"))
    with pytest.raises(UserError):
        build_world(again)
    assert (config.out / "controls.json").exists(), "a mistake must not cost what was there"
    build_world(dataclasses.replace(config, overwrite=True, steps=1))
    assert not (config.out / "controls.json").exists()


def test_the_map_for_measuring_is_fitted_to_recorded_controls(store: FrameStore) -> None:
    found = recorded_map(small_world(store), store)
    assert found is not None and found.control_names == ("NOOP", "FIRE", "RIGHT", "LEFT")
