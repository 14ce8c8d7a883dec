"""Small networks are fitted by the same optimizer step as the large ones."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from ghostpad.training.fit import fit, optimizer_step

INPUTS, TARGETS = torch.randn(64, 5, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def loss_of(module, step):
    rows = torch.from_numpy(np.random.default_rng(step).integers(64, size=16))
    return nn.functional.cross_entropy(module(INPUTS[rows]), TARGETS[rows])


def weights(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.parametrize(
    "optimizer_type, weight_decay, schedule_steps",
    [(torch.optim.Adam, 0.0, None), (torch.optim.AdamW, 1e-2, None), (torch.optim.AdamW, 1e-3, 31)],
)
def test_a_fit_takes_the_steps_of_a_textbook_loop_bit_for_bit(optimizer_type, weight_decay, schedule_steps):
    reference, fitted = network(), network()
    optimizer = optimizer_type(reference.parameters(), 1e-2, weight_decay=weight_decay)
    schedule = OneCycleLR(optimizer, 1e-2, total_steps=schedule_steps or 30)
    for step in range(30):
        optimizer.zero_grad()
        loss_of(reference, step).backward()
        optimizer.step()
        schedule.step()
    fit(
        fitted,
        lambda step: loss_of(fitted, step),
        30,
        1e-2,
        weight_decay=weight_decay,
        schedule_steps=schedule_steps,
    )
    assert torch.equal(weights(fitted), weights(reference))


def test_a_fit_lowers_the_loss_and_leaves_the_network_frozen():
    module = network()
    before = loss_of(module, 0).item()
    fit(module, lambda step: loss_of(module, 0), 200, 1e-2, what="fit")
    assert loss_of(module, 0).item() < before / 2
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_micro_batches_give_the_gradient_of_their_mean_and_are_drawn_one_at_a_time():
    module, drawn = nn.Linear(1, 1, bias=False), []
    nn.init.zeros_(module.weight)
    optimizer = torch.optim.SGD(module.parameters(), 1.0)

    def losses():
        for target in (1.0, 3.0):
            drawn.append(module.weight.grad is not None)
            yield -target * module.weight.sum()

    optimizer_step(optimizer, LambdaLR(optimizer, lambda step: 1.0), losses(), num_losses=2)
    assert module.weight.item() == 2.0
    assert drawn == [False, True]


def test_a_clipped_step_says_how_large_its_gradient_was():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    optimizer = torch.optim.SGD(module.parameters(), 1.0)
    schedule = LambdaLR(optimizer, lambda step: 1.0)
    norm = optimizer_step(optimizer, schedule, [-4 * module.weight.sum()], gradient_clip=0.5)
    assert norm is not None and norm.item() == 4.0
    assert module.weight.item() == pytest.approx(0.5)
    assert optimizer_step(optimizer, schedule, [module.weight.sum()]) is None
