"""The world inside the package: measured, complete for playing, and as good as its card says."""

import json

import numpy as np
import pytest
import torch

from ghostpad.buttons.control_map import ControlMap
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.games.breakout import detector as breakout
from ghostpad.model.pretrained import shipped_models
from ghostpad.world.starts import read_starts
from ghostpad.world.world_model import WorldModel


@pytest.fixture(scope="module", params=sorted(shipped_models("world")))
def world(request: pytest.FixtureRequest) -> WorldModel:
    return WorldModel.from_pretrained(request.param)


def test_its_files_belong_together(world: WorldModel) -> None:
    assert world.folder is not None
    metrics = json.loads((world.folder / "metrics.json").read_text())
    assert metrics["model_hash"] == world.model_hash
    assert world.model_hash in (world.folder / "MODEL_CARD.md").read_text()
    assert sum(path.stat().st_size for path in world.folder.iterdir()) <= 16e6
    found = ControlMap.read(world.folder)
    assert found is not None and len(found.control_given_button) == world.num_buttons
    assert world.start(read_starts(world.folder)[0][0]).frames.shape[1] == world.history


def test_one_step_is_as_good_as_measured(world: WorldModel, store: FrameStore) -> None:
    assert world.folder is not None
    measured = json.loads((world.folder / "metrics.json").read_text())["world"]
    transitions = Transitions(store, None)
    clips = read_sequences(transitions, np.arange(10, len(transitions), 4), world.history, 1, world.grayscale)
    held = world.button_probabilities(clips[:, :-1], clips[:, -1]).argmax(1)
    after, _ = world.step(world.start(clips[:, :-1]), held)
    true, now = (clips[:, index].transpose(0, 2, 3, 1) / 255 for index in (-1, -2))
    error, copy = (np.square(picture - true).mean() for picture in (after.pictures / 255, now))
    assert 10 * np.log10(copy / error) > measured["inferred_gain_over_copy_db"] - 6


def test_the_paddle_goes_where_the_control_says(world: WorldModel) -> None:
    assert world.folder is not None
    found = ControlMap.read(world.folder)
    assert found is not None
    moved = {}
    for name in ("LEFT", "NOOP", "RIGHT"):
        state = world.start(read_starts(world.folder)[0])
        before = breakout.detect(state.pictures.transpose(0, 3, 1, 2))["paddle_x"]
        for _ in range(3):
            state, _ = world.step(state, torch.full((len(state),), found.to_button(name)))
        after = breakout.detect(state.pictures.transpose(0, 3, 1, 2))["paddle_x"]
        inside = (before > 60) & (before < 90)
        moved[name] = float(np.median((after - before)[inside if inside.any() else before > 0]))
    assert moved["LEFT"] < moved["NOOP"] - 8 < moved["RIGHT"] - 16
