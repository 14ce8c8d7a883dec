"""Codebook numbers on choices whose entropy is known."""

import numpy as np
import pytest

from ghostpad.evaluation.codebook import changing_cells, summarize_codes


def test_even_choices():
    codes = np.arange(16).repeat(4).reshape(-1, 1, 1)
    numbers = summarize_codes(codes, 16)
    assert numbers["usage"] == numbers["active"] == 1
    assert numbers["perplexity"] == pytest.approx(16)
    assert numbers["bits_per_transition"] == pytest.approx(4)
    assert numbers["histogram"] == [4] * 16


def test_one_code_only():
    numbers = summarize_codes(np.full((10, 2, 3), 5), 8)
    assert numbers["usage"] == numbers["active"] == 1 / 8
    assert numbers["perplexity"] == 1
    assert numbers["bits_per_transition"] == 0


def test_a_code_chosen_too_seldom_is_in_use_but_not_active():
    # 4 codes: active from 1/40 of all choices on
    codes = np.array([0] * 58 + [1] * 20 + [2] * 2 + [3]).reshape(-1, 1, 1)
    numbers = summarize_codes(codes, 4)
    assert numbers["usage"] == 1
    assert numbers["active"] == 0.5


def test_cells_are_counted_by_themselves():
    codes = np.zeros((100, 1, 2), int)
    codes[:, 0, 1] = np.arange(100) % 4
    numbers = summarize_codes(codes, 8)
    assert numbers["cell_perplexities"] == [[1, pytest.approx(4)]]
    assert numbers["bits_per_transition"] == pytest.approx(2)


def test_changing_cells_hold_the_changed_pixels():
    changed = np.zeros((2, 7, 10), bool)
    changed[0, 3, 4] = changed[1, 6, 9] = True
    cells = changing_cells(changed, (2, 3), 4)
    assert np.argwhere(cells).tolist() == [[0, 0, 1], [1, 1, 2]]


def test_codes_of_static_cells_do_not_count_as_active_among_changing_ones():
    codes, changing = np.zeros((40, 1, 2), int), np.zeros((40, 1, 2), bool)
    codes[:, 0, 0], changing[:, 0, 1] = np.arange(40) % 4, True
    numbers = summarize_codes(codes, 4, changing)
    assert numbers["active"] == 1
    assert numbers["active_changing"] == 1 / 4
    assert numbers["changing_share"] == 0.5
    assert summarize_codes(codes, 4)["active_changing"] is None
