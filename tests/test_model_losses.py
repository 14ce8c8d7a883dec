"""Quantizer and losses against independent computations; each term's gradient reaches the right weights."""

import math

import numpy as np
import pytest
import torch

from ghostpad.luma import luma
from ghostpad.luma import tensor_luma as torch_luma
from ghostpad.model import QuantizerConfig
from ghostpad.model.losses import assignment_entropy_loss, soft_assignment
from ghostpad.model.quantizers import VectorQuantizer
from test_model_latent_action_model import moving_square, small


def started(num_codes: int = 8, dim: int = 4, **fields: object) -> VectorQuantizer:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(QuantizerConfig(num_codes, dim, **fields))  # type: ignore[arg-type]
    with torch.no_grad():
        quantizer.codebook.copy_(torch.randn(num_codes, dim))
    quantizer.set_quantizing(True)
    return quantizer


def test_codes_are_the_nearest_entries() -> None:
    quantizer = started()
    latents = torch.randn(3, 4, 2, 5)
    codes = quantizer(latents).codes.numpy()
    book, points = quantizer.codebook.detach().numpy(), latents.numpy()
    for b, y, x in np.ndindex(3, 2, 5):
        wanted = min(range(8), key=lambda k: ((book[k] - points[b, :, y, x]) ** 2).sum())
        assert codes[b, y, x] == wanted


def test_losses_are_the_formulas_of_the_paper() -> None:
    quantizer = started(commitment_weight=0.25, codebook_weight=1.0, entropy_weight=0.0)
    latents = torch.randn(3, 4, 2, 5)
    out = quantizer(latents)
    squared = ((latents - quantizer.dequantize(out.codes)) ** 2).mean()
    assert torch.allclose(out.loss, 1.25 * squared)
    assert torch.allclose(out.quantized, quantizer.dequantize(out.codes), atol=1e-6)


def test_gradients_pass_straight_through() -> None:
    latents = torch.randn(2, 4, 2, 2, requires_grad=True)
    weights = torch.randn(2, 4, 2, 2)
    (started()(latents).quantized * weights).sum().backward()
    assert latents.grad is not None and torch.allclose(latents.grad, weights)


def test_commitment_moves_the_encoder_alone_and_codebook_loss_the_codebook_alone() -> None:
    for commitment, codebook in ((1.0, 0.0), (0.0, 1.0)):
        quantizer = started(commitment_weight=commitment, codebook_weight=codebook, entropy_weight=0.0)
        latents = torch.randn(2, 4, 2, 2, requires_grad=True)
        quantizer(latents).loss.backward()
        assert latents.grad is not None and quantizer.codebook.grad is not None
        assert (latents.grad.abs().sum() > 0) == bool(commitment)
        assert (quantizer.codebook.grad.abs().sum() > 0) == bool(codebook)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_entropy_term_has_a_gradient_at_every_scale_and_it_rises_with_collapse(scale: float) -> None:
    torch.manual_seed(0)
    book = torch.randn(32, 8) * scale

    def gradient(latents: torch.Tensor) -> tuple[float, float]:
        codes, points = book.clone().requires_grad_(), latents.clone().requires_grad_()
        assignment_entropy_loss(torch.cdist(points, codes).square()).backward()
        assert codes.grad is not None and points.grad is not None
        return float(codes.grad.norm()) * scale, float(points.grad.norm()) * scale

    spread = book[torch.randint(0, 32, (512,))] + 0.3 * scale * torch.randn(512, 8)
    collapsed = book[:1] + 0.3 * scale * torch.randn(512, 8)
    healthy, sick = gradient(spread), gradient(collapsed)
    assert min(healthy) > 1e-6
    assert sick[0] > 3 * healthy[0] and sick[1] > 1.5 * healthy[1]


def test_the_entropy_term_reaches_encoder_and_codebook_at_the_start_of_training() -> None:
    model = small()
    batch = moving_square()
    model(batch)
    model.quantizer.initialize(torch.Generator().manual_seed(0))
    latents = model.encoder(torch.cat([batch.frames, batch.next_frames], 1))
    model.quantizer(latents).terms["entropy"].backward()
    first = next(model.encoder.parameters()).grad
    assert first is not None and float(first.abs().max()) > 1e-6
    assert (
        model.quantizer.codebook.grad is not None and float(model.quantizer.codebook.grad.abs().max()) > 1e-6
    )


def test_entropy_loss_is_zero_for_even_use_and_near_one_for_one_code() -> None:
    even = torch.full((16, 16), 1e6)
    even.fill_diagonal_(0)
    assert float(assignment_entropy_loss(even)) == pytest.approx(0, abs=1e-5)
    one = torch.full((16, 16), 100.0)
    one[:, 0] = 0
    # The temperature is (mean − least) / ln 16 = 93.75 / ln 16: the far codes weigh 16^(−100 / 93.75) each.
    shares = np.array([1.0] + [16 ** (-100 / 93.75)] * 15)
    shares /= shares.sum()
    wanted = 1 + (shares * np.log(shares)).sum() / math.log(16)
    assert float(assignment_entropy_loss(one)) == pytest.approx(wanted, abs=1e-5)


def test_soft_assignment_is_neither_uniform_nor_saturated() -> None:
    torch.manual_seed(0)
    for scale in (1e-4, 1.0, 1e4):
        shares = soft_assignment(scale * torch.rand(64, 256)).amax(1)
        assert 0.01 < float(shares.mean()) < 0.9


def test_at_a_low_temperature_the_entropy_is_that_of_the_codes_that_are_chosen() -> None:
    torch.manual_seed(0)
    distances = torch.rand(512, 16).square()
    chosen = np.bincount(distances.argmin(1), minlength=16) / 512
    wanted = 1 + (chosen * np.log(chosen)).sum() / math.log(16)
    assert float(assignment_entropy_loss(distances, 1e-4)) == pytest.approx(wanted, abs=1e-3)
    assert float(assignment_entropy_loss(distances)) < wanted / 2


def test_initialization_places_all_codes_on_outputs_of_the_last_batch() -> None:
    quantizer = VectorQuantizer(QuantizerConfig(8, 4))
    latents = 50 + torch.randn(4, 4, 3, 3)
    assert torch.equal(quantizer(latents).quantized, latents)
    quantizer.initialize(torch.Generator().manual_seed(0))
    points = latents.permute(0, 2, 3, 1).reshape(-1, 4)
    assert all((points == code).all(1).any() for code in quantizer.codebook)
    assert len(quantizer.codebook.unique(dim=0)) == 8


def test_a_collapsed_codebook_recovers() -> None:
    """All codes but one lie far away, as after a collapse; one reset brings them back to the data."""
    model, batch = small(), moving_square(24)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.quantizer.set_quantizing(True)
    model(batch)[0].backward()
    with torch.no_grad():
        model.quantizer.codebook[1:] += 1e4
        model.quantizer.codebook[0] = model.quantizer.recent_latents.mean(0)  # type: ignore[union-attr]
    model.quantizer.codebook.grad = torch.ones_like(model.quantizer.codebook)
    optimizer.step()
    model.quantizer.use_counts.zero_()
    _, before = model(batch), int((model.quantizer.use_counts > 0).sum())
    events = model.after_step(10_000, 100_000, optimizer, torch.Generator().manual_seed(0))
    moments = optimizer.state[model.quantizer.codebook]
    assert before == 1 and events == {"codes_reset": 15.0}
    assert not moments["exp_avg"][1:].any() and moments["exp_avg"][0].any()
    assert not moments["exp_avg_sq"][1:].any()
    model(batch)
    assert int((model.quantizer.use_counts > 0).sum()) >= 8


def test_resets_follow_their_schedule_and_keep_used_codes() -> None:
    model, batch = small(), moving_square(24)
    optimizer = torch.optim.Adam(model.parameters())
    model(batch)
    model.quantizer.initialize(torch.Generator().manual_seed(0))
    model(batch)
    used = model.quantizer.use_counts > 0
    before = model.codebook.clone()
    assert model.after_step(9_999, 100_000, optimizer, torch.Generator()) == {}
    model.after_step(10_000, 100_000, optimizer, torch.Generator().manual_seed(0))
    assert torch.equal(model.codebook[used], before[used])
    assert not model.quantizer.use_counts.any()
    assert model.after_step(90_000, 100_000, optimizer, torch.Generator()) == {}


def test_luma_of_tensors_equals_luma_of_arrays() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    ours = torch_luma(torch.from_numpy(colors))[:, 0].numpy()
    assert np.array_equal(ours, luma(colors.transpose(0, 2, 3, 1)))
