"""Button inference while a world trains: responsibilities, pruning, and the buttons of labelled controls."""

import torch

from ghostpad.buttons.assignment import ButtonFinder
from ghostpad.buttons.selection import UNUSED_NLL
from ghostpad.world.config import DynamicsConfig
from ghostpad.world.conv_dynamics import ConvDynamics


def test_responsibilities_are_posteriors_softened_by_the_temperature() -> None:
    nll = torch.tensor([[1.0, 3.0, 9.0], [5.0, 2.0, 4.0]])
    finder = ButtonFinder(3)
    assert torch.allclose(finder.responsibilities(nll, 1.0), (-nll).exp() / (-nll).exp().sum(1, True))
    assert torch.allclose(finder.responsibilities(nll, 2.0), (-nll / 2).softmax(1))


def test_buttons_that_explain_nothing_are_pruned_and_their_likelihood_is_zero() -> None:
    dynamics = ConvDynamics(DynamicsConfig("conv", 2, 3, (4, 4), 1, 1), 1, 8, (6, 8))
    finder = ButtonFinder(3)
    finder.prune(dynamics.active)
    assert dynamics.active.all(), "nothing was observed yet"
    held = torch.arange(64) % 2
    finder.responsibilities(40.0 * (torch.arange(3) != 2 * held[:, None]), 1.0)
    finder.prune(dynamics.active)
    assert dynamics.active.tolist() == [True, False, True]
    features = dynamics.encode(torch.rand(2, 2, 1, 24, 32))
    nll = dynamics.nll(features, torch.zeros(2, 6, 8, dtype=torch.int64))
    assert (nll[:, 1] == UNUSED_NLL).all() and (nll[:, [0, 2]] < UNUSED_NLL).all()
