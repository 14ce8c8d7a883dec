"""The number of buttons that are needed, from negative log-likelihoods; and these over many transitions."""

from typing import Any

import numpy as np
import pytest

from ghostpad.buttons.selection import buttons_needed, mixture_bits
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.workers import map_in_order
from ghostpad.world import likelihood as buttons
from ghostpad.world.likelihood import describe_buttons, transition_nll
from small_world import small_world


def nll_of(held: np.ndarray, num_buttons: int, cost: float = 20.0) -> np.ndarray:
    """Nats under each button when only the button that was held explains a transition."""
    return np.where(np.arange(num_buttons) == held[:, None], 1.0, 1.0 + cost)


def test_codes_cost_their_bits_under_the_right_button_plus_the_bits_to_name_it() -> None:
    nll = nll_of(np.arange(400) % 4, 4)
    assert mixture_bits(nll) == pytest.approx(1 / np.log(2) + 2, abs=1e-6)
    assert mixture_bits(nll[:, :1]) == pytest.approx((1 + 20 * 3 / 4) / np.log(2))


@pytest.mark.parametrize("needed", [2, 3, 5])
def test_the_number_of_buttons_behind_the_codes_is_found(needed: int) -> None:
    nll = nll_of(np.random.default_rng(0).integers(needed, size=600), 6)
    found = buttons_needed(nll)
    assert found["needed"] == needed
    assert set(found["order"][:needed]) == set(range(needed)) and len(found["bits"]) == 6
    assert int(np.argmin(found["bits"])) + 1 == needed


def test_a_copy_of_another_button_is_not_needed() -> None:
    nll = nll_of(np.arange(300) % 3, 3)
    found = buttons_needed(np.concatenate([nll, nll[:, 1:2]], 1))
    assert found["needed"] == 3


def test_the_report_on_buttons_follows_from_their_likelihoods(store: FrameStore) -> None:
    world, transitions = small_world(store), Transitions(store, "validation")
    found = describe_buttons(world, transitions, limit=30)
    assert found["num_transitions"] == 30 and sum(found["share"]) == pytest.approx(1)
    rows = np.sort(np.random.default_rng(0).choice(len(transitions), 30, replace=False))
    assert found["bits"][-1] == pytest.approx(
        mixture_bits(transition_nll(world, transitions, rows)), rel=1e-6
    )


def test_several_processes_compute_the_same_likelihoods_as_one(
    store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, transitions = small_world(store), Transitions(store, "validation")
    alone = transition_nll(world, transitions)
    monkeypatch.setattr(buttons, "WORTH_PROCESSES", 2)
    monkeypatch.setattr(buttons, "CHUNK", 16)
    assert len(transitions) > 32
    used: list[int] = []

    def recorded(function: Any, tasks: Any, num_workers: int) -> Any:
        used.append(num_workers)
        return map_in_order(function, tasks, num_workers)

    monkeypatch.setattr(buttons, "map_in_order", recorded)
    np.testing.assert_allclose(transition_nll(world, transitions, num_workers=2), alone, rtol=1e-4, atol=1e-4)
    assert used == [2]
