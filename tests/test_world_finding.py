"""Finding buttons: shares by surprise, and what is not needed is dropped."""

import torch

from ghostpad.buttons.assignment import ButtonFinder
from ghostpad.world.dynamics import NEVER, Dynamics, DynamicsConfig


def test_shares_are_bayes_rule_softened_by_the_temperature() -> None:
    surprise = torch.tensor([[1.0, 3.0, 9.0], [5.0, 2.0, 4.0]])
    finder = ButtonFinder(3)
    assert torch.allclose(finder.shares(surprise, 1.0), (-surprise).exp() / (-surprise).exp().sum(1, True))
    assert torch.allclose(finder.shares(surprise, 2.0), (-surprise / 2).softmax(1))


def test_what_is_not_needed_is_dropped_once_the_buttons_are_found() -> None:
    dynamics, finder = Dynamics(DynamicsConfig(2, 3, (4, 4), 1, 1), 1, 8, (6, 8)), ButtonFinder(3)
    finder.settle(dynamics)
    assert dynamics.active.all(), "nothing is known yet"
    held = torch.arange(64) % 2
    finder.shares(40.0 * (torch.arange(3) != 2 * held[:, None]), 1.0)
    finder.settle(dynamics)
    assert dynamics.active.tolist() == [True, False, True]
    features = dynamics.features(torch.rand(2, 2, 1, 24, 32))
    surprise = dynamics.surprise(features, torch.zeros(2, 6, 8, dtype=torch.int64))
    assert (surprise[:, 1] == NEVER).all() and (surprise[:, [0, 2]] < NEVER).all()
