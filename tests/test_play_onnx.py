"""ONNX Runtime plays the same world, where it is installed and faster."""

import pytest
import torch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from ghostpad.play import onnx_world
from ghostpad.play.onnx_world import export_world, fastest
from ghostpad.world.expectation import to_unit
from small_world import small_world


@pytest.fixture(scope="module", params=[False, True], ids=["rgb", "gray"])
def world(request, store):
    return small_world(store, grayscale=request.param)


@pytest.fixture(scope="module")
def twin(world, store):
    return export_world(world, begun(world, store))


def begun(world, store, frame=20):
    return world.start(store.read(1, range(frame + 1 - world.history, frame + 1), world.grayscale))


@pytest.mark.parametrize("button", [0, 1, 2])
def test_the_twin_predicts_and_draws_the_same(world, twin, store, button):
    for frame in (5, 20, 38):
        state = begun(world, store, frame)
        expected = world.predict(state, button)
        torch.testing.assert_close(twin.predict(state, button), expected, rtol=1e-3, atol=1e-4)
        codes = expected.argmax(1)
        model, other = world.latent_action_model, twin.latent_action_model
        newest = state.frames[:, -1]
        torch.testing.assert_close(
            other.decode(newest, codes), model.decode(newest, codes), rtol=1e-3, atol=1e-3
        )


def test_buttons_matter_to_the_twin_too(twin, store):
    state = begun(twin, store)
    assert (twin.predict(state, 0) != twin.predict(state, 1)).any()


def test_the_exported_world_is_not_changed(world, twin, store):
    assert type(world.dynamics).__name__ == "ConvDynamics"
    assert type(world.latent_action_model.decoder).__name__ == "Decoder"
    assert twin.latent_action_model.grid == world.latent_action_model.grid


def test_another_pair_has_other_codes(world, twin, store):
    one, other = (to_unit(begun(world, store, frame).frames[:, -2:], world.device) for frame in (20, 38))
    for pair in (one, one, other, one):
        given = pair.unbind(1)
        assert torch.equal(*(w.latent_action_model.codes_of_pairs(*given) for w in (twin, world)))


@pytest.mark.parametrize("faster", [False, True])
def test_the_faster_of_the_two_is_taken(world, twin, store, monkeypatch, faster):
    monkeypatch.setattr(onnx_world, "export_world", lambda *given: twin)
    times = iter([0.01, 0.02] if faster else [0.02, 0.01])
    monkeypatch.setattr(onnx_world, "seconds_per_step", lambda *tried: next(times))
    taken, engine = fastest(world, begun(world, store))
    assert engine.startswith("ONNX Runtime" if faster else "PyTorch")
    assert (taken is world) != faster


def test_without_onnx_runtime_there_is_pytorch(world, store, monkeypatch):
    monkeypatch.setattr(onnx_world, "has_onnx", lambda: False)
    assert fastest(world, begun(world, store)) == (world, f"PyTorch {torch.__version__}")
