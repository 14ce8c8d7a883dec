"""Micro-batches add up to their batch, within rounding, wherever no statistic of the batch is involved."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.config import to_plain
from ghostpad.frames.batches import Batch
from ghostpad.frames.store import FrameStore
from ghostpad.model import QuantizerConfig
from ghostpad.model.batch_statistics import BatchNorm
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.latent_action import model_config_for
from ghostpad.training.loop import Loop
from ghostpad.training.task import Task
from small_run import small_architecture, small_run

KINDS = [
    QuantizerConfig(16, 8, entropy_weight=0),
    QuantizerConfig(16, 8, entropy_weight=0, kind="vq_ema"),
    QuantizerConfig(16, 8, kind="fsq", levels=(4, 4)),
]


def gradients(
    store: FrameStore, quantizer: QuantizerConfig, accumulate: int, pairs: int, fixed_statistics: bool
) -> tuple[dict[str, torch.Tensor], LatentActionModel]:
    """Gradients of one step over a batch of 8 that repeats `pairs` different transitions."""
    torch.manual_seed(0)
    config = small_run(
        store.path,
        Path("unused"),
        batch_size=8,
        accumulate=accumulate,
        model=small_architecture(quantizer=quantizer),
    )
    model_config = model_config_for(config, store)
    model = LatentActionModel(model_config)
    drawn = torch.Generator().manual_seed(0)
    frames, next_frames = torch.rand(2, pairs, 1, 210, 160, generator=drawn)
    calls = []

    def batch(rows: np.ndarray, _step: int) -> Batch:
        start = sum(calls) % pairs
        calls.append(len(rows))
        chosen = (start + np.arange(len(rows))) % pairs
        return Batch(frames[chosen], next_frames[chosen])

    task = Task("test", model, to_plain(model_config), "", 64, batch, 1, lambda rows: batch(rows, 0))
    loop = Loop(task, config, ProcessGroup(torch.device("cpu")))
    model(batch(np.arange(8), 0))
    if not model.quantizer.quantizing:
        model.quantizer.initialize(torch.Generator().manual_seed(0))
    model.quantizer.use_counts.zero_()
    if fixed_statistics:
        for part in model.modules():
            if isinstance(part, BatchNorm):
                part.eval()
    calls.clear()
    loop.train_step()
    assert calls == [8 // accumulate] * accumulate
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, model


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        scale = float(gradient.abs().max())
        assert torch.allclose(gradient, other[name], rtol=1e-3, atol=1e-4 * scale + 1e-9), name


@pytest.mark.parametrize("quantizer", KINDS, ids=lambda config: config.kind)
@pytest.mark.parametrize("accumulate", [2, 8])
def test_with_fixed_statistics_micro_batches_add_up(
    store: FrameStore, quantizer: QuantizerConfig, accumulate: int
) -> None:
    whole, model = gradients(store, quantizer, 1, 8, fixed_statistics=True)
    cut, cut_model = gradients(store, quantizer, accumulate, 8, fixed_statistics=True)
    assert_equal(whole, cut)
    assert torch.equal(model.quantizer.use_counts, cut_model.quantizer.use_counts)
    assert int(model.quantizer.use_counts.sum()) == 8 * np.prod(model.grid)
    assert torch.allclose(model.codebook, cut_model.codebook, atol=2e-3)


def test_with_equal_statistics_micro_batches_add_up(store: FrameStore) -> None:
    """Each micro-batch holds what the others hold, so that batch norm and entropy see the same."""
    quantizer = QuantizerConfig(16, 8)
    whole, _ = gradients(store, quantizer, 1, 2, fixed_statistics=False)
    cut, _ = gradients(store, quantizer, 4, 2, fixed_statistics=False)
    assert_equal(whole, cut)
    assert_equal(whole, gradients(store, dataclasses.replace(quantizer), 2, 2, fixed_statistics=False)[0])


def test_a_batch_that_cannot_be_split_is_refused(store: FrameStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 3"):
        gradients(store, KINDS[0], 3, 8, fixed_statistics=False)
