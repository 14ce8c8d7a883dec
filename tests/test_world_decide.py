"""Deciding on codes that agree: where each cell alone cannot tell, the grid as a whole can."""

import torch

from ghostpad.world.decoding import decide, partly_told
from ghostpad.world.dynamics import Dynamics, DynamicsConfig


def dynamics_of_rows() -> Dynamics:
    """Dynamics that learned grids with one row of 1s, of which nothing tells the place."""
    torch.manual_seed(1)
    dynamics = Dynamics(DynamicsConfig(2, 2, (16,), 1, 1), 1, 2, (3, 3))
    optimizer = torch.optim.Adam(dynamics.parameters(), lr=3e-3)
    features, held = (
        dynamics.features(torch.zeros(64, 2, 1, 12, 12)).detach(),
        torch.zeros(64, dtype=torch.int64),
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=500)
    for _ in range(500):
        codes = torch.nn.functional.one_hot(torch.randint(3, (64,)), 3)[:, :, None].expand(-1, -1, 3)
        told = partly_told(codes, dynamics.untold)
        losses = torch.nn.functional.cross_entropy(
            dynamics.logits(features, held, told), codes, reduction="none"
        )
        optimizer.zero_grad()
        (losses * (told == dynamics.untold)).mean().backward()
        optimizer.step()
        schedule.step()
    return dynamics.eval()


def test_a_grid_agrees_where_its_cells_alone_do_not() -> None:
    dynamics = dynamics_of_rows()
    features, held = dynamics.features(torch.zeros(2, 2, 1, 12, 12)), torch.zeros(2, dtype=torch.int64)
    assert not dynamics.logits(features, held).argmax(1).any(), "cell by cell no row is likely"
    whole = {(3, 0, 0), (0, 3, 0), (0, 0, 3)}
    likeliest = {tuple(grid.sum(1).tolist()) for grid in decide(dynamics, features, held)}
    assert len(likeliest) == 1 and likeliest <= whole
    generator = torch.Generator().manual_seed(0)
    drawn = [
        tuple(grid.sum(1).tolist())
        for _ in range(40)
        for grid in decide(dynamics, features, held, 1.0, generator)
    ]
    # Each cell by itself would agree in one grid of a hundred.
    assert sum(rows in whole for rows in drawn) > 0.4 * len(drawn)
    assert whole <= set(drawn)


def test_half_of_the_grids_are_told_nothing_and_the_others_what_is_true() -> None:
    torch.manual_seed(0)
    codes = torch.randint(5, (200, 6, 7))
    told = partly_told(codes, 5)
    is_told = told != 5
    assert not is_told[::2].any()
    assert torch.equal(told[is_told], codes[is_told])
    shares = is_told[1::2].float().mean((1, 2))
    assert 0.5 < shares.mean() < 0.75 and shares.min() < 0.2 and shares.max() > 0.95
