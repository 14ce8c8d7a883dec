"""Models inside the package: found by name, small enough, measured, and as good as their card says."""

import json

import numpy as np
import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.model.export import export_model
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.model.pretrained import shipped_models
from small_model import small_model


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_a_shipped_model_does_what_its_card_says(name, store):
    folder = shipped_models()[name]
    assert (folder / "model.safetensors").stat().st_size <= 16e6
    metrics = json.loads((folder / "metrics.json").read_text())
    model = LatentActionModel.from_pretrained(name)
    assert metrics["model_hash"] == model.model_hash
    assert model.model_hash in (folder / "MODEL_CARD.md").read_text()
    frames, next_frames = Transitions(store, None).read(slice(0, 60), model.grayscale)
    drawn = model.decode(frames, model.encode(frames, next_frames)).numpy()
    error, copy = (np.square(picture - next_frames / 255).mean() for picture in (drawn, frames / 255))
    gain = 10 * np.log10(copy / error)
    assert gain > metrics["reconstruction"]["gain_over_copy_db"] - 6


def test_shipped_weights_are_small():
    folders = [*shipped_models().values(), *shipped_models("world").values()]
    assert sum((path / "model.safetensors").stat().st_size for path in folders) <= 32e6


def test_an_unknown_model_name_is_refused():
    with pytest.raises(UserError, match="no such model"):
        LatentActionModel.from_pretrained("breakout-blunt")


def test_a_half_precision_export_has_the_weights_of_the_model(store, tmp_path):
    model = small_model(store)
    before = model.codebook.clone()
    export_model(model, "safetensors", tmp_path / "half", half=True)
    again = LatentActionModel.from_pretrained(tmp_path / "half")
    assert again.model_hash == model.model_hash
    assert torch.equal(again.codebook, before.half().float()) and not torch.equal(again.codebook, before)
