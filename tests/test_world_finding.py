"""Finding buttons: shares by surprise and by looks, and what is not needed is dropped."""

import pytest
import torch

from ghostpad.world.dynamics import NEVER, Dynamics, DynamicsConfig
from ghostpad.world.finding import ButtonFinder


@pytest.fixture
def finder() -> ButtonFinder:
    torch.manual_seed(0)
    return ButtonFinder(1, 3, say=20.0)


def moves(num: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bar that goes left (0), stays (1) or goes right (2), anywhere: frames, next frames, where it went."""
    went = torch.randint(3, (num,), generator=generator)
    x = torch.randint(4, 24, (num,), generator=generator)
    columns = torch.arange(32)
    bars = [
        ((columns >= place[:, None]) & (columns < place[:, None] + 4)).float()
        for place in (x, x + 3 * (went - 1))
    ]
    frames, next_frames = (bar[:, None, None].expand(-1, 1, 24, -1).contiguous() for bar in bars)
    return frames, next_frames, went


def test_shares_follow_the_surprise_and_soften_with_the_temperature(finder: ButtonFinder) -> None:
    finder.say = 0.0
    frames, next_frames, _ = moves(2, torch.Generator().manual_seed(0))
    surprise = torch.tensor([[1.0, 3.0, 9.0], [5.0, 2.0, 4.0]])
    soft, _ = finder(surprise, frames, next_frames, 2.0)
    assert torch.allclose(soft, (-surprise / 2).softmax(1))
    hard, _ = finder(surprise, frames, next_frames, None)
    assert torch.equal(hard, torch.tensor([[1.0, 0, 0], [0, 1, 0]]))


def test_a_button_that_is_recognized_elsewhere_wins_where_the_surprise_hardly_tells(
    finder: ButtonFinder,
) -> None:
    optimizer = torch.optim.Adam(finder.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        frames, next_frames, went = moves(32, generator)
        surprise = 60.0 * (torch.arange(3) != went[:, None])
        _, loss = finder(surprise, frames, next_frames, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    frames, next_frames, went = moves(64, generator)
    misleading = 5.0 * (torch.arange(3) == went[:, None])
    shares, _ = finder(misleading, frames, next_frames, None)
    assert (shares.argmax(1) == went).float().mean() > 0.9
    clear = 200.0 * (torch.arange(3) != (went[:, None] + 1) % 3)
    shares, _ = finder(clear, frames, next_frames, None)
    assert torch.equal(shares.argmax(1), (went + 1) % 3)


def test_what_is_not_needed_is_dropped_once_the_buttons_are_found(finder: ButtonFinder) -> None:
    dynamics = Dynamics(DynamicsConfig(2, 3, (4, 4), 1, 1), 1, 8, (6, 8))
    finder.settle(dynamics)
    assert dynamics.active.all(), "nothing is known yet"
    frames, next_frames, _ = moves(64, torch.Generator().manual_seed(0))
    held = torch.arange(64) % 2
    finder(40.0 * (torch.arange(3) != 2 * held[:, None]), frames, next_frames, 1.0)
    finder.settle(dynamics)
    assert dynamics.active.tolist() == [True, False, True]
    features = dynamics.features(torch.rand(2, 2, 1, 24, 32))
    surprise = dynamics.surprise(features, torch.zeros(2, 6, 8, dtype=torch.int64))
    assert (surprise[:, 1] == NEVER).all() and (surprise[:, [0, 2]] < NEVER).all()
