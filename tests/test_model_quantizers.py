"""Every kind of quantizer fulfils the contract, learns, and agrees with its reference implementation."""

import dataclasses
import math
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from vector_quantize_pytorch import FSQ, ResidualVQ, VectorQuantize

from ghostpad.errors import UserError
from ghostpad.frames.batches import Batch
from ghostpad.model import FrameFormat, LatentActionModel, LatentActionModelConfig, Quantizer, QuantizerConfig
from ghostpad.model.quantizers import QUANTIZERS
from ghostpad.presets import PRESETS
from ghostpad.training.config import TrainConfig
from ghostpad.training.latent_action import train
from small_run import small_architecture, small_run

KINDS = {
    "vq": QuantizerConfig(16, 8),
    "nsvq": QuantizerConfig(16, 8, kind="nsvq"),
    "vq_ema": QuantizerConfig(16, 8, kind="vq_ema"),
    "product": QuantizerConfig(4, 8, kind="vq_ema", num_codebooks=2),
    "residual": QuantizerConfig(4, 8, kind="residual", num_codebooks=2),
    "fsq": QuantizerConfig(16, 8, kind="fsq", levels=(4, 4)),
}
quick = {"warmup_steps": 2, "reset_every": 3}


def latents(seed: int = 0, batch: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 + torch.randn(batch, 8, 3, 2, generator=generator)


def ready(config: QuantizerConfig, seed: int = 0) -> Quantizer:
    """A quantizer that has been started on `latents()`."""
    torch.manual_seed(seed)
    quantizer = QUANTIZERS[config.kind](config)
    quantizer(latents())
    if not quantizer.quantizing:
        quantizer.initialize(torch.Generator().manual_seed(seed))
    return quantizer


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_one_grid_of_integers_and_dequantize_to_the_output(kind: str) -> None:
    quantizer = ready(KINDS[kind]).eval()
    given = latents(1)
    out = quantizer(given)
    assert quantizer.num_codes == 16 and out.codes.dtype == torch.int64
    assert out.codes.shape == (6, 3, 2) and out.quantized.shape == given.shape
    assert 0 <= int(out.codes.min()) <= int(out.codes.max()) < 16
    assert torch.equal(quantizer.nearest(given), out.codes)
    assert torch.allclose(quantizer.dequantize(out.codes), out.quantized, atol=1e-5)
    if kind not in ("residual", "fsq"):  # a residual is greedy, and rounded points are projected back
        assert torch.equal(quantizer.nearest(quantizer.dequantize(out.codes)), out.codes)
    everything = quantizer.codebook_vectors
    assert everything.shape == (16, 8) and len(everything.unique(dim=0)) == 16
    assert torch.equal(everything[out.codes].permute(0, 3, 1, 2), quantizer.dequantize(out.codes))


@pytest.mark.parametrize("kind", KINDS)
def test_the_reconstruction_gradient_reaches_the_latents(kind: str) -> None:
    quantizer, given = ready(KINDS[kind]), latents(1).requires_grad_()
    quantizer(given).quantized.square().sum().backward()
    assert given.grad is not None and float(given.grad.abs().min(dim=1).values.max()) > 0
    if kind == "nsvq":
        assert quantizer.codebook.grad is not None and quantizer.codebook.grad.abs().sum() > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_a_codebook_learns_four_clouds(kind: str) -> None:
    """Four clouds: after some steps no code serves two of them, and each latent lies near its code."""
    torch.manual_seed(0)
    centers = 4 * torch.randn(4, 8)
    given = (centers.repeat(40, 1) + 0.05 * torch.randn(160, 8)).T.reshape(1, 8, 16, 10)
    quantizer = QUANTIZERS[KINDS[kind].kind](KINDS[kind])
    optimizer = torch.optim.Adam(quantizer.parameters(), 3e-2) if [*quantizer.parameters()] else None
    for step in range(120):
        out = quantizer(given)
        loss = out.loss + (out.quantized - given).square().mean()
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        quantizer.after_step(step + 1, 120, optimizer or torch.optim.SGD([given], 0.1), torch.Generator())
        if step == 0 and not quantizer.quantizing:
            quantizer.initialize(torch.Generator().manual_seed(0))
    quantizer.eval()
    codes = quantizer.nearest(given).reshape(40, 4)
    error = float((quantizer(given).quantized - given).square().mean().detach())
    if kind == "fsq":  # two rounded dimensions cannot lie near any four clouds
        assert error < 0.5 * float(given.var())
    else:
        assert sum(len(codes[:, cloud].unique()) for cloud in range(4)) == len(codes.unique())
        assert error < 0.05


def test_nsvq_replaces_the_error_by_noise_of_the_same_norm() -> None:
    quantizer, given = ready(KINDS["nsvq"]), latents(1)
    shown = quantizer(given)
    right = quantizer.dequantize(shown.codes)
    lengths = (shown.quantized - given).norm(dim=1)
    assert torch.allclose(lengths, (right - given).norm(dim=1), atol=1e-5)
    assert not torch.allclose(shown.quantized, right, atol=1e-2)
    assert not torch.equal(quantizer(given).quantized, shown.quantized)


def test_a_product_quantizer_equals_the_library() -> None:
    ours = ready(KINDS["product"])
    theirs = VectorQuantize(
        8, 4, codebook_dim=4, heads=2, separate_codebook_per_head=True, rotation_trick=False
    )
    theirs._codebook.embed.copy_(torch.cat([layer._codebook.embed for layer in ours.layers]))  # type: ignore[union-attr]
    given = latents(1)
    quantized, choices, _ = theirs.eval()(given.flatten(2).transpose(1, 2))
    assert torch.equal(ours.nearest(given).flatten(1), choices[..., 0] * 4 + choices[..., 1])
    assert torch.allclose(ours.eval()(given).quantized.flatten(2).transpose(1, 2), quantized)


def test_a_residual_quantizer_and_its_averages_equal_the_library() -> None:
    ours = ready(KINDS["residual"])
    theirs = ResidualVQ(dim=8, num_quantizers=2, codebook_size=4, decay=0.99, rotation_trick=False)
    for mine, layer in zip(ours.layers, theirs.layers, strict=True):  # type: ignore[arg-type]
        layer.load_state_dict(mine.state_dict())  # type: ignore[union-attr]
    given = latents(1)
    quantized, choices, _ = theirs(given.flatten(2).transpose(1, 2))
    out = ours(given)
    assert torch.equal(out.codes.flatten(1), choices[..., 0] * 4 + choices[..., 1])
    assert torch.allclose(out.quantized.flatten(2).transpose(1, 2), quantized, atol=1e-5)
    ours.update_averages()
    for mine, layer in zip(ours.layers, theirs.layers, strict=True):  # type: ignore[arg-type]
        assert torch.allclose(mine.codebook, layer.codebook, atol=1e-5)  # type: ignore[union-attr]
        assert not torch.equal(mine.codebook, layer.codebook * 0)  # type: ignore[union-attr]


def test_fsq_equals_the_library() -> None:
    ours = ready(KINDS["fsq"])
    theirs = FSQ([4, 4], dim=8)
    theirs.load_state_dict(ours.rounding.state_dict())  # type: ignore[union-attr]
    quantized, codes = theirs(latents(1))
    out = ours(latents(1))
    assert torch.equal(out.codes, codes.long()) and torch.allclose(out.quantized, quantized, atol=1e-6)
    assert not out.terms and float(out.loss) == 0


@pytest.mark.parametrize("kind", ["vq_ema", "product", "residual"])
def test_averages_over_micro_batches_equal_those_of_the_batch(kind: str) -> None:
    whole, cut = ready(KINDS[kind]), ready(KINDS[kind])
    given = latents(1)
    before = whole.codebook_vectors.clone()
    whole(given)
    parts = [cut(part).codes for part in given.split(2)]
    assert torch.equal(torch.cat(parts), whole.nearest(given))
    assert torch.equal(whole.codebook_vectors, before), "codes move only between steps"
    whole.update_averages()
    cut.update_averages()
    assert torch.allclose(whole.codebook_vectors, cut.codebook_vectors, atol=1e-5)
    assert not torch.allclose(whole.codebook_vectors, before, atol=1e-5)


@pytest.mark.parametrize("kind", ["product", "residual"])
def test_unused_vectors_of_every_codebook_are_reset_to_the_data(kind: str) -> None:
    quantizer = ready(KINDS[kind])
    for layer in quantizer.layers:  # type: ignore[union-attr]
        layer._codebook.embed[0, 1:] += 1e3  # type: ignore[union-attr]
    quantizer.use_counts.zero_()
    codes = quantizer(latents(1)).codes
    assert len(codes.unique()) == 1
    moved = quantizer.reset_unused(torch.Generator().manual_seed(0))
    assert len(moved) == 15 and int(codes[0, 0, 0]) not in moved.tolist()
    assert not quantizer.use_counts.any()
    assert float(quantizer.codebook_vectors.abs().max()) < 100
    assert len(quantizer(latents(1)).codes.unique()) >= 6


@pytest.fixture
def config(store_path: Path, tmp_path: Path) -> TrainConfig:
    return small_run(
        store_path,
        tmp_path / "run",
        steps=6,
        accumulate=2,
        downsample=1,
        validate_every=6,
        validation_micro_batch=0,
        model=small_architecture((4, 8, 8, 8), tokens=(2, 2)),
    )


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "vq"])
def test_a_model_with_each_quantizer_trains_and_resumes_exactly(
    config: TrainConfig, tmp_path: Path, kind: str
) -> None:
    quantizer = dataclasses.replace(KINDS[kind], **quick)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, quantizer=quantizer))
    parts = dataclasses.replace(config, out=tmp_path / "parts")
    train(config)
    train(dataclasses.replace(parts, stop_after=4))
    train(dataclasses.replace(parts, resume=True))
    model, resumed = (LatentActionModel.from_pretrained(c.out / "last.pt") for c in (config, parts))
    assert model.model_hash == resumed.model_hash
    assert model.grid == (2, 2) and model.codebook_size == 16 and model.codebook.shape == (16, 8)
    assert model.quantizer.quantizing
    frames = torch.randint(0, 256, (3, 1, 210, 160), dtype=torch.uint8)
    codes = model.encode(frames[:-1], frames[1:])
    assert codes.shape == (2, 2, 2) and int(codes.max()) < 16
    assert torch.equal(codes, resumed.encode(frames[:-1], frames[1:]))
    assert model.decode(frames[:-1], codes).shape == (2, 1, 210, 160)


@pytest.mark.parametrize("conditioning", ["film", "cross_attention"])
@pytest.mark.parametrize("tokens", [(1, 1), (2, 2), (1, 3)])
def test_every_token_affects_every_cell(conditioning: str, tokens: tuple[int, int]) -> None:
    architecture = small_architecture((4, 8, 8, 8), tokens=tokens)
    decoder = dataclasses.replace(architecture.decoder, conditioning=conditioning)
    model = LatentActionModel(
        LatentActionModelConfig(FrameFormat(64, 48), dataclasses.replace(architecture, decoder=decoder))
    ).eval()
    assert model.grid == tokens
    frame, quantized = torch.rand(1, 1, 64, 48), torch.zeros(1, 8, *tokens, requires_grad=True)
    picture = model.decoder(frame, quantized)
    for y, x in ((0, 0), (63, 47), (0, 47)):
        (gradient,) = torch.autograd.grad(picture[0, 0, y, x], quantized, retain_graph=True)
        assert (gradient.abs().sum(1) > 0).all()
    both = torch.rand(1, 2, 64, 48, requires_grad=True)
    for token in model.encoder(both).flatten(2).unbind(2):
        (gradient,) = torch.autograd.grad(token.sum(), both, retain_graph=True)
        assert gradient[0, 0, :8, :8].any() and gradient[0, 1, -8:, -8:].any()


@pytest.mark.parametrize(
    ("name", "grid", "num_codes", "bits"),
    [("lapa", (2, 2), 8, 12), ("genie", (1, 1), 8, 3), ("lapo", (2, 2), 4096, 48)],
)
def test_presets_have_the_published_bottlenecks(
    name: str, grid: tuple[int, int], num_codes: int, bits: int
) -> None:
    config = PRESETS[name]()
    assert config.preset == name
    model = LatentActionModel(LatentActionModelConfig(FrameFormat(), config.model))
    assert (model.grid, model.codebook_size) == (grid, num_codes)
    assert math.prod(grid) * math.log2(num_codes) == bits
    spec = LatentActionModel(LatentActionModelConfig(FrameFormat(), PRESETS["spec"]().model))
    assert [p.shape for p in model.encoder.pyramid.parameters()] == [
        p.shape for p in spec.encoder.pyramid.parameters()
    ]
    batch = Batch(torch.rand(2, 1, 210, 160), torch.rand(2, 1, 210, 160))
    loss, _ = model(batch)
    loss.backward()
    assert all(p.grad is not None for p in model.encoder.parameters())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "vq", "num_codebooks": 2}, "has one codebook"),
        ({"kind": "residual", "num_codebooks": 3}, "more than 65536"),
        ({"kind": "vq_ema", "num_codebooks": 3, "codebook_size": 8}, "cannot be cut into 3"),
        ({"kind": "fsq", "levels": (4, 4)}, "set quantizer.codebook_size to 16"),
    ],
)
def test_contradictory_settings_are_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        config = QuantizerConfig(**fields)  # type: ignore[arg-type]
        QUANTIZERS[config.kind](config)
    assert "\n" not in str(caught.value)


def test_every_kind_that_the_config_names_is_registered() -> None:
    assert set(QUANTIZERS) == set(get_args(get_type_hints(QuantizerConfig)["kind"]))
