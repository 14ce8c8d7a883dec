"""Mutual information of codes that encode an event, or do not."""

import numpy as np
import pytest

from ghostpad.evaluation.mutual_information import associate, grouped


def test_a_cell_that_carries_the_event_is_found_with_all_its_bits():
    rng = np.random.default_rng(0)
    happens = rng.random(800) < 0.25
    codes = rng.integers(0, 4, (800, 3, 2))
    codes[:, 1, 1] = np.where(happens, 7, 2)
    found = associate(codes, happens.astype(int), seed=0)
    share = happens.mean()
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert found.bits == pytest.approx(entropy, abs=1e-6)
    assert np.unravel_index(found.bits_hw.argmax(), (3, 2)) == (1, 1)
    assert found.clear
    best = found.lifts[0]
    assert (best.row, best.column, best.code) == (1, 1, 7)
    assert (best.precision, best.recall) == (1, 1)
    assert best.lift == pytest.approx(1 / share)


def test_codes_that_ignore_the_event_show_no_clear_pattern():
    clear = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = associate(rng.integers(0, 8, (300, 2, 2)), rng.integers(0, 2, 300), seed)
        clear += found.clear
        assert found.bits == pytest.approx(found.shuffled_bits, rel=1.0)
    assert clear <= 4  # one in twenty is expected


def test_mutual_information_of_three_classes_is_that_of_scikit_learn():
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 500)
    codes = np.stack([(labels + rng.integers(0, 3, 500)) % 4, rng.integers(0, 4, 500)], 1)[:, None]
    found = associate(codes, labels, seed=0)
    expected = [mutual_info_score(labels, codes[:, 0, cell]) / np.log(2) for cell in range(2)]
    assert found.bits_hw[0] == pytest.approx(expected)


def test_groups_are_exclusive_labels():
    columns = {"a_one": np.array([1, 0, 0], bool), "a_two": np.array([0, 1, 0], bool), "b": np.ones(3, bool)}
    assert grouped(columns, "a").tolist() == [1, 2, 0]
