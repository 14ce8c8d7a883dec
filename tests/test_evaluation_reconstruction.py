"""Reconstruction: against independent formulas, and models whose numbers are known."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from ghostpad.evaluation import reconstruction
from ghostpad.sums import bootstrap, total


def frames(seed: int, num: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).random((num, 3, 24, 20)).astype(np.float32)


def test_psnr_is_that_of_torchmetrics():
    predicted, true = frames(0), frames(1)
    sums = total(reconstruction.pair_sums(predicted, true, frames(2)))
    expected = peak_signal_noise_ratio(torch.from_numpy(predicted), torch.from_numpy(true), data_range=1.0)
    assert reconstruction.summarize(sums)["psnr_db"] == pytest.approx(float(expected), abs=1e-4)


def test_perfect_and_copy():
    true, current = frames(0), frames(1)
    perfect = reconstruction.summarize(total(reconstruction.pair_sums(true, true, current)))
    assert perfect["psnr_db"] == perfect["moving_psnr_db"] == reconstruction.PSNR_CAP_DB
    assert perfect["l1"] == perfect["l2"] == 0
    copy = reconstruction.summarize(total(reconstruction.pair_sums(current, true, current)))
    assert copy["gain_over_copy_db"] == copy["moving_gain_db"] == 0
    assert copy["l1"] == pytest.approx(np.abs(current - true).mean(), rel=1e-5)


def test_moving_psnr_counts_changed_pixels_and_two_around_them():
    current = np.zeros((1, 1, 20, 20), np.float32)
    true, predicted = current.copy(), current.copy()
    true[0, 0, 10, 10] = 1
    predicted[0, 0, 10, 12] = 1  # two off: inside the margin
    predicted[0, 0, 10, 16] = 1  # outside it
    sums = reconstruction.pair_sums(predicted, true, current)
    assert sums["moving_pixels"][0] == 25
    assert sums["moving_squared"][0] == 2
    assert sums["squared"][0] == 3


def test_nothing_moves_gives_no_moving_psnr():
    still = frames(0)
    metrics = reconstruction.summarize(total(reconstruction.pair_sums(still, still, still)))
    assert np.isnan(metrics["moving_psnr_db"])


def test_ssim_of_equal_frames_is_one_and_order_is_kept():
    true = frames(0)
    drawn = true.copy()
    drawn[2] = 1 - drawn[2]
    similarity = reconstruction.structural_similarity(drawn, true)
    assert similarity[[0, 1, 3]] == pytest.approx(1)
    assert similarity[2] < 0.5


def scenes() -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Two scenes of one gray value each, in which one pixel moves."""
    current = np.full((1, 1, 30, 30), 0.2, np.float32)
    other = np.full((1, 1, 30, 30), 0.8, np.float32)
    true, other_next = current.copy(), other.copy()
    true[0, 0, 5, 5] = other_next[0, 0, 20, 20] = 0.5
    return current, true, (other, other_next)


@pytest.mark.parametrize("leak", [0.0, 0.25, 1.0])
def test_leak_is_the_share_of_the_other_scene(leak):
    current, true, others = scenes()
    drawn = current + leak * (others[0] - current)
    sums = total(reconstruction.counterfactual_sums(drawn, true, true, current, *others))
    assert reconstruction.delta_psnr(sums)["leak_share"] == pytest.approx(leak, abs=1e-5)


def test_delta_psnr_is_zero_when_codes_change_nothing_and_large_when_they_do():
    current, true, others = scenes()
    for drawn, expected in ((true, 0.0), (true + 0.1, reconstruction.PSNR_CAP_DB - 20)):
        sums = total(reconstruction.counterfactual_sums(drawn, true, true, current, *others))
        assert reconstruction.delta_psnr(sums)["delta_psnr_db"] == pytest.approx(expected, abs=1e-3)


def test_bootstrap_draws_episodes_and_its_interval_contains_the_mean():
    rng = np.random.default_rng(0)
    level = rng.normal(0, 1, 40)
    episode = np.repeat(np.arange(40), 50)
    sums = {"value": level[episode] + rng.normal(0, 0.01, 2000), "count": np.ones(2000)}
    low, high = bootstrap(sums, episode, lambda s: {"mean": s["value"] / s["count"]}, 0)["mean"]
    assert low < sums["value"].mean() < high
    # The spread is that of 40 episodes, not of 2,000 transitions.
    assert high - low == pytest.approx(2 * 1.96 * level.std() / np.sqrt(40), rel=0.2)


def test_bootstrap_of_one_episode_gives_nothing():
    assert bootstrap({"value": np.ones(5)}, np.zeros(5), lambda sums: sums, 0) == {}
