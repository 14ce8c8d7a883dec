"""The public model API: any kind of frames gives the same codes; mistakes are reported in one line."""

import shutil

import numpy as np
import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.labels.export import ExportConfig, export
from ghostpad.model.export import export_model
from ghostpad.model.latent_action_model import LatentActionModel
from small_model import saved, small_model


@pytest.fixture(scope="module")
def gray(store):
    return small_model(store)


@pytest.fixture(scope="module")
def rgb(store):
    return small_model(store, grayscale=False)


@pytest.fixture(scope="module")
def pairs(store):
    """RGB frames and next frames, uint8 (40, 3, 210, 160)."""
    return tuple(np.array(part) for part in Transitions(store, None).read(slice(0, 80, 2), False))


@pytest.mark.parametrize("kind", ["gray", "rgb"])
def test_codes_do_not_depend_on_the_batch_bit_for_bit(request, pairs, kind):
    model = request.getfixturevalue(kind)
    frames, next_frames = pairs
    whole = model.encode(frames, next_frames)
    latents = model.embed(frames, next_frames)
    assert len(whole.unique()) > 5, "constant codes would prove nothing"
    for size in (1, 2, 3, 7, 16, 32):
        for start in range(0, len(frames), size):
            part = slice(start, start + size)
            assert torch.equal(model.encode(frames[part], next_frames[part]), whole[part]), size
            assert torch.equal(model.embed(frames[part], next_frames[part]), latents[part]), size


def test_every_form_of_the_same_frames_gives_the_same_codes(gray, rgb, pairs):
    frames, next_frames = pairs
    for model in (gray, rgb):
        expected = model.encode(frames, next_frames)
        assert expected.shape == (40, 14, 10) and expected.dtype == torch.int64
        forms = {
            "torch": torch.from_numpy,
            "float": lambda f: f.astype(np.float32) / 255,
            "float64": lambda f: f / 255,
            "torch float": lambda f: torch.from_numpy(f).float() / 255,
            "channels last": lambda f: f.transpose(0, 2, 3, 1),
            "torch channels last": lambda f: torch.from_numpy(f).permute(0, 2, 3, 1),
        }
        for name, form in forms.items():
            assert torch.equal(model.encode(form(frames), form(next_frames)), expected), name
        one = model.encode(frames[3], next_frames[3])
        assert one.shape == (14, 10) and torch.equal(one, expected[3])
        height_first = frames[3].transpose(1, 2, 0), next_frames[3].transpose(1, 2, 0)
        assert torch.equal(model.encode(*height_first), expected[3])


def test_a_gray_model_takes_gray_frames_in_every_form(gray, store):
    frames = store.read(0, np.arange(6), True)
    expected = gray.encode(frames[:-1], frames[1:])
    assert torch.equal(gray.encode(frames[2], frames[3]), expected[2])
    assert torch.equal(gray.encode(frames[2, 0], frames[3, 0]), expected[2])
    color = store.read(0, np.arange(6), False)
    assert torch.equal(gray.encode(color[:-1], color[1:]), expected)


def test_read_only_frames_raise_no_warning(gray, store, recwarn):
    frames = store.array(0)[:3]
    frames.setflags(write=False)
    gray.encode(frames[0], frames[1])
    assert not recwarn.list


def test_decode_gives_frames_and_codes_are_nearest_to_embedded_latents(gray, pairs):
    frames, next_frames = pairs
    codes = gray.encode(frames, next_frames)
    drawn = gray.decode(frames, codes)
    assert drawn.shape == (40, 1, 210, 160) and drawn.dtype == torch.float32
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    assert torch.allclose(gray.decode(frames[4], codes[4].numpy()), drawn[4], atol=1e-6)
    assert not torch.equal(gray.decode(frames[4], (codes[4] + 1) % 32), drawn[4])
    latents = gray.embed(frames, next_frames)
    assert latents.shape == (40, 6, 14, 10)
    book = gray.codebook
    nearest = torch.cdist(latents.permute(0, 2, 3, 1).reshape(-1, 6), book).argmin(1)
    assert (nearest.view(codes.shape) != codes).float().mean() < 1e-3


@pytest.mark.parametrize(
    ("frames", "next_frames", "words"),
    [
        (np.zeros((2, 3, 100, 80), np.uint8), None, "210"),
        (np.zeros((2, 4, 210, 160), np.uint8), None, "shape"),
        (np.zeros((2, 3, 210, 160), np.int64), None, "int64"),
        (np.full((2, 3, 210, 160), 255.0), None, "0…1"),
        (np.full((2, 3, 210, 160), -0.5), None, "0…1"),
        (np.full((2, 3, 210, 160), np.nan), None, "nan"),
        (np.zeros((2, 3, 210, 160), np.uint8), np.zeros((3, 3, 210, 160), np.uint8), "3 next_frames"),
        ("frames.png", None, "frames"),
    ],
)
def test_invalid_frames_are_refused_in_one_line(gray, frames, next_frames, words):
    with pytest.raises(UserError, match=words) as refused:
        gray.encode(frames, frames if next_frames is None else next_frames)
    assert "\n" not in str(refused.value)


def test_an_rgb_model_refuses_gray_frames(rgb):
    with pytest.raises(UserError, match="RGB"):
        rgb.encode(np.zeros((2, 1, 210, 160), np.uint8), np.zeros((2, 1, 210, 160), np.uint8))


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((2, 7, 5), int), "shape"),
        (np.full((1, 14, 10), 32), "0…31"),
        (np.full((1, 14, 10), -1), "0…31"),
        (np.zeros((1, 14, 10)), "integers"),
    ],
)
def test_invalid_codes_are_refused_in_one_line(gray, codes, words):
    with pytest.raises(UserError, match=words):
        gray.decode(np.zeros((1, 1, 210, 160), np.uint8), codes)


def test_no_pairs_give_no_codes(gray):
    none = np.zeros((0, 1, 210, 160), np.uint8)
    assert gray.encode(none, none).shape == (0, 14, 10)


def test_from_pretrained_finds_best_then_last_and_names_what_is_missing(gray, rgb, tmp_path):
    best, last = saved(gray, tmp_path / "best.pt"), saved(rgb, tmp_path / "last.pt")
    assert LatentActionModel.from_pretrained(tmp_path).model_hash == gray.model_hash
    assert LatentActionModel.from_pretrained(str(last)).model_hash == rgb.model_hash
    best.unlink()
    assert LatentActionModel.from_pretrained(tmp_path).model_hash == rgb.model_hash
    assert not LatentActionModel.from_pretrained(tmp_path).training
    for path in (tmp_path / "nothing", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=str(path)):
            LatentActionModel.from_pretrained(path)


def test_a_safetensors_export_is_the_same_model(gray, tmp_path, pairs):
    path = saved(gray, tmp_path / "best.pt")
    export(ExportConfig(model=path, format="safetensors", out=tmp_path / "out"))
    back = LatentActionModel.from_pretrained(tmp_path / "out")
    assert back.model_hash == gray.model_hash
    assert torch.equal(back.encode(*pairs), gray.encode(*pairs))
    (tmp_path / "out/config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        LatentActionModel.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("quantizer", [{}, {"kind": "residual", "codebook_size": 8, "num_codebooks": 2}])
def test_an_onnx_export_gives_the_same_codes(store, tmp_path, pairs, quantizer):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small_model(store, grayscale=False, tokens=(2, 2) if quantizer else None, **quantizer)
    export(ExportConfig(model=saved(model, tmp_path / "best.pt"), format="onnx", out=tmp_path / "out"))
    session = onnxruntime.InferenceSession(tmp_path / "out/encoder.onnx", providers=["CPUExecutionProvider"])
    expected = model.encode(*pairs)
    for count in (1, 40):
        frames, next_frames = (part[:count].astype(np.float32) / 255 for part in pairs)
        (codes,) = session.run(["codes"], {"frames": frames, "next_frames": next_frames})
        assert codes.shape == (count, *model.grid)
        assert (codes != expected[:count].numpy()).mean() < 1e-3
    assert '"grid"' in (tmp_path / "out/config.json").read_text()


def test_a_model_with_motion_and_history_is_exported_to_onnx(store, tmp_path):
    import onnxruntime

    model = small_model(store, history=2, motion="on")
    frames, next_frames = Transitions(store, None, history=2).read(slice(0, 6), True)
    export_model(model, "onnx", tmp_path / "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "encoder.onnx")
    stacked = frames.reshape(6, -1, *frames.shape[3:]).astype(np.float32) / 255
    (codes,) = session.run(
        ["codes"], {"frames": stacked, "next_frames": next_frames.astype(np.float32) / 255}
    )
    assert (codes != model.encode(frames, next_frames).numpy()).mean() < 0.02


def test_a_current_frame_without_history_is_repeated(store):
    model = small_model(store, history=3)
    frames, next_frames = Transitions(store, None).read(slice(20, 24), True)
    repeated = np.repeat(frames[:, None], 3, 1)
    assert torch.equal(model.encode(frames, next_frames), model.encode(repeated, next_frames))
    with pytest.raises(UserError, match="history of 2; this model takes 3"):
        model.encode(repeated[:, :2], next_frames)


def test_an_export_never_overwrites(gray, tmp_path):
    path = saved(gray, tmp_path / "best.pt")
    with pytest.raises(UserError, match="already exists"):
        export(ExportConfig(model=path, format="safetensors", out=tmp_path))
    shutil.rmtree(tmp_path)
