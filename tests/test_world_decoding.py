"""Iterative decoding: cells agree where each cell's marginal alone does not."""

import torch

from ghostpad.world.config import DynamicsConfig
from ghostpad.world.conv_dynamics import ConvDynamics
from ghostpad.world.decoding import decode, randomly_masked


def dynamics_of_rows() -> ConvDynamics:
    """Dynamics trained on grids with one row of 1s at an unpredictable place."""
    torch.manual_seed(1)
    dynamics = ConvDynamics(DynamicsConfig("conv", 2, 2, (16,), 1, 1), 1, 2, (3, 3))
    optimizer = torch.optim.Adam(dynamics.parameters(), lr=3e-3)
    features, buttons = (
        dynamics.encode(torch.zeros(64, 2, 1, 12, 12)).detach(),
        torch.zeros(64, dtype=torch.int64),
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=500)
    for _ in range(500):
        codes = torch.nn.functional.one_hot(torch.randint(3, (64,)), 3)[:, :, None].expand(-1, -1, 3)
        given = randomly_masked(codes, dynamics.mask_code)
        losses = torch.nn.functional.cross_entropy(
            dynamics.logits(features, buttons, given), codes, reduction="none"
        )
        optimizer.zero_grad()
        (losses * (given == dynamics.mask_code)).mean().backward()
        optimizer.step()
        schedule.step()
    return dynamics.eval()


def test_iterative_decoding_gives_whole_rows_where_marginals_give_none() -> None:
    dynamics = dynamics_of_rows()
    features, buttons = dynamics.encode(torch.zeros(2, 2, 1, 12, 12)), torch.zeros(2, dtype=torch.int64)
    assert not dynamics.logits(features, buttons).argmax(1).any(), "cell by cell no row is likely"
    whole = {(3, 0, 0), (0, 3, 0), (0, 0, 3)}
    likeliest = {tuple(grid.sum(1).tolist()) for grid in decode(dynamics, features, buttons)}
    assert len(likeliest) == 1 and likeliest <= whole
    generator = torch.Generator().manual_seed(0)
    drawn = [
        tuple(grid.sum(1).tolist())
        for _ in range(40)
        for grid in decode(dynamics, features, buttons, 1.0, generator)
    ]
    # Independent draws of the cells would agree in one grid of a hundred.
    assert sum(rows in whole for rows in drawn) > 0.4 * len(drawn)
    assert whole <= set(drawn)


def test_half_of_the_training_grids_are_fully_masked_and_the_others_partly() -> None:
    torch.manual_seed(0)
    codes = torch.randint(5, (200, 6, 7))
    given = randomly_masked(codes, 5)
    is_given = given != 5
    assert not is_given[::2].any()
    assert torch.equal(given[is_given], codes[is_given])
    shares = is_given[1::2].float().mean((1, 2))
    assert 0.5 < shares.mean() < 0.75 and shares.min() < 0.2 and shares.max() > 0.95
